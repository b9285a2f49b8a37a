"""The plain way, in float64: every logit in a matrix, autograd, and torch.optim over all centres."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import torch
from torch.nn.functional import cross_entropy, normalize


def cosface(cosines: torch.Tensor, labels: torch.Tensor, margin: float = 0.4) -> torch.Tensor:
    return cosines - margin * torch.nn.functional.one_hot(labels, cosines.shape[1])


class PlainHead:
    """Softmax over all classes with centres as a parameter."""

    def __init__(self, centers: torch.Tensor, scale: float, margin: Callable[..., torch.Tensor] = cosface) -> None:
        self.centers = torch.nn.Parameter(centers.to(torch.float64))
        self.scale, self.margin = scale, margin

    def loss(
        self, embeddings: torch.Tensor, labels: torch.Tensor, rows: Optional[torch.Tensor] = None
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """The loss, and the leaf whose gradient is the embeddings'. `rows`: the classes that count."""
        x = embeddings.detach().to(torch.float64).requires_grad_()
        centers = self.centers
        if rows is not None:
            centers, labels = centers[rows], torch.searchsorted(rows, labels)
        cosines = normalize(x) @ normalize(centers).t()
        return cross_entropy(self.scale * self.margin(cosines, labels), labels), x
