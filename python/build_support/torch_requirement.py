"""The package's requirements, for scikit-build-core: the torch that it is built for."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

import torch


def dynamic_metadata(settings: Mapping[str, Any], project: Mapping[str, Any]) -> Dict[str, List[str]]:
    """`torch==2.11.*`, where torch 2.11 is installed."""
    major, minor = torch.__version__.split(".")[:2]
    return {"dependencies": [f"torch=={major}.{minor}.*"]}
