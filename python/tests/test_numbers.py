"""The head beside a plain float64 softmax in PyTorch, on one rank and on several."""

from __future__ import annotations

import os
import subprocess
from typing import Any, Dict, List, Optional

import numpy as np
import pytest
import torch

import partial_fc
from faces import CLASSES, DIM, SAMPLES, SCALE, batch, part_of, set_centers, wide_centers
from ranks import run_ranks
from reference import PlainHead

STEPS = 20
KINDS = ["sgd", "adamw"]


def plain_optimizer(kind: str, centers: torch.nn.Parameter) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD([centers], lr=0.1, momentum=0.9, weight_decay=5e-3)
    return torch.optim.AdamW([centers], lr=0.01, weight_decay=0.05, betas=(0.8, 0.95), eps=1e-6)


def head_optimizer(kind: str, head: partial_fc.PartialFC) -> partial_fc.CenterOptimizer:
    if kind == "sgd":
        return head.optimizer(lr=0.1, momentum=0.9, weight_decay=5e-3)
    return head.optimizer(lr=0.01, kind="adamw", weight_decay=0.05, betas=(0.8, 0.95), eps=1e-6)


def plain_run(kind: str, parts: int) -> Dict[str, np.ndarray]:
    head = PlainHead(wide_centers(), SCALE)
    optimizer = plain_optimizer(kind, head.centers)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    losses, gradients = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in range(parts):
            loss, x = head.loss(*batch(parts * step + part))
            (loss / parts).backward()
            losses.append(loss.item())
            gradients.append(x.grad)
        optimizer.step()
        scheduler.step()
    return {
        "losses": np.array(losses),
        "gradients": torch.stack(gradients).numpy(),
        "centers": head.centers.detach().numpy(),
    }


def head_run(rank: int, world: int, kind: str, parts: int, scaled: bool = False) -> Dict[str, Any]:
    head = partial_fc.PartialFC(DIM, CLASSES, scale=SCALE, sample_rate=1.0)
    set_centers(head)
    optimizer = head_optimizer(kind, head)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=1024.0)
    losses, gradients = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in range(parts):
            embeddings, labels = batch(parts * step + part)
            x = part_of(embeddings, rank, world).requires_grad_()
            loss = head(x, part_of(labels, rank, world))
            scaler.scale(loss / parts).backward()
            losses.append(loss.item())
            gradients.append(x.grad / (1024.0 if scaled else 1.0))
        scaler.step(optimizer)
        scaler.update(1024.0 if scaled else None)
        scheduler.step()
    return {
        "losses": np.array(losses),
        "gradients": torch.stack(gradients).numpy(),
        "centers": head.weight.numpy().copy(),
    }


def joined(ranks: List[Dict[str, np.ndarray]]) -> Dict[str, np.ndarray]:
    """As one rank has it; the gradient by the embeddings is what DDP averages."""
    for other in ranks[1:]:
        assert np.array_equal(other["losses"], ranks[0]["losses"])
    return {
        "losses": ranks[0]["losses"],
        "gradients": np.concatenate([each["gradients"] for each in ranks], axis=1) / len(ranks),
        "centers": np.concatenate([each["centers"] for each in ranks]),
    }


def assert_same(found: Dict[str, np.ndarray], want: Dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    for name, values in want.items():
        error = np.abs(found[name] - values).max()
        assert error < tolerance * np.abs(values).max() + 1e-6, (name, error)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_classes_equal_a_plain_softmax(world: int, kind: str, parts: int) -> None:
    ranks = [head_run(0, 1, kind, parts)] if world == 1 else run_ranks(world, head_run, kind, parts)
    # AdamW divides by the root of squares: where gradients nearly vanish, rounding becomes a step of its own.
    assert_same(joined(ranks), plain_run(kind, parts), tolerance=1e-5 if kind == "sgd" else 1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_gradient_scaler_changes_nothing(parts: int) -> None:
    assert_same(head_run(0, 1, "sgd", parts, scaled=True), head_run(0, 1, "sgd", parts), tolerance=1e-6)


@pytest.mark.parametrize("type", [torch.bfloat16, torch.float16, torch.float64])
def test_embeddings_of_any_float_type_get_a_gradient_of_theirs(type: torch.dtype) -> None:
    head = partial_fc.PartialFC(DIM, CLASSES, scale=SCALE, sample_rate=1.0)
    set_centers(head)
    plain = PlainHead(wide_centers(), SCALE)
    embeddings, labels = batch(0)
    x = embeddings.to(type).requires_grad_()
    head(x, labels).backward()
    loss, reference = plain.loss(x, labels)
    loss.backward()
    assert x.grad.dtype == type
    limit = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-5}[type]
    assert (x.grad - reference.grad).abs().max() < limit * reference.grad.abs().max()


def sampled_run(rank: int, world: int, loss: partial_fc.Loss, update: str = "sampled") -> Dict[str, Any]:
    head = partial_fc.PartialFC(DIM, CLASSES, margin=loss, scale=SCALE, sample_rate=0.2, seed=3, update=update)
    optimizer = head.optimizer(lr=0.1, momentum=0.9, weight_decay=5e-3)
    rows, losses, gradients = [], [], []
    for step in range(6):
        embeddings, labels = batch(step)
        x = part_of(embeddings, rank, world).requires_grad_()
        value = head(x, part_of(labels, rank, world))
        value.backward()
        optimizer.step()
        losses.append(value.item())
        gradients.append(x.grad.numpy())
        rows.append((head._native.sampled_rows() + head.class_start).numpy())
    return {
        "losses": np.array(losses),
        "gradients": np.stack(gradients),
        "centers": head.weight.numpy().copy(),
        "rows": rows,
    }


@pytest.mark.parametrize(
    "loss",
    [
        partial_fc.CosFace(),
        partial_fc.AdaFace(),
        partial_fc.MagFace(),
        partial_fc.CurricularFace(),
        partial_fc.ElasticFace(),
        partial_fc.SubCenterArcFace(),
    ],
    ids=lambda loss: loss.name,
)
def test_two_ranks_sample_and_learn_as_one_does(loss: partial_fc.Loss) -> None:
    one, two = sampled_run(0, 1, loss), run_ranks(2, sampled_run, loss)
    for step, rows in enumerate(one.pop("rows")):
        assert np.array_equal(np.concatenate([rank["rows"][step] for rank in two]), rows)
    assert_same(joined(two), one)


def test_dense_equivalent_equals_an_optimizer_over_all_centres() -> None:
    found = sampled_run(0, 1, partial_fc.CosFace(), update="dense_equivalent")
    head = partial_fc.PartialFC(DIM, CLASSES, seed=3)
    plain = PlainHead(head.weight.clone(), SCALE)
    optimizer = torch.optim.SGD([plain.centers], lr=0.1, momentum=0.9, weight_decay=5e-3)
    for step in range(6):
        optimizer.zero_grad()
        loss, _ = plain.loss(*batch(step), rows=torch.from_numpy(found["rows"][step]))
        loss.backward()
        optimizer.step()
        assert abs(loss.item() - found["losses"][step]) < 1e-5 * loss.item()
    assert_same({"centers": found["centers"]}, {"centers": plain.centers.detach().numpy()})


def test_accumulated_parts_sample_the_step_s_classes_and_their_own() -> None:
    """Rows of part n: the step's draw, and the classes of parts 1 to n."""
    head = partial_fc.PartialFC(DIM, CLASSES, scale=SCALE, sample_rate=0.2)
    set_centers(head)
    optimizer = head.optimizer(lr=0.1, momentum=0.0, weight_decay=0.0)
    plain = PlainHead(wide_centers(), SCALE)
    before: Optional[torch.Tensor] = None
    for part in range(3):
        embeddings, labels = batch(part)
        x = embeddings.requires_grad_()
        (head(x, labels) / 3).backward()
        rows = head._native.sampled_rows()
        assert torch.isin(labels, rows).all()
        if before is not None:
            assert torch.isin(before, rows).all()
        before = rows
        loss, reference = plain.loss(embeddings, labels, rows=rows)
        (loss / 3).backward()
        assert (x.grad - reference.grad).abs().max() < 1e-5 * reference.grad.abs().max()
    optimizer.step()
    want = plain.centers.detach() - 0.1 * plain.centers.grad
    assert (head.weight - want).abs().max() < 1e-5 * want.abs().max()


def test_a_rate_that_changes_draws_at_each_step_what_a_head_of_that_rate_draws() -> None:
    low, high, changing = (
        partial_fc.PartialFC(DIM, CLASSES, sample_rate=rate, seed=11) for rate in (0.1, 0.6, [(0, 0.1), (2, 0.6)])
    )
    optimizers = {head: head.optimizer(lr=0.1) for head in (low, high, changing)}
    for step in range(4):
        for head, optimizer in optimizers.items():
            embeddings, labels = batch(step)
            head(embeddings.requires_grad_(), labels).backward()
            optimizer.step()
        want = (low if step < 2 else high)._native.sampled_rows()
        assert torch.equal(changing._native.sampled_rows(), want)


def test_blocks_draw_neighbours_together() -> None:
    head = partial_fc.PartialFC(DIM, CLASSES, sample_rate=0.2, sampling="blocks")
    embeddings, labels = batch(0)
    head(embeddings.requires_grad_(), labels).backward()
    rows = set(head._native.sampled_rows().tolist())
    blocks = [set(range(first, min(first + 8, CLASSES))) for first in range(0, CLASSES, 8)]
    drawn = set().union(*(block for block in blocks if block <= rows))
    assert len(drawn) >= 8
    assert rows - drawn <= set(labels.tolist())


def test_the_rows_and_numbers_are_those_of_the_c_plus_plus_head(tmp_path: Any) -> None:
    program = os.environ.get("PFC_CPP_HEAD")
    if not program:
        pytest.skip("PFC_CPP_HEAD names no program: run by ctest")
    steps = 5
    for step in range(steps):
        embeddings, labels = batch(step)
        unit = embeddings / embeddings.norm(2, 1, keepdim=True)
        unit.numpy().tofile(tmp_path / f"embeddings-{step}")
        labels.numpy().tofile(tmp_path / f"labels-{step}")
    subprocess.run([program, tmp_path, str(steps), str(SAMPLES), str(DIM), str(CLASSES), "0.1", "11"], check=True)
    head = partial_fc.PartialFC(DIM, CLASSES, sample_rate=0.1, seed=11)
    optimizer = head.optimizer(lr=0.1)
    for step in range(steps):
        embeddings, labels = batch(step)
        loss = head(embeddings.requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        assert np.array_equal(head._native.sampled_rows().numpy(), np.fromfile(tmp_path / f"rows-{step}", np.int64))
        want = float(np.fromfile(tmp_path / f"loss-{step}", np.float64)[0])
        assert abs(loss.item() - want) < 1e-6 * want
    want = np.fromfile(tmp_path / "centers", np.float32).reshape(CLASSES, DIM)
    assert np.array_equal(head.weight.numpy(), want)
