"""The field's networks as a PyTorch program has them, for tests that want files of PyTorch's own making."""

import torch
from torch import nn


def convolution(i, o, kernel=3, stride=1, padding=None, groups=1):
    return nn.Conv2d(i, o, kernel, stride, kernel // 2 if padding is None else padding, groups=groups, bias=False)


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(i)
        self.conv1 = convolution(i, o)
        self.bn2 = nn.BatchNorm2d(o)
        self.prelu = nn.PReLU(o)
        self.conv2 = convolution(o, o, stride=stride)
        self.bn3 = nn.BatchNorm2d(o)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(convolution(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """Of InsightFace. `to_rows` turns a map into a row: exporters write it in different ways."""

    def __init__(self, blocks, size, to_rows=lambda x: torch.flatten(x, 1)):
        super().__init__()
        self.to_rows = to_rows
        self.conv1 = convolution(3, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        i = 64
        for stage, (count, o) in enumerate(zip(blocks, (64, 128, 256, 512))):
            layer = [Block(i if k == 0 else o, o, 2 if k == 0 else 1) for k in range(count)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            i = o
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(512 * 49, size)
        self.features = nn.BatchNorm1d(size)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(self.to_rows(self.bn2(x)))))


class ConvBlock(nn.Module):
    def __init__(self, i, o, kernel, stride=1, padding=None, groups=1, prelu=True):
        super().__init__()
        layers = [convolution(i, o, kernel, stride, padding, groups), nn.BatchNorm2d(o)]
        self.layers = nn.Sequential(*layers, *([nn.PReLU(o)] if prelu else []))

    def forward(self, x):
        return self.layers(x)


class Bottleneck(nn.Module):
    def __init__(self, i, o, inner, stride=1, residual=False):
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            ConvBlock(i, inner, 1),
            ConvBlock(inner, inner, 3, stride, groups=inner),
            ConvBlock(inner, o, 1, prelu=False),
        )

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class Residuals(nn.Module):
    def __init__(self, count, width, inner):
        super().__init__()
        self.layers = nn.Sequential(*(Bottleneck(width, width, inner, residual=True) for _ in range(count)))

    def forward(self, x):
        return self.layers(x)


class MobileFaceNet(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layers = nn.ModuleList([
            ConvBlock(3, 128, 3, 2), ConvBlock(128, 128, 3, groups=64),
            Bottleneck(128, 128, 128, 2), Residuals(4, 128, 128),
            Bottleneck(128, 256, 256, 2), Residuals(6, 256, 256),
            Bottleneck(256, 256, 512, 2), Residuals(2, 256, 256),
        ])
        self.conv_sep = ConvBlock(256, 512, 1)
        self.features = nn.Module()
        self.features.layers = nn.Sequential(
            ConvBlock(512, 512, 7, padding=0, groups=512, prelu=False),
            nn.Flatten(), nn.Linear(512, size, bias=False), nn.BatchNorm1d(size),
        )

    def forward(self, x):
        for part in self.layers:
            x = part(x)
        return self.features.layers(self.conv_sep(x))


class IrBlock(nn.Module):
    """Of AdaFace, and of face.evoLVe, which has one normalisation less."""

    def __init__(self, i, o, stride, evolve):
        super().__init__()
        if i == o:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(convolution(i, o, 1, stride), nn.BatchNorm2d(o))
        middle = [] if evolve else [nn.BatchNorm2d(o)]
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(i), convolution(i, o), *middle, nn.PReLU(o),
            convolution(o, o, stride=stride), nn.BatchNorm2d(o),
        )

    def forward(self, x):
        return self.res_layer(x) + self.shortcut_layer(x)


class Ir(nn.Module):
    def __init__(self, blocks, size, evolve):
        super().__init__()
        self.input_layer = nn.Sequential(convolution(3, 64), nn.BatchNorm2d(64), nn.PReLU(64))
        body, i = [], 64
        for count, o in zip(blocks, (64, 128, 256, 512)):
            for k in range(count):
                body.append(IrBlock(i, o, 2 if k == 0 else 1, evolve))
                i = o
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), nn.Linear(512 * 49, size),
            nn.BatchNorm1d(size, affine=evolve),
        )

    def forward(self, x):
        return self.output_layer(self.body(self.input_layer(x)))


BLOCKS = {"r18": (2, 2, 2, 2), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}


def load(name, path, **options):
    """The network with the weights of a state_dict, in evaluation mode."""
    state = torch.load(path, weights_only=True)
    if name == "mbf":
        network = MobileFaceNet(state["features.layers.2.weight"].shape[0], **options)
    else:
        network = IResNet(BLOCKS[name], state["fc.weight"].shape[0], **options)
    network.load_state_dict(state)
    return network.eval()
