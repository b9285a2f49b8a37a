"""Schedulers, gradient scalers, accumulation and zero_grad, as others' optimizers have them."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
import pytest
import torch

import partial_fc
from faces import CLASSES, DIM, SCALE, batch, part_of, set_centers
from ranks import run_ranks


def make_head(**settings: Any) -> partial_fc.PartialFC:
    head = partial_fc.PartialFC(DIM, CLASSES, scale=SCALE, **{"sample_rate": 1.0, **settings})
    set_centers(head)
    return head


def backward(
    head: partial_fc.PartialFC, step: int = 0, type: torch.dtype = torch.float32, by: float = 1.0
) -> torch.Tensor:
    embeddings, labels = batch(step)
    x = part_of(embeddings, head.rank, head.world_size).to(type).requires_grad_()
    (head(x, part_of(labels, head.rank, head.world_size)) * by).backward()
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10),
        lambda o: torch.optim.lr_scheduler.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (step + 1)),
    ],
    ids=["StepLR", "OneCycleLR", "CyclicLR", "LambdaLR"],
)
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_schedulers_change_rate_and_momentum(make: Any, kind: str) -> None:
    head = make_head()
    optimizer = head.optimizer(lr=0.1, kind=kind, weight_decay=1e-3)
    plain = torch.nn.Parameter(head.weight.clone())
    other = (
        torch.optim.SGD([plain], lr=0.1, momentum=0.9, weight_decay=1e-3)
        if kind == "sgd"
        else torch.optim.AdamW([plain], lr=0.1, weight_decay=1e-3)
    )
    schedulers = [make(optimizer), make(other)]
    for step in range(6):
        # The gradient, from a step of SGD without momentum.
        probe = make_head()
        probe.weight.copy_(head.weight)
        probe_optimizer = probe.optimizer(lr=1.0, momentum=0, weight_decay=0)
        backward(probe, step)
        probe_optimizer.step()
        plain.grad = head.weight - probe.weight
        backward(head, step)
        optimizer.step()
        other.step()
        assert (head.weight - plain).abs().max() < 2e-4 * plain.abs().max(), step
        for scheduler in schedulers:
            scheduler.step()
    assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"]


def test_sgd_without_momentum_keeps_nothing() -> None:
    head = make_head()
    head.optimizer(lr=0.1, momentum=0)
    assert set(head.state_dict()) == {"weight", "progress"}
    head.optimizer(lr=0.1, kind="adamw")
    assert set(head.state_dict()) == {"weight", "momentum", "squares", "updates", "progress"}


def test_the_centres_are_no_parameters_and_get_no_gradient_of_their_size() -> None:
    head = make_head()
    head.optimizer(lr=0.1)
    backward(head)
    assert list(head.parameters()) == [] and list(head.buffers()) == []
    assert not head.weight.requires_grad
    assert head.weight.grad is not None and head.weight.grad.is_sparse and head.weight.grad._nnz() == 1


def test_zero_grad_throws_the_gradient_away() -> None:
    head, other = make_head(), make_head()
    optimizer, others = head.optimizer(lr=0.1), other.optimizer(lr=0.1)
    backward(head, 0)
    optimizer.zero_grad()
    backward(head, 1)
    optimizer.step()
    backward(other, 1)
    others.step()
    assert torch.equal(head.weight, other.weight)
    assert (head.step, other.step) == (2, 1)


def test_zero_grad_between_forward_and_backward_keeps_that_backward() -> None:
    head, other = make_head(), make_head()
    optimizer, others = head.optimizer(lr=0.1), other.optimizer(lr=0.1)
    embeddings, labels = batch(1)
    backward(head, 0)
    loss = head(embeddings.requires_grad_(), labels)  # the first gradient is accumulated
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    backward(other, 1)
    others.step()
    assert (head.weight - other.weight).abs().max() < 1e-6


def test_a_forward_without_backward_adds_nothing() -> None:
    head, other = make_head(), make_head()
    optimizer, others = head.optimizer(lr=0.1), other.optimizer(lr=0.1)
    embeddings, labels = batch(5)
    backward(head, 0)
    head(embeddings.requires_grad_(), labels)
    optimizer.step()
    backward(other, 0)
    others.step()
    assert (head.weight - other.weight).abs().max() < 1e-6


def test_a_loss_without_gradient_changes_nothing() -> None:
    head = make_head(margin=partial_fc.AdaFace(rate=1.0))
    before = head.state_dict()["progress"]
    embeddings, labels = batch(0)
    with torch.no_grad():
        first = head(embeddings, labels)
    assert head.state_dict()["progress"] == before
    assert not first.requires_grad


def test_a_loss_times_a_number_moves_centres_as_far() -> None:
    one, half = make_head(), make_head()
    start = one.weight.clone()
    for head, by in ((one, 1.0), (half, 0.5)):
        optimizer = head.optimizer(lr=0.1, weight_decay=0)
        backward(head, by=by)
        optimizer.step()
    assert ((one.weight - start) * 0.5 - (half.weight - start)).abs().max() < 1e-6


@pytest.mark.parametrize("unscale", [False, True])
def test_an_overflow_skips_the_step(unscale: bool) -> None:
    head = make_head()
    optimizer = head.optimizer(lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    start = head.weight.clone()
    embeddings, labels = batch(0)
    x = embeddings.to(torch.float16).requires_grad_()
    scaler.scale(head(x, labels)).backward()
    assert not x.grad.isfinite().any()
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(head.weight, start)
    assert scaler.get_scale() == 2.0**39
    assert head.step == 1


def overflow_on_one(rank: int, world: int) -> Dict[str, Any]:
    head = make_head()
    optimizer = head.optimizer(lr=0.1)
    backbone = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(DIM, DIM))
    sgd = torch.optim.SGD(backbone.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    start = [head.weight.clone(), *(p.detach().clone() for p in backbone.parameters())]
    scales, changed = [], []
    for step in range(3):
        embeddings, labels = batch(step)
        x = backbone(part_of(embeddings, rank, world)).to(torch.float16)
        loss = head(x, part_of(labels, rank, world))
        if step == 1 and rank == 1:  # in this rank's gradient alone
            loss = loss * 1e12
        scaler.scale(loss).backward()
        scaler.step(sgd)
        scaler.step(optimizer)
        scaler.update()
        now = [head.weight.clone(), *(p.detach().clone() for p in backbone.parameters())]
        changed.append([not torch.equal(a, b) for a, b in zip(start, now)])
        start = now
        scales.append(scaler.get_scale())
        sgd.zero_grad()
        optimizer.zero_grad()
    return {"changed": changed, "scales": scales, "backbone": now[1].numpy(), "step": head.step}


def test_an_overflow_on_one_rank_skips_every_step_on_all() -> None:
    for rank in run_ranks(2, overflow_on_one):
        assert rank["changed"] == [[True] * 3, [False] * 3, [True] * 3]
        assert rank["scales"] == [4.0, 2.0, 2.0]
        assert rank["step"] == 3


def found_by_one(rank: int, world: int) -> bool:
    head = make_head()
    optimizer = head.optimizer(lr=0.1)
    start = head.weight.clone()
    backward(head)
    optimizer.found_inf = torch.tensor(float(rank == 1))
    optimizer.step()
    return torch.equal(head.weight, start)


def test_what_one_rank_found_skips_the_step_on_all() -> None:
    assert run_ranks(2, found_by_one) == [True, True]


def backbone_run(rank: int, world: int, wrapper: str) -> Dict[str, np.ndarray]:
    torch.manual_seed(3)
    backbone = model = torch.nn.Linear(DIM, DIM)
    if wrapper == "DDP":
        model = torch.nn.parallel.DistributedDataParallel(backbone)
    elif wrapper == "FSDP":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        fully_shard(backbone, mesh=init_device_mesh("cpu", (world,)))
    head = make_head(backbone_gradients="summed" if wrapper == "none" else "averaged")
    optimizers = [torch.optim.SGD(backbone.parameters(), lr=0.01), head.optimizer(lr=0.1)]
    for step in range(5):
        embeddings, labels = batch(step)
        loss = head(model(part_of(embeddings, rank, world)), part_of(labels, rank, world))
        loss.backward()
        if wrapper == "none" and world > 1:
            for parameter in backbone.parameters():
                torch.distributed.all_reduce(parameter.grad)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    weight = backbone.weight.full_tensor() if wrapper == "FSDP" else backbone.weight
    return {"backbone": weight.detach().numpy(), "centers": head.weight.numpy().copy()}


@pytest.mark.parametrize("wrapper", ["DDP", "FSDP", "none"])
def test_two_ranks_train_a_backbone_as_one_does(wrapper: str) -> None:
    one = backbone_run(0, 1, "none")
    two = run_ranks(2, backbone_run, wrapper)
    assert np.array_equal(two[0]["backbone"], two[1]["backbone"])
    assert np.abs(two[0]["backbone"] - one["backbone"]).max() < 1e-5
    assert np.abs(np.concatenate([rank["centers"] for rank in two]) - one["centers"]).max() < 1e-5


def test_autocast_leaves_the_head_alone() -> None:
    head, other = make_head(), make_head()
    plain = backward(other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(backward(head), plain)


def test_lightning_fabric_drives_it() -> None:
    fabric_module = pytest.importorskip("lightning.fabric", reason="Lightning Fabric is not installed")
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1)
    head, other = make_head(), make_head()
    optimizer = fabric.setup_optimizers(head.optimizer(lr=0.1))
    others = other.optimizer(lr=0.1)
    for step in range(3):
        embeddings, labels = batch(step)
        fabric.backward(head(embeddings.requires_grad_(), labels))
        optimizer.step()
        optimizer.zero_grad()
        backward(other, step)
        others.step()
    assert torch.equal(head.weight, other.weight)
