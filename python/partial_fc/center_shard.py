"""One rank's class centres as a module: where they lie, and how they are saved and loaded."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import torch
import torch.distributed as dist

from . import _native
from .losses import Loss

# The names under which a state_dict has the parts of the table, and what is beside them.
CENTERS = "centers"  # the library's name
WEIGHT = "weight"  # PyTorch's
PROGRESS = "progress"


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """What a head is made of. All of it is the same on every rank."""

    embedding_size: int
    num_classes: int
    margin: Loss
    scale: float
    sample_rate: Union[float, Tuple[Tuple[int, float], ...]]
    sampling: str
    update: str
    center_type: str
    state_type: str
    seed: int
    interclass_filter: float
    gemm: Optional[str]
    workspace_bytes: int
    in_host_memory: bool
    gradients_are_averaged: bool

    def fingerprint(self) -> int:
        return zlib.crc32(repr(self).encode())


@dataclasses.dataclass(frozen=True)
class Update:
    """How centres are updated: torch.optim's SGD ("sgd") or AdamW ("adamw"), and its numbers."""

    kind: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    betas: Tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def to_native(self, rows: str) -> _native.CenterOptimizer:
        """`rows`: "sampled" or "dense_equivalent", for SGD."""
        return _native.CenterOptimizer(
            self.kind, rows, self.momentum, self.weight_decay, self.betas[0], self.betas[1], self.eps
        )


def group_name(process_group: Optional[dist.ProcessGroup]) -> Optional[str]:
    """The name of the given group or of the default one; None where there is none."""
    if process_group is None:
        if not dist.is_available() or not dist.is_initialized():
            return None
        process_group = dist.group.WORLD
        assert process_group is not None
    return process_group.group_name


def with_index(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


class CenterShard(torch.nn.Module):
    """The part of the class centres that this rank owns, with the head that works on it."""

    def __init__(
        self,
        settings: HeadSettings,
        process_group: Optional[dist.ProcessGroup],
        device: Optional[torch.device | str],
    ) -> None:
        super().__init__()
        self.settings = settings
        self._group = group_name(process_group)
        self._device = with_index(torch.get_default_device() if device is None else torch.device(device))
        self._update = Update()
        self._native = self._make_native(self._device)
        # A tensor of its own on the table's memory: optimizers keep it, also where the table moves.
        self._centers: torch.Tensor = self._make_centers(self._native.parts()[0][1].detach())
        self._native.set_weight(self._centers)

    # ---- What it is

    @property
    def rank(self) -> int:
        """This rank's number in the process group."""
        return self._native.rank

    @property
    def world_size(self) -> int:
        """The number of ranks."""
        return self._native.world_size

    @property
    def class_start(self) -> int:
        """The first class whose centre this rank owns."""
        return self._native.class_start

    @property
    def num_local(self) -> int:
        """How many classes' centres this rank owns."""
        return self._native.num_local

    @property
    def step(self) -> int:
        """Steps that were made or skipped. Classes are drawn by this number."""
        return self._native.step

    @property
    def device(self) -> torch.device:
        """Where the head computes."""
        return self._device

    # ---- The table and its optimizer

    def _rows_update(self, update: Update) -> str:
        return self.settings.update

    def _make_native(self, device: torch.device) -> _native.TrainingHead:
        s = self.settings
        if device.type not in ("cpu", "cuda"):
            raise ValueError(f"the head cannot be on {device}, want cpu or cuda")
        return _native.TrainingHead(
            embedding_size=s.embedding_size,
            num_classes=s.num_classes,
            loss_name=s.margin.name,
            loss=s.margin.settings(),
            scale=s.scale,
            sample_rate=s.sample_rate,
            sampling=s.sampling,
            optimizer=self._update.to_native(self._rows_update(self._update)),
            center_type=s.center_type,
            state_type=s.state_type,
            seed=s.seed,
            interclass_filter=s.interclass_filter,
            gemm=s.gemm,
            workspace_bytes=s.workspace_bytes,
            in_host_memory=s.in_host_memory,
            group=self._group,
            device=device,
            gradients_are_averaged=s.gradients_are_averaged,
            fingerprint=s.fingerprint(),
        )

    def _set_update(self, update: Update) -> None:
        """The optimizer of the next updates; makes room for what it keeps."""
        self._native.set_optimizer(update.to_native(self._rows_update(update)))
        self._update = update

    def _parts(self) -> Dict[str, torch.Tensor]:
        """The centres and what the optimizer keeps, themselves, with nothing missed."""
        self._native.catch_up()
        parts = {name: part for name, part in self._native.parts() if name != "steps_seen"}
        return {WEIGHT: parts.pop(CENTERS), **parts}

    def _make_centers(self, centers: torch.Tensor) -> torch.Tensor:
        return centers

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "CenterShard":
        # What the table is made of is neither a parameter nor a buffer: wrappers would average or broadcast it.
        device = with_index(fn(torch.empty(0, device=self._device)).device)
        if device != self._device:
            self._move_to(device)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _move_to(self, device: torch.device) -> None:
        if self._native.has_gradient():
            raise RuntimeError("the head cannot move to another device between a backward pass and its step")
        parts, progress, native = self._parts(), self._progress(), self._native
        self._native = self._make_native(device)
        self._device = device
        self._set_update(self._update)
        self._centers.data = self._native.parts()[0][1].detach()
        self._native.set_weight(self._centers)
        self._fill(parts, progress)
        del native  # its memory was in use until here

    # ---- Saving and loading

    def _progress(self) -> Dict[str, Any]:
        return {
            "step": self._native.step,
            "updates": self._native.updates,
            "moving": self._native.moving_numbers().tolist(),
            "kind": self._update.kind,
            "num_classes": self.settings.num_classes,
            "class_start": self.class_start,
        }

    def _fill(self, parts: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
        """Overwrites everything; what `parts` lacks becomes 0."""
        for name, part in self._parts().items():
            if name in parts:
                part.copy_(parts[name])
            elif name != WEIGHT:
                part.zero_()
        moving = self._native.moving_numbers()
        saved = progress.get("moving", [])
        if len(saved) == moving.numel():
            moving.copy_(torch.tensor(saved, dtype=moving.dtype))
        self._native.resume(int(progress.get("step", 0)), int(progress.get("updates", progress.get("step", 0))))

    def _save_to_state_dict(self, destination: Dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, part in self._parts().items():
            destination[prefix + name] = part
        destination[prefix + PROGRESS] = self._progress()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Dict[str, Any],
        strict: bool,
        missing_keys: List[str],
        unexpected_keys: List[str],
        error_msgs: List[str],
    ) -> None:
        state = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
        if WEIGHT not in state:
            missing_keys.append(prefix + WEIGHT)
            return
        progress = state.pop(PROGRESS, {})
        if (
            state[WEIGHT].shape != self._centers.shape
            or progress.get("class_start", self.class_start) != self.class_start
            or progress.get("num_classes", self.settings.num_classes) != self.settings.num_classes
        ):
            error_msgs.append(
                f"{prefix}{WEIGHT} is {list(state[WEIGHT].shape)}, and rank {self.rank} of {self.world_size} has "
                f"{list(self._centers.shape)}; partial_fc.load_sharded loads what another number of ranks saved"
            )
            return
        self._take_kind(progress.get("kind", "adamw" if "squares" in state else self._update.kind))
        known = self._parts()
        unexpected_keys.extend(prefix + name for name in state if name not in known)
        self._fill(state, progress)

    def _take_kind(self, kind: str) -> None:
        if kind != self._update.kind:
            self._set_update(dataclasses.replace(self._update, kind=kind))

    def __getstate__(self) -> Dict[str, Any]:
        raise TypeError("a head cannot be pickled or copied; save its state_dict, and give workers only what they need")
