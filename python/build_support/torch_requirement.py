"""The package's requirements, for scikit-build-core: the torch that it is built for."""

from __future__ import annotations

from typing import Any

import torch


def dynamic_metadata(field: str, settings: dict[str, Any]) -> list[str]:
    """`torch==2.11.*`, where torch 2.11 is installed."""
    assert field == "dependencies", field
    major, minor = torch.__version__.split(".")[:2]
    return [f"torch=={major}.{minor}.*"]
