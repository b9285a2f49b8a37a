"""examples/python runs as it is written."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any, List

import pytest

import partial_fc

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "python"


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("faces")
    partial_fc.draw_faces(folder, identities=16, images=8, unseen=8, pairs=40)
    return folder


def run(*command: Any) -> List[str]:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def accuracies(lines: List[str]) -> List[float]:
    """Of each epoch, in percent."""
    found = [re.fullmatch(r"epoch \d+: loss [\d.]+, accuracy ([\d.]+)%", line) for line in lines]
    return [float(each[1]) for each in found if each]


def test_train_py_learns_and_resumes(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script = [EXAMPLES / "train.py", faces, "--output", tmp_path]
    found = accuracies(run(*script, "--epochs", "5"))
    assert len(found) == 5 and max(found[-2:]) > 55
    assert {"rank0_of_1.pt", "unseen.html", "unseen.json"} <= {path.name for path in tmp_path.iterdir()}
    assert accuracies(run(*script, "--epochs", "5")) == []  # all is done


def test_train_py_runs_under_torchrun(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [EXAMPLES / "train.py", faces, "--output", tmp_path]
    found = accuracies(run(*torchrun, *script, "--epochs", "5"))
    assert len(found) == 5 and max(found[-2:]) > 55
    assert (tmp_path / "rank1_of_2.pt").exists()


def test_the_notebook_runs_and_is_stored_without_outputs(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    notebook = json.loads((EXAMPLES / "faces.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    program = "\n\n".join("".join(cell["source"]) for cell in cells)
    for large, small in [
        ("EPOCHS = 10", "EPOCHS = 2"),
        ("identities=150, images=12, unseen=60, pairs=600", "identities=20, images=6, unseen=8, pairs=40"),
    ]:
        assert large in program
        program = program.replace(large, small)
    (tmp_path / "faces.py").write_text(program)
    assert [line for line in run(tmp_path / "faces.py") if re.match(r"accuracy [\d.]+%, TAR", line)]
