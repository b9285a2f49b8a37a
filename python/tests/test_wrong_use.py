"""What is used wrongly ends in one sentence, on every rank, and nothing hangs."""

from __future__ import annotations

import copy
import os
import pickle
import time
from typing import Any, Callable, Tuple

import pytest
import torch

import partial_fc
from faces import CLASSES, DIM, batch
from ranks import run_ranks


def sentence_of(function: Callable[[], Any]) -> Tuple[str, str]:
    """The type of what `function` raises, and its text."""
    try:
        function()
    except Exception as error:
        return type(error).__name__, str(error)
    return "nothing", ""


@pytest.fixture
def head() -> partial_fc.PartialFC:
    return partial_fc.PartialFC(DIM, CLASSES)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"num_classes": 0}, "num_classes is 0, want at least 1"),
        ({"embedding_size": 0}, "embedding size is 0, want a positive number"),
        ({"sample_rate": 1.5}, "1.5"),
        ({"sample_rate": [(5, 0.1)]}, "do not begin with 0"),
        ({"scale": -1}, "scale is -1"),
        ({"sampling": "lucky"}, "sampling is 'lucky', want one of stratified, uniform, blocks"),
        ({"update": "often"}, "update is 'often', want one of sampled, dense_equivalent"),
        ({"center_type": "float8"}, "center_type is 'float8'"),
        ({"margin": 0.4}, "margin is 0.4, want a loss of partial_fc"),
        ({"backbone_gradients": "both"}, "backbone_gradients is 'both', want averaged or summed"),
        ({"device": "meta"}, "cannot be on meta, want cpu or cuda"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_make_no_sense_are_refused(settings: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        partial_fc.PartialFC(**{"embedding_size": DIM, "num_classes": CLASSES, **settings})


@pytest.mark.parametrize(
    "embeddings, labels, sentence",
    [
        (torch.zeros(3, DIM + 1), torch.zeros(3).long(), rf"want.* embeddings \[b, {DIM}\]"),
        (torch.zeros(3, DIM).int(), torch.zeros(3).long(), "of a float type"),
        (torch.zeros(0, DIM), torch.zeros(0).long(), "b at least 1"),
        (torch.zeros(3, DIM, device="meta"), torch.zeros(3).long(), "embeddings are on meta, the head on cpu"),
        (torch.zeros(3, DIM), torch.zeros(4).long(), r"wants integer labels \[3\]"),
        (torch.zeros(3, DIM), torch.zeros(3), "wants integer labels"),
        (
            torch.zeros(3, DIM),
            torch.tensor([0, CLASSES, 1]),
            f"label {CLASSES} of rank 0's sample 1, want 0 to {CLASSES - 1}",
        ),
        (torch.zeros(3, DIM), torch.tensor([0, 1, -1]), "label -1 of rank 0's sample 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    head: partial_fc.PartialFC, embeddings: torch.Tensor, labels: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        head(embeddings, labels)
    head(*batch(0))  # and it goes on


def test_backward_twice_is_refused(head: partial_fc.PartialFC) -> None:
    embeddings, labels = batch(0)
    loss = head(embeddings.requires_grad_(), labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward was called twice for one loss"):
        loss.backward()


def test_backward_after_the_next_forward_is_refused(head: partial_fc.PartialFC) -> None:
    embeddings, labels = batch(0)
    loss = head(embeddings.requires_grad_(), labels)
    head(embeddings, labels)
    with pytest.raises(RuntimeError, match="after its next forward"):
        loss.backward()


def test_step_without_backward_is_refused(head: partial_fc.PartialFC) -> None:
    optimizer = head.optimizer(lr=0.1)
    with pytest.raises(RuntimeError, match="asked for a step before a backward pass"):
        optimizer.step()
    embeddings, labels = batch(0)
    head(embeddings.requires_grad_(), labels).backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="asked for a step before a backward pass"):
        optimizer.step()


def test_a_loss_without_gradient_between_backward_and_step_is_refused(head: partial_fc.PartialFC) -> None:
    embeddings, labels = batch(0)
    head(embeddings.requires_grad_(), labels).backward()
    with torch.no_grad(), pytest.raises(RuntimeError, match="between a backward pass and its step"):
        head(embeddings, labels)


@pytest.mark.parametrize("setting", [{"lr": -1}, {"momentum": 1.5}, {"kind": "lion"}, {"betas": (0.9, 1.0)}], ids=str)
def test_optimizers_that_do_not_exist_are_refused(head: partial_fc.PartialFC, setting: Any) -> None:
    with pytest.raises(ValueError, match="want"):
        head.optimizer(**{"lr": 0.1, **setting})


def test_adamw_has_no_dense_equivalent() -> None:
    head = partial_fc.PartialFC(DIM, CLASSES, update="dense_equivalent")
    with pytest.raises(ValueError, match="dense_equivalent update of centres is SGD's"):
        head.optimizer(lr=0.1, kind="adamw")


def test_a_head_is_not_copied_or_pickled(head: partial_fc.PartialFC) -> None:
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied; save its state_dict"):
            copied(head)


class Images(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> Tuple[torch.Tensor, int]:
        return torch.ones(DIM) * (i + 1), i


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_loader_do_not_disturb_the_head(head: partial_fc.PartialFC, method: str) -> None:
    optimizer = head.optimizer(lr=0.1)
    loader = torch.utils.data.DataLoader(Images(), batch_size=4, num_workers=1, multiprocessing_context=method)
    for embeddings, labels in loader:
        head(embeddings.requires_grad_(), labels).backward()
        optimizer.step()
    assert head.step == 2


class UsesTheHead(Images):
    def __init__(self, head: partial_fc.PartialFC) -> None:
        self.head = head

    def __getitem__(self, i: int) -> Tuple[torch.Tensor, int]:
        self.head(torch.ones(1, DIM), torch.tensor([i]))
        return super().__getitem__(i)


def test_a_forked_worker_cannot_use_the_head(head: partial_fc.PartialFC) -> None:
    loader = torch.utils.data.DataLoader(UsesTheHead(head), num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError, match="DataLoader workers cannot use a head"):
        next(iter(loader))


# ---- Several ranks


def wrong_on_one(rank: int, world: int) -> Any:
    head = partial_fc.PartialFC(DIM, CLASSES)
    embeddings, labels = batch(0)
    found = []
    for wrong_embeddings, wrong_labels in (
        (embeddings, torch.full_like(labels, CLASSES)),
        (embeddings.int(), labels),
        (embeddings[:5], labels[:5]),
    ):
        found.append(
            sentence_of(lambda: head(*((wrong_embeddings, wrong_labels) if rank == 1 else (embeddings, labels))))
        )
    optimizer = head.optimizer(lr=0.1)
    head(embeddings.requires_grad_(), labels).backward()  # all go on together
    optimizer.step()
    other = partial_fc.PartialFC(DIM, CLASSES, seed=rank)
    found.append(sentence_of(lambda: other(embeddings, labels)))
    return found


def test_every_rank_hears_what_is_wrong_on_one() -> None:
    for found in run_ranks(2, wrong_on_one):
        types, sentences = zip(*found)
        assert types == ("ValueError",) * 4
        assert f"label {CLASSES} of rank 1's sample 0" in sentences[0]
        assert "rank 1: the head wants embeddings" in sentences[1]
        assert "rank 0 has 12 samples and rank 1 has 5" in sentences[2]
        assert "made with different settings" in sentences[3]


def destroyed(rank: int, world: int) -> Any:
    head = partial_fc.PartialFC(DIM, CLASSES)
    head(*batch(0))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return sentence_of(lambda: head(*batch(0)))


def test_a_destroyed_group_is_told() -> None:
    for found, sentence in run_ranks(2, destroyed):
        assert found == "RuntimeError" and "process group was destroyed" in sentence


def one_dies(rank: int, world: int) -> Any:
    head = partial_fc.PartialFC(DIM, CLASSES)
    head(*batch(0))
    if rank == 1:
        time.sleep(0.5)
        os._exit(9)
    start = time.monotonic()
    found = sentence_of(lambda: head(*batch(0)))
    return (*found, time.monotonic() - start)


def test_a_rank_that_dies_ends_the_others() -> None:
    for rank, answer in enumerate(run_ranks(3, one_dies, survivors=2)):
        if rank == 1:
            continue
        found, sentence, seconds = answer
        assert found == "RuntimeError" and f"rank {rank}" in sentence, sentence
        assert seconds < 30
