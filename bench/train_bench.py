"""Images a second of whole training steps in PyTorch: what train_bench.cpp is measured against.

The same network, recipe and batch in plain modules: random uint8 pixels in memory -> network -> CosFace over every
class -> backward -> clipping -> SGD. Usage: train_bench.py NETWORK THREADS STEPS [channels_last|contiguous]
"""

import sys
import time

import torch
import torch.nn.functional as F
from plain_networks import NETWORKS
from torch import nn

CLASSES, WARM_UP = 3642, 2


def main(network, threads, steps, memory_format="channels_last"):
    batch = 128 if network == "tiny" else 32
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    memory_format = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[memory_format]
    backbone = NETWORKS[network]().to(memory_format=memory_format)
    centres = nn.Parameter(torch.randn(CLASSES, 512) * 0.01)
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([*parameters, centres], lr=0.01, momentum=0.9, weight_decay=5e-4)
    pixels = torch.randint(0, 256, (batch, 112, 112, 3), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (batch,))
    rows = torch.arange(batch)

    seconds = []
    for step in range(WARM_UP + int(steps)):
        start = time.perf_counter()
        images = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous(memory_format=memory_format)
        cosine = F.linear(F.normalize(backbone(images)), F.normalize(centres))
        cosine[rows, labels] -= 0.4
        loss = F.cross_entropy(64 * cosine, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        if step >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    print(f"{batch / sorted(seconds)[len(seconds) // 2]:.1f}")


main(*sys.argv[1:])
