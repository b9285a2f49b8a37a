"""Trains a face recogniser on aligned photos, one folder for each identity, with a network of your own.

pfc data synth faces --identities 200 && pfc data unpack faces -o photos     # or your photos
python train.py photos
torchrun --nproc-per-node 2 train.py photos                                  # the same on two processes
"""

import argparse
import os
import pathlib

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

import partial_fc

BATCH = 64  # of all processes


class Photos(torch.utils.data.Dataset):
    def __init__(self, folder):
        people = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_dir())
        self.items = [(file, label) for label, person in enumerate(people) for file in sorted(person.iterdir())]
        self.classes = len(people)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        file, label = self.items[i]
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB").resize((112, 112))))
        image = pixels.permute(2, 0, 1).float() / 127.5 - 1
        return image.flip(2) if torch.rand(()) < 0.5 else image, label


def network(embedding_size=128):
    """Stands for yours: anything that makes an embedding of an image."""

    def block(inputs, outputs):
        return [
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
        ]

    layers = block(3, 16) + block(16, 32) + block(32, 64) + block(64, 128)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * 128, embedding_size))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("photos")
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--output", type=pathlib.Path, default=pathlib.Path("output/python"))
    arguments = arguments.parse_args()

    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )
    rank, world = 0, 1
    if "RANK" in os.environ:  # torchrun
        dist.init_process_group()
        rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)

    photos = Photos(arguments.photos)
    shuffled = torch.utils.data.DistributedSampler(photos, world, rank, drop_last=True)
    loader = torch.utils.data.DataLoader(photos, BATCH // world, sampler=shuffled, num_workers=1, drop_last=True)

    backbone = model = network().to(device)
    if world > 1:
        model = nn.parallel.DistributedDataParallel(backbone)
    head = partial_fc.PartialFC(128, photos.classes, margin=partial_fc.CosFace(0.4), sample_rate=0.3, device=device)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4), head.optimizer(lr=0.1)]
    steps = arguments.epochs * len(loader)
    schedulers = [
        torch.optim.lr_scheduler.OneCycleLR(each, max_lr=0.1, total_steps=steps, cycle_momentum=False)
        for each in optimizers
    ]
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    parts = {"model": backbone, "head": head, "scaler": scaler}
    parts.update({f"optimizer{i}": each for i, each in enumerate(optimizers)})
    parts.update({f"scheduler{i}": each for i, each in enumerate(schedulers)})

    arguments.output.mkdir(parents=True, exist_ok=True)
    checkpoint, first = arguments.output / f"rank{rank}.pt", 0
    if checkpoint.exists():  # resume; on another number of processes: partial_fc.load_sharded(head, all the files)
        saved = torch.load(checkpoint, map_location=device)
        first = saved.pop("epoch")
        for name, state in saved.items():
            parts[name].load_state_dict(state)

    for epoch in range(first, arguments.epochs):
        shuffled.set_epoch(epoch)
        total = 0.0
        for images, labels in loader:
            with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
                embeddings = model(images.to(device))
            loss = head(embeddings, labels.to(device))
            scaler.scale(loss).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            for optimizer, scheduler in zip(optimizers, schedulers):
                optimizer.zero_grad()
                scheduler.step()
            total += loss.item()
        torch.save({"epoch": epoch + 1, **{name: part.state_dict() for name, part in parts.items()}}, checkpoint)
        if rank == 0:
            print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}", flush=True)
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
