"""The networks in plain PyTorch modules: what bench/train_bench.py and bench/whole_steps.py train.

Shapes, initial values, random draws and the last layers, which stay in float32 under autocast, are those of src/model.
"""

import torch
import torch.nn.functional as F
from torch import nn


class InFloat32(nn.Module):
    """Layers that compute in float32, also under autocast: the embedding is not rounded."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return self.layers(x.float())


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


def iresnet(blocks, widths=(64, 128, 256, 512), strides=(2, 2, 2, 2), stem_stride=1):
    layers = [nn.Conv2d(3, widths[0], 3, stem_stride, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])]
    inputs = widths[0]
    for count, width, stride in zip(blocks, widths, strides):
        for i in range(count):
            layers.append(Block(inputs, width, stride if i == 0 else 1))
            inputs = width
    features = nn.BatchNorm1d(512)
    features.weight.requires_grad_(False)
    layers += [nn.BatchNorm2d(inputs), nn.Flatten(), InFloat32(nn.Linear(inputs * 7 * 7, 512), features)]
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.1)
    return network


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
        InFloat32(
            conv_block(256, 512, 1),
            conv_block(512, 512, 7, groups=512, activation=False),
            nn.Flatten(),
            nn.Linear(512, 512, bias=False),
            nn.BatchNorm1d(512),
        ),
    )
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads, drop_rate):
        super().__init__()
        self.drop_rate = drop_rate
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU6(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.dropped(self.attention(self.norm1(x)))
        return x + self.dropped(self.mlp(self.norm2(x)))

    def dropped(self, branch):
        """Stochastic depth: some images go without the branch, the others get more of it."""
        if not self.training or self.drop_rate == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_rate
        return branch * (kept / (1 - self.drop_rate)).to(branch.dtype)


class Vit(nn.Module):
    TOKENS = 144

    def __init__(self, dim, depth, heads=8, drop_rate=0.1, hidden_share=0.1):
        super().__init__()
        self.seen = int(self.TOKENS * (1 - hidden_share))
        self.patches = nn.Conv2d(3, dim, 9, 9)
        self.places = nn.Parameter(torch.empty(1, self.TOKENS, dim))
        self.hidden_token = nn.Parameter(torch.empty(1, 1, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, drop_rate * i / (depth - 1)) for i in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.features = InFloat32(
            nn.Flatten(),
            nn.Linear(self.TOKENS * dim, dim, bias=False),
            nn.BatchNorm1d(dim, eps=2e-5),
            nn.Linear(dim, 512, bias=False),
            nn.BatchNorm1d(512, eps=2e-5),
        )
        nn.init.normal_(self.places, 0, 0.02)
        nn.init.normal_(self.hidden_token, 0, 0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        if not self.training:
            return self.features(self.through_blocks(x))
        # Hidden tokens skip the blocks; a learned one replaces them.
        order = torch.rand(x.shape[:2], device=x.device).argsort(1)
        chosen = order[:, : self.seen, None].expand(-1, -1, x.shape[2])
        seen = self.through_blocks(x.gather(1, chosen))
        return self.features(self.hidden_token.to(seen.dtype).expand_as(x).scatter(1, chosen, seen))

    def through_blocks(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


NETWORKS = {
    "tiny": lambda: iresnet((1, 2, 2, 1), (16, 32, 64, 128), (1, 2, 2, 2), stem_stride=2),
    "r18": lambda: iresnet((2, 2, 2, 2)),
    "r50": lambda: iresnet((3, 4, 14, 3)),
    "r100": lambda: iresnet((3, 13, 30, 3)),
    "mbf": mobilefacenet,
    "vit_t": lambda: Vit(256, 12),
    "vit_b": lambda: Vit(512, 24),
}
# Of an image's forward pass, in convolutions, linear layers and attention: those of `pfc plan`.
MULTIPLY_ADDS = {
    "tiny": 0.114e9,
    "r18": 2.610e9,
    "r50": 6.309e9,
    "r100": 12.090e9,
    "mbf": 0.438e9,
    "vit_t": 1.505e9,
    "vit_b": 11.437e9,
}


def memory_format_of(network):
    """The one in which the network is fastest on a GPU."""
    return torch.contiguous_format if network.startswith("vit") else torch.channels_last
