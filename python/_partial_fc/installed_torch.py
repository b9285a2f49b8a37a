"""The torch that is installed, and whether it is the one that the compiled parts were built for."""

from __future__ import annotations

import importlib.util
import pathlib
import runpy

from .built_for import CUDA, TORCH


def torch_folder() -> pathlib.Path:
    """Find the torch that ``import torch`` would import, without importing it.

    Returns
    -------
    pathlib.Path
        The folder of the package, which has ``lib`` in it.

    Raises
    ------
    ImportError
        In one sentence, if there is none, or if it is another than the compiled parts need.
    """
    wanted = f"torch {TORCH}" + (f" with CUDA {CUDA}" if CUDA else "")
    advice = (
        f"install that torch (pip install 'torch=={TORCH}.*'), or build partial_fc again "
        "(pip install --no-build-isolation ./python)"
    )
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(f"partial_fc was built for {wanted}, and no torch is installed; {advice}")
    folder = pathlib.Path(spec.origin).parent
    installed = runpy.run_path(str(folder / "version.py"))
    version = installed["__version__"]
    cuda = installed["cuda"]
    if version.split(".")[:2] != TORCH.split("."):
        raise ImportError(f"partial_fc was built for {wanted}, and torch {version} is installed; {advice}")
    if CUDA and (cuda or "").split(".")[0] != CUDA:
        has = f"is for CUDA {cuda}" if cuda else "has no CUDA"
        raise ImportError(
            f"partial_fc was built for {wanted}, and torch {version}, which is installed, {has}; {advice}"
        )
    return folder
