"""Batches that all ranks know."""

from __future__ import annotations

from typing import Tuple

import torch

CLASSES, DIM, SCALE = 61, 24, 16.0
SAMPLES = 12  # of all ranks


def batch(step: int, samples: int = SAMPLES, classes: int = CLASSES) -> Tuple[torch.Tensor, torch.Tensor]:
    """Embeddings [samples, DIM] of different lengths, and labels."""
    random = torch.Generator().manual_seed(1000 + step)
    lengths = 0.5 + 20 * torch.rand(samples, 1, generator=random)
    embeddings = lengths * torch.nn.functional.normalize(torch.randn(samples, DIM, generator=random))
    return embeddings, torch.randint(0, classes, (samples,), generator=random)


def part_of(tensor: torch.Tensor, rank: int, world: int) -> torch.Tensor:
    return tensor.chunk(world)[rank].clone()


def wide_centers(classes: int = CLASSES) -> torch.Tensor:
    """Larger than a head's first ones, so that some steps leave them where nothing is saturated."""
    return 0.5 * torch.randn(classes, DIM, generator=torch.Generator().manual_seed(7))


def set_centers(head: torch.nn.Module, classes: int = CLASSES) -> None:
    begin = head.class_start
    head.weight.copy_(wide_centers(classes)[begin : begin + head.num_local])
