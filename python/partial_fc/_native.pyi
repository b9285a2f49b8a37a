from typing import Dict, List, Optional, Sequence, Tuple, TypedDict, Union

import torch

HAS_CUDA: bool

class LossField(TypedDict):
    name: str
    default: Union[float, int, str]
    choices: List[str]
    meaning: str

class LossDescription(TypedDict):
    name: str
    formula: str
    fields: List[LossField]

def losses() -> List[LossDescription]: ...

class CenterOptimizer:
    def __init__(
        self,
        kind: str,
        update: str,
        momentum: float = ...,
        weight_decay: float = ...,
        beta1: float = ...,
        beta2: float = ...,
        epsilon: float = ...,
    ) -> None: ...

class TrainingHead:
    def __init__(
        self,
        *,
        embedding_size: int,
        num_classes: int,
        loss_name: str,
        loss: Dict[str, Union[float, int, str]],
        scale: float,
        sample_rate: float,
        sampling: str,
        optimizer: CenterOptimizer,
        center_type: str,
        state_type: str,
        seed: int,
        interclass_filter: float,
        gemm: Optional[str],
        workspace_bytes: int,
        in_host_memory: bool,
        group: Optional[str],
        device: torch.device,
        gradients_are_averaged: bool,
        fingerprint: int,
    ) -> None: ...
    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor: ...
    def update(
        self,
        lr: float,
        optimizer: CenterOptimizer,
        grad_scale: Optional[torch.Tensor] = ...,
        found_inf: Optional[torch.Tensor] = ...,
    ) -> None: ...
    def has_gradient(self) -> bool: ...
    def set_weight(self, weight: torch.Tensor) -> None: ...
    def set_optimizer(self, optimizer: CenterOptimizer) -> None: ...
    def catch_up(self) -> None: ...
    def parts(self) -> List[Tuple[str, torch.Tensor]]: ...
    def moving_numbers(self) -> torch.Tensor: ...
    def sampled_rows(self) -> torch.Tensor: ...
    def resume(self, step: int, updates: int) -> None: ...
    def load_checkpoint(self, step: int, files: Sequence[Tuple[str, int, Sequence[int]]]) -> None: ...
    @property
    def step(self) -> int: ...
    @property
    def updates(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def class_start(self) -> int: ...
    @property
    def num_local(self) -> int: ...
