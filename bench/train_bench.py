"""Images a second of whole training steps in PyTorch: what train_bench.cpp is measured against.

The same network, recipe and batch in plain modules: random uint8 pixels in memory -> network -> CosFace over every
class -> backward -> clipping -> SGD. Usage: train_bench.py NETWORK THREADS STEPS [channels_last|contiguous]
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

CLASSES, WARM_UP = 3642, 2


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


def iresnet(blocks, widths, strides, stem_stride):
    layers = [nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])]
    inputs = widths[0]
    for count, width, stride in zip(blocks, widths, strides):
        for i in range(count):
            layers.append(Block(inputs, width, stride if i == 0 else 1))
            inputs = width
    layers += [nn.BatchNorm2d(inputs), nn.Flatten(), nn.Linear(inputs * 7 * 7, 512), nn.BatchNorm1d(512)]
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)
    layers[-1].weight.requires_grad_(False)
    return nn.Sequential(*layers)


def conv_block(inputs, outputs, kernel, stride=1, padding=0, groups=1, activation=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.PReLU(outputs)] if activation else []))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, inner, stride=1):
        super().__init__()
        self.residual = stride == 1
        self.layers = nn.Sequential(
            conv_block(inputs, inner, 1),
            conv_block(inner, inner, 3, stride, 1, groups=inner),
            conv_block(inner, outputs, 1, activation=False),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


def mobilefacenet():
    network = nn.Sequential(
        conv_block(3, 128, 3, 2, 1),
        conv_block(128, 128, 3, 1, 1, groups=64),
        Bottleneck(128, 128, 128, 2),
        *(Bottleneck(128, 128, 128) for _ in range(4)),
        Bottleneck(128, 256, 256, 2),
        *(Bottleneck(256, 256, 256) for _ in range(6)),
        Bottleneck(256, 256, 512, 2),
        *(Bottleneck(256, 256, 256) for _ in range(2)),
        conv_block(256, 512, 1),
        conv_block(512, 512, 7, groups=512, activation=False),
        nn.Flatten(),
        nn.Linear(512, 512, bias=False),
        nn.BatchNorm1d(512),
    )
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network


NETWORKS = {
    "tiny": lambda: iresnet((1, 2, 2, 1), (16, 32, 64, 128), (1, 2, 2, 2), stem_stride=2),
    "r18": lambda: iresnet((2, 2, 2, 2), (64, 128, 256, 512), (2, 2, 2, 2), stem_stride=1),
    "r50": lambda: iresnet((3, 4, 14, 3), (64, 128, 256, 512), (2, 2, 2, 2), stem_stride=1),
    "mbf": mobilefacenet,
}


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
