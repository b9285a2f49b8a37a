"""PartialFC_V2 in the loop that the script has: one optimizer, the centres in its last group."""

from __future__ import annotations

import math
import warnings
from typing import Any, Callable, Dict

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import partial_fc
from faces import CLASSES, DIM, batch, part_of, wide_centers
from partial_fc.insightface import PartialFC_V2
from ranks import run_ranks
from reference import PlainHead, cosface


# Margin losses as scripts define them; the head looks at the names of the classes and of their numbers.


class CosFace(torch.nn.Module):
    def __init__(self, s: float = 64.0, m: float = 0.4) -> None:
        super().__init__()
        self.s, self.m = s, m

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows = (labels.view(-1) >= 0).nonzero().view(-1)
        margin = torch.zeros_like(logits)
        margin[rows, labels[rows].view(-1)] = self.m
        return self.s * (logits - margin)


class ArcFace(CosFace):
    """With the margin as sine and cosine, and its exact gradient."""

    def __init__(self, s: float = 64.0, margin: float = 0.5) -> None:
        torch.nn.Module.__init__(self)
        self.scale, self.cos_m, self.sin_m, self.margin_ = s, math.cos(margin), math.sin(margin), margin

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows = (labels.view(-1) >= 0).nonzero().view(-1)
        own = logits[rows, labels[rows].view(-1)]
        moved = own * self.cos_m - (1 - own * own).sqrt() * self.sin_m
        moved = torch.where(own > math.cos(math.pi - self.margin_), moved, own - self.margin_ * math.sin(self.margin_))
        return self.scale * logits.index_put((rows, labels[rows].view(-1)), moved)


class CombinedMarginLoss(torch.nn.Module):
    """As the library has it: with m3 it is CosFace, and otherwise ArcFace without the angle's derivative."""

    def __init__(self, s: float, m1: float, m2: float, m3: float, interclass_filtering_threshold: float = 0) -> None:
        super().__init__()
        self.s, self.m1, self.m2, self.m3 = s, m1, m2, m3
        self.interclass_filtering_threshold = interclass_filtering_threshold

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.m3 > 0:
            return CosFace(self.s, self.m3)(logits, labels)
        moved = logits.detach().acos()
        rows = (labels.view(-1) >= 0).nonzero().view(-1)
        moved[rows, labels[rows].view(-1)] += self.m2
        return self.s * (logits + (moved.cos() - logits).detach())


class Doubled(CosFace):
    """Of a class that the package does not know."""


@pytest.mark.parametrize(
    "margin, loss, scale, interclass_filter",
    [
        (CosFace(30, 0.35), partial_fc.CosFace(0.35), 30, 0),
        (ArcFace(64, 0.5), partial_fc.ArcFace(0.5), 64, 0),
        (CombinedMarginLoss(64, 1.0, 0.5, 0.0), partial_fc.ArcFace(0.5, "straight_through"), 64, 0),
        (CombinedMarginLoss(64, 1.0, 0.0, 0.4, 0.3), partial_fc.CosFace(0.4), 64, 0.3),
        (partial_fc.AdaFace(), partial_fc.AdaFace(), 64, 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_margins_are_recognised_by_their_numbers(
    margin: Any, loss: partial_fc.Loss, scale: float, interclass_filter: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = PartialFC_V2(margin, DIM, CLASSES)
    settings = head._shard.settings
    assert type(settings.margin) is type(loss)
    assert settings.margin.settings() == pytest.approx(loss.settings())
    assert (settings.scale, settings.interclass_filter) == (scale, interclass_filter)


def test_a_class_whose_numbers_do_not_say_what_it_does_is_run_as_it_is() -> None:
    class CosFace(Doubled):  # noqa: F811
        def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return super().forward(logits, labels) * 2

    with pytest.warns(UserWarning, match="CosFace is no margin loss that partial_fc knows"):
        PartialFC_V2(CosFace(), DIM, CLASSES)


SETTINGS: Dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-3),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05),
}


def script_run(
    rank: int, world: int, kind: str, margin: Any, rate: float = 1.0, parts: int = 1, scaled: bool = False
) -> Dict[str, Any]:
    torch.manual_seed(3)
    backbone = torch.nn.Linear(DIM, DIM)
    model = torch.nn.parallel.DistributedDataParallel(backbone) if world > 1 else backbone
    head = PartialFC_V2(margin, DIM, CLASSES, rate)
    head.train()
    head.load_state_dict({"weight": wide_centers()[head.class_start : head.class_start + head.num_local]})
    optimizer = SETTINGS[kind]([{"params": model.parameters()}, {"params": head.parameters()}])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=256.0)
    losses, rows = [], []
    for step in range(20):
        embeddings, labels = batch(step)
        loss = head(model(part_of(embeddings, rank, world)), part_of(labels, rank, world))
        losses.append(loss.item())
        rows.append((head.weight_index + head.class_start).numpy())
        scaler.scale(loss / parts).backward()
        if (step + 1) % parts == 0:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        scheduler.step()
    return {
        "losses": np.array(losses),
        "backbone": backbone.weight.detach().numpy(),
        "centers": head.state_dict()["weight"].detach().numpy().copy(),
        "rows": rows,
    }


def plain_run(kind: str, rows: Any = None, parts: int = 1, margin: float = 0.4) -> Dict[str, np.ndarray]:
    torch.manual_seed(3)
    backbone = torch.nn.Linear(DIM, DIM).double()
    plain = PlainHead(wide_centers(), 16.0)
    optimizer = SETTINGS[kind]([{"params": backbone.parameters()}, {"params": [plain.centers]}])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    losses = []
    for step in range(20):
        embeddings, labels = batch(step)
        used = torch.arange(CLASSES) if rows is None else torch.from_numpy(rows[step])
        cosines = normalize(backbone(embeddings.double())) @ normalize(plain.centers[used]).t()
        targets = torch.searchsorted(used, labels)
        loss = torch.nn.functional.cross_entropy(16.0 * cosface(cosines, targets, margin), targets)
        losses.append(loss.item())
        (loss / parts).backward()
        if (step + 1) % parts == 0:
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), 5)
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()
    return {
        "losses": np.array(losses),
        "backbone": backbone.weight.detach().numpy(),
        "centers": plain.centers.detach().numpy(),
    }


def assert_same(found: Dict[str, np.ndarray], want: Dict[str, np.ndarray], tolerance: float) -> None:
    for name, values in want.items():
        error = np.abs(found[name] - values).max()
        assert error < tolerance * np.abs(values).max(), (name, error)


def joined(ranks: Any) -> Dict[str, Any]:
    return {
        **ranks[0],
        "centers": np.concatenate([rank["centers"] for rank in ranks]),
        "rows": [np.concatenate(rows) for rows in zip(*(rank["rows"] for rank in ranks))],
    }


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.filterwarnings("ignore:AdamW changes every centre", "ignore:Detected call of `lr_scheduler")
def test_the_script_learns_what_a_plain_softmax_does(world: int, parts: int, kind: str) -> None:
    arguments = (kind, CosFace(16.0, 0.4), 1.0, parts)
    found = script_run(0, 1, *arguments) if world == 1 else joined(run_ranks(world, script_run, *arguments))
    assert_same(found, plain_run(kind, parts=parts), 1e-4 if kind == "sgd" else 5e-3)


def test_a_scaler_changes_nothing() -> None:
    one, scaled = (script_run(0, 1, "sgd", CosFace(16.0, 0.4), scaled=scaled) for scaled in (False, True))
    assert_same({k: scaled[k] for k in ("losses", "centers")}, {k: one[k] for k in ("losses", "centers")}, 1e-5)


def test_sampled_steps_move_all_centres_as_sgd_over_all_of_them_does() -> None:
    found = script_run(0, 1, "sgd", CosFace(16.0, 0.4), rate=0.2)
    assert_same(found, plain_run("sgd", rows=found["rows"]), 1e-3)


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.filterwarnings("ignore:Doubled is no margin loss")
def test_any_margin_is_computed_with_a_matrix(world: int, rate: float) -> None:
    arguments = ("sgd", Doubled(16.0, 0.4), rate)
    found = script_run(0, 1, *arguments) if world == 1 else joined(run_ranks(world, script_run, *arguments))
    assert_same(found, plain_run("sgd", rows=found["rows"]), 1e-3)


def test_attributes_and_state_are_those_of_the_class() -> None:
    head = PartialFC_V2(CosFace(), DIM, CLASSES, 0.5)
    assert (head.rank, head.world_size, head.num_local, head.class_start, head.num_sample) == (
        0,
        1,
        CLASSES,
        0,
        CLASSES // 2,
    )
    assert list(head.state_dict()) == ["weight"]
    (weight,) = head.parameters()
    assert weight.shape == (CLASSES, DIM) and weight.requires_grad and weight is head.weight
    head(*batch(0))
    assert len(head.weight_index) >= CLASSES // 2


@pytest.mark.parametrize("margin", [CosFace(16.0), Doubled(16.0, 0.4)], ids=["cosface", "any margin"])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.filterwarnings("ignore:AdamW changes every centre", "ignore:Doubled is no margin loss")
def test_a_resumed_script_goes_on_where_it_stopped(kind: str, margin: Any, tmp_path: Any) -> None:
    def make() -> Any:
        head = PartialFC_V2(margin, DIM, CLASSES, 0.2)
        return head, SETTINGS[kind](head.parameters())

    def train(head: PartialFC_V2, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            embeddings, labels = batch(step)
            head(embeddings.requires_grad_(), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    head, optimizer = make()
    train(head, optimizer, range(4))
    torch.save({"fc": head.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint_gpu_0.pt")
    train(head, optimizer, range(4, 8))
    resumed, other = make()
    saved = torch.load(tmp_path / "checkpoint_gpu_0.pt", weights_only=True)
    resumed.load_state_dict(saved["fc"])
    other.load_state_dict(saved["optimizer"])
    train(resumed, other, range(4, 8))
    assert torch.equal(resumed.weight, head.weight)


def test_a_step_that_the_scaler_skips_leaves_nothing_behind() -> None:
    heads, steps = [], ([0, 1], [1])
    for batches in steps:
        head, other = PartialFC_V2(CosFace(16.0), DIM, CLASSES), torch.nn.Parameter(torch.zeros(1))
        optimizer = SETTINGS["sgd"]([{"params": [other]}, {"params": head.parameters()}])
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for number in batches:
            start = head.weight.clone()
            embeddings, labels = batch(number)
            scaler.scale(head(embeddings.requires_grad_(), labels)).backward()
            other.grad = torch.full((1,), math.inf if number == 0 else 1.0)
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            assert torch.equal(head.weight, start) == (number == 0)
        heads.append(head)
    assert (heads[0].weight - heads[1].weight).abs().max() < 1e-7


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), "SGD with nesterov"),
        (lambda p: torch.optim.AdamW(p, amsgrad=True), "AdamW with amsgrad"),
        (lambda p: torch.optim.RMSprop(p), "is in RMSprop, want torch.optim.SGD"),
    ],
)
def test_optimizers_that_the_head_cannot_be_are_refused(make: Any, sentence: str) -> None:
    head = PartialFC_V2(CosFace(), DIM, CLASSES)
    optimizer = make(head.parameters())
    embeddings, labels = batch(0)
    head(embeddings.requires_grad_(), labels).backward()
    with pytest.raises(RuntimeError, match=sentence):
        optimizer.step()


def test_a_step_without_backward_does_nothing_as_with_others() -> None:
    head = PartialFC_V2(CosFace(), DIM, CLASSES)
    start = head.weight.clone()
    SETTINGS["sgd"](head.parameters()).step()
    assert torch.equal(head.weight, start)
