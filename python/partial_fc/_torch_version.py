"""Whether the installed torch is the one that the extension module was built for."""

from __future__ import annotations


def minor_of(version: str) -> str:
    """``"2.11"`` of ``"2.11.0+cpu"``."""
    return ".".join(version.split(".")[:2])


def require_torch(installed: str) -> None:
    """Raise ImportError, in one sentence, if the extension module needs another torch."""
    advice = "install that torch, or build partial_fc again (pip install --no-build-isolation ./python)"
    try:
        from ._native import BUILT_FOR_TORCH
    except ImportError as error:
        if "undefined symbol" not in str(error):
            raise
        raise ImportError(
            f"partial_fc was built for another torch than {installed}, which is installed; {advice}"
        ) from error
    if minor_of(installed) != BUILT_FOR_TORCH:
        raise ImportError(
            f"partial_fc was built for torch {BUILT_FOR_TORCH}, and torch {installed} is installed; {advice}"
        )
