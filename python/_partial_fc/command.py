"""The command ``pfc``: it becomes the program beside this file, with the libraries of the torch that is installed."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from typing import NoReturn

from .installed_torch import torch_folder


def main() -> NoReturn:
    try:
        torch = torch_folder()
    except ImportError as error:
        sys.exit(f"pfc: {error}")
    # It may lie anywhere: in another site-packages, for example. Its own libraries of CUDA lie beside it.
    folders = [torch / "lib", *sorted(torch.parent.glob("nvidia/*/lib"))]
    others = os.environ.get("LD_LIBRARY_PATH")
    path = ":".join([*map(str, folders), *([others] if others else [])])
    # Python ignores these, and the program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    program = pathlib.Path(__file__).with_name("bin") / "pfc"
    os.execve(program, ["pfc", *sys.argv[1:]], {**os.environ, "LD_LIBRARY_PATH": path})
