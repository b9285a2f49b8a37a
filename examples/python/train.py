"""Trains a face recogniser with a network of your own, and measures it on pairs of people whom it has not seen.

pfc data synth faces --identities 200        # drawn faces; or a set of yours with its unseen.bin
python train.py faces
torchrun --nproc-per-node 2 train.py faces   # the same on two processes
"""

import argparse
import os
import pathlib

import torch
import torch.distributed as dist
from torch import nn

import partial_fc

BATCH = 64  # of all processes


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
    arguments.add_argument("faces", type=pathlib.Path)
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--output", type=pathlib.Path, default=pathlib.Path("output/python"))
    arguments = arguments.parse_args()

    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if on_gpu else torch.device("cpu")
    rank, world = 0, 1
    if "RANK" in os.environ:  # torchrun
        dist.init_process_group()
        rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)

    loader = partial_fc.RecordLoader(arguments.faces, BATCH // world, device=device, memory_format=torch.channels_last)
    pairs = partial_fc.VerificationSet(arguments.faces / "unseen.bin")

    backbone = model = network().to(device, memory_format=torch.channels_last)
    if world > 1:
        model = nn.parallel.DistributedDataParallel(backbone)
    head = partial_fc.PartialFC(128, loader.num_classes, margin=partial_fc.CosFace(0.4), sample_rate=0.3, device=device)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4), head.optimizer(lr=0.1)]
    steps = arguments.epochs * len(loader)
    schedulers = [
        torch.optim.lr_scheduler.OneCycleLR(each, max_lr=0.1, total_steps=steps, cycle_momentum=False)
        for each in optimizers
    ]
    scaler = torch.amp.GradScaler(device.type, enabled=on_gpu)
    parts = {"model": backbone, "head": head, "loader": loader, "scaler": scaler}
    parts.update({f"optimizer{i}": each for i, each in enumerate(optimizers)})
    parts.update({f"scheduler{i}": each for i, each in enumerate(schedulers)})

    arguments.output.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.output / f"rank{rank}_of_{world}.pt"
    if checkpoint.exists():  # resume; from another number of processes: partial_fc.load_sharded(head, all their files)
        for name, state in torch.load(checkpoint, map_location=device).items():
            parts[name].load_state_dict(state)

    while loader.step < steps:
        total, first = 0.0, loader.step
        for images, labels in loader:  # an epoch
            with torch.autocast(device.type, torch.float16, enabled=on_gpu):
                embeddings = model(images)
            loss = head(embeddings, labels)
            scaler.scale(loss).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            for optimizer, scheduler in zip(optimizers, schedulers):
                optimizer.zero_grad()
                scheduler.step()
            total += loss.item()
        torch.save({name: part.state_dict() for name, part in parts.items()}, checkpoint)
        if rank == 0:
            accuracy = partial_fc.verification(backbone, pairs, report=arguments.output)["accuracy"]
            mean = total / (loader.step - first)
            print(f"epoch {loader.step // len(loader)}: loss {mean:.3f}, accuracy {accuracy:.2%}", flush=True)
    loader.close()
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
