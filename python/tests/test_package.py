"""The package as its users find it."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys

import pytest

import partial_fc
from partial_fc import insightface

FOLDER = pathlib.Path(partial_fc.__file__).parent


@pytest.mark.parametrize(
    "thing", [*(getattr(partial_fc, name) for name in partial_fc.__all__), insightface.PartialFC_V2]
)
def test_everything_public_says_what_it_is(thing: object) -> None:
    text = inspect.getdoc(thing)
    assert text
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                assert inspect.getdoc(member) or name in ("weight_index", "extra_repr"), f"{thing.__name__}.{name}"


def test_types_are_checked() -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    assert (FOLDER / "py.typed").exists()
    packages = [str(FOLDER), str(FOLDER.with_name("_partial_fc"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", *packages]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
