"""The command `pfc` of the package, with a script in the place of the program; and the torch that both look for."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from typing import Dict, List

import pytest

import _partial_fc
from _partial_fc.built_for import CUDA, TORCH

COMMAND = "from _partial_fc.command import main; main()"
ADVICE = rf"; install that torch \(pip install 'torch=={TORCH}\.\*'\), or build partial_fc again"


def fake_torch(folder: pathlib.Path, version: str, cuda: str) -> Dict[str, str]:
    """An environment whose torch says that it is this version."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").touch()
    (folder / "torch" / "version.py").write_text(f"__version__ = {version!r}\ncuda = {cuda or None!r}\n")
    return {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


def run(code: str, environment: Dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)


def programs(folder: pathlib.Path, script: str) -> Dict[str, str]:
    """An environment where the program is this script, and torch the one that is wanted."""
    package = folder / "_partial_fc"
    shutil.copytree(pathlib.Path(_partial_fc.__file__).parent, package)
    (package / "bin").mkdir()
    (package / "bin" / "pfc").write_text(f"#!/bin/bash\n{script}\n")
    (package / "bin" / "pfc").chmod(0o755)
    return fake_torch(folder, f"{TORCH}.9", f"{CUDA}.0" if CUDA else "")


def wrong_torches() -> List[object]:
    wrong = [
        pytest.param("2.1.9", CUDA, r"and torch 2\.1\.9 is installed", id="another minor version"),
        pytest.param("3." + TORCH.split(".")[1], CUDA, r"and torch 3\.\d+ is installed", id="another major version"),
    ]
    if CUDA:
        wrong += [
            pytest.param(TORCH + ".0+cpu", "", r"and torch \S+, which is installed, has no CUDA", id="without CUDA"),
            pytest.param(TORCH + ".0", "1.2", r"and torch \S+, which is installed, is for CUDA 1.2", id="another CUDA"),
        ]
    return wrong


@pytest.mark.parametrize("version, cuda, sentence", wrong_torches())
def test_another_torch_is_told_in_one_sentence(tmp_path: pathlib.Path, version: str, cuda: str, sentence: str) -> None:
    environment = fake_torch(tmp_path, version, cuda)
    command = run(COMMAND, environment)
    assert command.returncode == 1 and command.stderr.count("\n") == 1, command.stderr
    imported = run("import partial_fc", environment)
    for said in (command.stderr, imported.stderr.splitlines()[-1]):
        assert re.search(f"^(pfc|ImportError): partial_fc was built for torch {TORCH}.*, {sentence}{ADVICE}", said), (
            said
        )


def test_a_missing_torch_is_told_in_one_sentence(tmp_path: pathlib.Path) -> None:
    # Only what the test names is on the path: -S leaves out site-packages.
    code = "import sys; sys.path.insert(0, sys.argv.pop(1))\n" + COMMAND
    package = str(pathlib.Path(_partial_fc.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-c", code, package]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(f"^pfc: partial_fc was built for torch {TORCH}.*, and no torch is installed{ADVICE}", done.stderr)
    assert done.stderr.count("\n") == 1


def test_the_program_gets_the_arguments_and_its_exit_code_is_the_commands(tmp_path: pathlib.Path) -> None:
    done = run(COMMAND, programs(tmp_path, 'printf "<%s>" "$@"; exit 7'), "a b", "--c=*")
    assert (done.returncode, done.stdout, done.stderr) == (7, "<a b><--c=*>", "")


def test_the_program_finds_the_libraries_of_the_installed_torch_first(tmp_path: pathlib.Path) -> None:
    (tmp_path / "nvidia" / "nccl" / "lib").mkdir(parents=True)
    environment = programs(tmp_path, "echo $LD_LIBRARY_PATH")
    folders = f"{tmp_path}/torch/lib:{tmp_path}/nvidia/nccl/lib"
    assert run(COMMAND, {**environment, "LD_LIBRARY_PATH": "/mine"}).stdout == f"{folders}:/mine\n"
    environment.pop("LD_LIBRARY_PATH", None)
    assert run(COMMAND, environment).stdout == f"{folders}\n"


def test_the_program_gets_every_signal_as_if_it_were_started_itself(tmp_path: pathlib.Path) -> None:
    environment = programs(tmp_path, "echo $$; grep SigIgn /proc/$$/status; kill -INT $$")
    command = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate()
    pid, _, ignored = said.split()
    assert int(pid) == process.pid  # so it gets what a terminal or a launcher sends
    assert process.returncode == -signal.SIGINT
    assert not int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
