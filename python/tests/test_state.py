"""Saved, resumed, and loaded by another number of ranks."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any, Dict, List

import numpy as np
import pytest
import torch

import partial_fc
from partial_fc.insightface import PartialFC_V2
from faces import CLASSES, DIM, batch, part_of
from ranks import run_ranks


def make(seed: int = 5, **settings: Any) -> partial_fc.PartialFC:
    return partial_fc.PartialFC(DIM, CLASSES, sample_rate=0.2, seed=seed, **settings)


def train(head: partial_fc.PartialFC, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        embeddings, labels = batch(step)
        x = part_of(embeddings, head.rank, head.world_size).requires_grad_()
        head(x, part_of(labels, head.rank, head.world_size)).backward()
        optimizer.step()


CASES = [
    {"kind": "sgd"},
    {"kind": "adamw"},
    {"kind": "sgd", "update": "dense_equivalent"},
    {"kind": "sgd", "margin": partial_fc.AdaFace()},
    {"kind": "sgd", "center_type": "bfloat16", "state_type": "bfloat16"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_a_resumed_run_goes_on_bit_for_bit(case: Dict[str, Any], tmp_path: Any) -> None:
    settings = {key: value for key, value in case.items() if key != "kind"}
    head = make(**settings)
    optimizer = head.optimizer(lr=0.1, kind=case["kind"])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    train(head, optimizer, range(4))
    scheduler.step()
    torch.save([head.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    train(head, optimizer, range(4, 8))

    state, of_optimizer = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = make(seed=5, **settings)
    other = resumed.optimizer(lr=9.0, kind=case["kind"])
    resumed.load_state_dict(state)
    other.load_state_dict(of_optimizer)
    assert resumed.step == 4
    train(resumed, other, range(4, 8))
    assert torch.equal(resumed.weight, head.weight)


def test_a_head_within_a_model_is_saved_with_it() -> None:
    model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": make()})
    state = model.state_dict()
    assert {"head.weight", "head.momentum", "head.progress"} < set(state)
    other = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": make(seed=6)})
    other.load_state_dict(state)
    assert torch.equal(other["head"].weight, model["head"].weight)


def test_a_state_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match="load_sharded loads what another number of ranks saved"):
        make().load_state_dict(partial_fc.PartialFC(DIM, CLASSES + 1).state_dict())
    with pytest.raises(RuntimeError, match="Missing key.*weight"):
        make().load_state_dict({})
    with pytest.raises(RuntimeError, match="Unexpected key.*colour"):
        make().load_state_dict({**make().state_dict(), "colour": torch.zeros(1)})


def save_shards(rank: int, world: int, folder: str, case: Dict[str, Any]) -> None:
    head = make(margin=case.get("margin", partial_fc.CosFace()))
    train(head, head.optimizer(lr=0.1, kind=case["kind"]), range(3))
    torch.save({"epoch": 1, "model": {f"head.{k}": v for k, v in head.state_dict().items()}}, f"{folder}/rank{rank}.pt")


def go_on(rank: int, world: int, folder: str, files: List[str], case: Dict[str, Any]) -> np.ndarray:
    head = make(seed=5, margin=case.get("margin", partial_fc.CosFace()))
    partial_fc.load_sharded(head, [f"{folder}/{name}" for name in files])
    assert head.step == 3
    train(head, head.optimizer(lr=0.1, kind=case["kind"]), range(3, 6))
    return head.weight.numpy().copy()


@pytest.mark.parametrize(
    "case",
    [{"kind": "sgd"}, {"kind": "adamw"}, {"kind": "sgd", "margin": partial_fc.SubCenterArcFace()}],
    ids=lambda case: "-".join(map(str, case.values())),
)
def test_any_number_of_ranks_loads_what_any_number_saved(case: Dict[str, Any], tmp_path: Any) -> None:
    run_ranks(3, save_shards, str(tmp_path), case)
    head = make(margin=case.get("margin", partial_fc.CosFace()))
    train(head, head.optimizer(lr=0.1, kind=case["kind"]), range(6))
    files = ["rank2.pt", "rank0.pt", "rank1.pt"]
    one = go_on(0, 1, str(tmp_path), files, case)
    two = np.concatenate(run_ranks(2, go_on, str(tmp_path), files, case))
    for found in (one, two):
        assert np.abs(found - head.weight.numpy()).max() < 1e-5


def test_shards_of_insightface_are_loaded(tmp_path: Any) -> None:
    centers = torch.randn(CLASSES, DIM)
    first = CLASSES // 2 + 1
    for rank, rows in enumerate((centers[:first], centers[first:])):
        optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}, 1: {"momentum_buffer": 2 * rows}}}
        saved = {"state_dict_backbone": {"fc.weight": torch.zeros(4, DIM)}, "state_dict_softmax_fc": {"weight": rows}}
        torch.save({**saved, "state_optimizer": optimizer}, tmp_path / f"checkpoint_gpu_{rank}.pt")
    head = make()
    partial_fc.load_sharded(head, tmp_path)
    assert torch.equal(head.weight, centers)
    assert torch.equal(head.state_dict()["momentum"], 2 * centers)
    same = PartialFC_V2(partial_fc.CosFace(), DIM, CLASSES)
    partial_fc.load_sharded(same, tmp_path)
    assert torch.equal(same.weight, centers)
    embeddings, labels = batch(0)
    optimizer = torch.optim.SGD(same.parameters(), lr=0.0, momentum=1.0)
    same(embeddings.requires_grad_(), labels).backward()
    optimizer.step()
    momentum = optimizer.state[same.weight]["momentum_buffer"]
    assert (momentum - 2 * centers).abs().max() < 0.5 * centers.abs().max()  # it had been loaded


def test_files_of_other_centres_are_refused(tmp_path: Any) -> None:
    torch.save({"weight": torch.zeros(CLASSES - 1, DIM)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=f"1 files hold {CLASSES - 1} centres, the head has {CLASSES}"):
        partial_fc.load_sharded(make(), [tmp_path / "a.pt"])
    torch.save({"nothing": 1}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match="b.pt: holds no state_dict of a head"):
        partial_fc.load_sharded(make(), [tmp_path / "b.pt"])
    with pytest.raises(ValueError, match="holds neither a manifest.json nor"):
        partial_fc.load_sharded(make(), tmp_path)


@pytest.mark.parametrize("update", ["sampled", "dense_equivalent"])
def test_checkpoints_of_pfc_train_are_loaded(update: str, tmp_path: Any) -> None:
    safetensors_torch = pytest.importorskip("safetensors.torch")
    pfc = os.environ.get("PFC_BINARY")
    if not pfc:
        pytest.skip("PFC_BINARY names no program: run by ctest")
    run = [
        pfc,
        "data",
        "synth",
        tmp_path / "faces",
        "--identities",
        "12",
        "--images",
        "4",
        "--unseen",
        "4",
        "--pairs",
        "20",
    ]
    subprocess.run(run, check=True, capture_output=True)
    recipe = pathlib.Path(__file__).parents[2] / "configs" / "faces_tiny.toml"
    settings = {
        "output": tmp_path / "out",
        "data.train": tmp_path / "faces" / "train.rec",
        "train.steps": 3,
        "train.batch_size": 4,
        "eval.every": 0,
        "checkpoint.every": 3,
        "head.margin": "adaface",
        "head.update": update,
    }
    chosen = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    found = subprocess.run([pfc, "train", recipe, *chosen], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    folder = sorted((tmp_path / "out" / "checkpoints").glob("step-*"))[-1]
    saved = safetensors_torch.load_file(folder / "centers-00001-of-00001.safetensors")
    head = partial_fc.PartialFC(saved["centers"].shape[1], 12, margin=partial_fc.AdaFace(), update=update)
    partial_fc.load_sharded(head, folder)
    assert torch.equal(head.weight, saved["centers"])
    assert torch.equal(head.state_dict()["momentum"], saved["momentum"])
    progress = head.state_dict()["progress"]
    assert (
        progress["step"] == 3
        and progress["moving"] == json.loads((folder / "manifest.json").read_text())["state"]["adaface"]
    )
