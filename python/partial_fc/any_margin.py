"""The head for a margin of the user's own: a matrix of logits, and autograd through it."""

from __future__ import annotations

import zlib
from typing import Any, Callable, List, Optional, Tuple

import torch
import torch.distributed as dist
from torch.nn.functional import linear, normalize


class AnyMarginHead(torch.nn.Module):
    """Softmax over this and all other ranks' sampled centres, with ``margin(logits [N, S], labels [N, 1])`` before it.

    The label of a sample whose class another rank owns is −1. The weight [num_local, d] is an ordinary parameter.
    """

    def __init__(
        self,
        margin: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        embedding_size: int,
        num_classes: int,
        sample_rate: float,
        seed: int,
        process_group: Optional[dist.ProcessGroup],
    ) -> None:
        super().__init__()
        self.margin, self.sample_rate, self.seed, self.num_classes = margin, sample_rate, seed, num_classes
        is_joined = dist.is_available() and dist.is_initialized()
        self.group = process_group if process_group is not None or not is_joined else dist.group.WORLD
        self.rank = dist.get_rank(self.group) if self.group is not None else 0
        self.world_size = dist.get_world_size(self.group) if self.group is not None else 1
        base, larger = divmod(num_classes, self.world_size)
        self.num_local = base + (self.rank < larger)
        self.class_start = self.rank * base + min(self.rank, larger)
        self.step = 0
        random = torch.Generator().manual_seed(seed + self.rank)
        self.weight = torch.nn.Parameter(0.01 * torch.randn(self.num_local, embedding_size, generator=random))
        self.weight_index = torch.arange(self.num_local)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if embeddings.shape[0] != labels.shape[0]:
            raise ValueError(f"{embeddings.shape[0]} embeddings and {labels.shape[0]} labels")
        all_embeddings: torch.Tensor = _Gather.apply(embeddings.float().contiguous(), self.group)  # type: ignore[no-untyped-call]
        all_labels = _gathered(labels.contiguous(), self.group)
        if int(all_labels.min()) < 0 or int(all_labels.max()) >= self.num_classes:
            raise ValueError(
                f"labels from {int(all_labels.min())} to {int(all_labels.max())}, want 0 to {self.num_classes - 1}"
            )
        own = all_labels - self.class_start
        is_here = (own >= 0) & (own < self.num_local)
        rows = self._draw(torch.unique(own[is_here]))
        self.step += 1
        self.weight_index = rows
        places = torch.where(is_here, torch.searchsorted(rows, own.clamp(0, self.num_local - 1)), -1)
        cosines = linear(normalize(all_embeddings), normalize(self.weight[rows])).clamp(-1, 1)
        logits = self.margin(cosines, places.view(-1, 1))
        loss: torch.Tensor = _SharedSoftmax.apply(logits, places, self.group)  # type: ignore[no-untyped-call]
        return loss

    def _draw(self, positives: torch.Tensor) -> torch.Tensor:
        """The batch's classes and a random share of the others, ascending."""
        wanted = int(self.sample_rate * self.num_local)
        if self.sample_rate >= 1:
            return torch.arange(self.num_local, device=positives.device)
        if wanted <= len(positives):
            return positives
        random = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {self.rank} {self.step}".encode()))
        order = torch.rand(self.num_local, generator=random).to(positives.device)
        order[positives] = 2.0
        return order.topk(wanted).indices.sort().values


def _gathered(tensor: torch.Tensor, group: Optional[dist.ProcessGroup]) -> torch.Tensor:
    if group is None:
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, tensor, group=group)
    return torch.cat(parts)


def _reduced(tensor: torch.Tensor, group: Optional[dist.ProcessGroup], op: Any = dist.ReduceOp.SUM) -> torch.Tensor:
    if group is not None:
        dist.all_reduce(tensor, op, group=group)
    return tensor


class _Gather(torch.autograd.Function):
    """All ranks' rows. The gradient is the sum over ranks times their number, which DDP divides by."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, group: Optional[dist.ProcessGroup]) -> torch.Tensor:
        ctx.group = group
        return _gathered(rows, group) if group is not None else rows.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Tuple[torch.Tensor, None]:
        if ctx.group is None:
            return gradients[0], None
        world = dist.get_world_size(ctx.group)
        total = _reduced(gradients[0].clone(), ctx.group)
        return total.chunk(world)[dist.get_rank(ctx.group)] * world, None


class _SharedSoftmax(torch.autograd.Function):
    """Mean cross-entropy of logits [N, S] whose columns are spread over ranks; places [N]: own columns, or −1."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, places: torch.Tensor, group: Optional[dist.ProcessGroup]
    ) -> torch.Tensor:
        samples: List[int] = (places >= 0).nonzero().flatten().tolist()
        highest = _reduced(logits.max(1).values, group, dist.ReduceOp.MAX)
        exponentials = (logits - highest.unsqueeze(1)).exp()
        total = _reduced(exponentials.sum(1), group)
        own = torch.zeros_like(highest)
        own[samples] = logits[samples, places[samples]]
        own = _reduced(own, group)
        ctx.save_for_backward(exponentials / total.unsqueeze(1), places)
        ctx.samples = samples
        return (highest + total.log() - own).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Tuple[torch.Tensor, None, None]:
        probabilities, places = ctx.saved_tensors
        d_logits = probabilities.clone()
        d_logits[ctx.samples, places[ctx.samples]] -= 1
        return d_logits * (gradients[0] / len(places)), None, None
