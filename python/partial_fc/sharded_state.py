"""Class centres that another number of ranks saved."""

from __future__ import annotations

import json
import os
import pathlib
import re
import struct
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch

from .center_shard import PROGRESS, WEIGHT, CenterShard
from .insightface import PartialFC_V2

Path = Union[str, "os.PathLike[str]"]

# What InsightFace's scripts call a rank's file.
_INSIGHTFACE = ("checkpoint_gpu_*.pt", "rank_*_softmax_weight.pt")


def load_sharded(head: Union[CenterShard, PartialFC_V2], files: Union[Path, Sequence[Path]]) -> None:
    """Load what any number of ranks saved, each rank of now the part that it owns.

    Parameters
    ----------
    head : PartialFC or insightface.PartialFC_V2
        The head to fill. Every rank calls this with the same files; only the rows that it owns are read.
    files : path or sequence of paths
        A checkpoint folder of ``pfc train``; a folder with InsightFace's ``checkpoint_gpu_*.pt`` or
        ``rank_*_softmax_weight.pt``; or the files of all ranks that ``torch.save`` wrote, in any order, which hold the
        ``state_dict`` of a head anywhere within dictionaries.

    Raises
    ------
    ValueError
        If the files do not hold the centres of as many classes, or a folder holds none; if the head is a PartialFC_V2
        whose margin partial_fc does not know.
    FileNotFoundError
        If a file is not there.
    """
    own = head._shard if isinstance(head, PartialFC_V2) else head
    if own is None:
        raise ValueError("load_sharded cannot fill a PartialFC_V2 with a margin that partial_fc does not know")
    if isinstance(files, (str, os.PathLike)):
        folder = pathlib.Path(files)
        if (folder / "manifest.json").exists():
            _load_checkpoint(own, folder)
            return
        files = _torch_files(folder)
    shards = [_SavedShard(pathlib.Path(file)) for file in files]
    if not shards:
        raise ValueError("load_sharded was given no files")
    _load_shards(own, shards)


def _torch_files(folder: pathlib.Path) -> List[pathlib.Path]:
    if folder.is_file():
        return [folder]
    for pattern in _INSIGHTFACE:
        found = list(folder.glob(pattern))
        if found:
            return found
    raise ValueError(f"{folder}: holds neither a manifest.json nor {' nor '.join(_INSIGHTFACE)}")


class _SavedShard:
    """What one rank saved."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        found = next(_states_in(saved), None)
        if found is None:
            raise ValueError(f"{path}: holds no state_dict of a head")
        self.parts: Dict[str, torch.Tensor] = {k: v for k, v in found.items() if isinstance(v, torch.Tensor)}
        self.progress: Mapping[str, Any] = found.get(PROGRESS, {})
        self.parts.update(_momentum_in(saved, self.parts[WEIGHT].shape))
        self.rows = self.parts[WEIGHT].shape[0]

    def order(self) -> Tuple[int, ...]:
        """By its first class, or else by the numbers in its name."""
        if self.progress:
            return (int(self.progress["class_start"]),)
        return tuple(int(number) for number in re.findall(r"\d+", self.path.name))


def _states_in(saved: Any) -> Iterator[Dict[str, Any]]:
    """The state_dicts of heads within dictionaries, under their own names."""
    if isinstance(saved, torch.Tensor):
        if saved.dim() == 2:
            yield {WEIGHT: saved}
        return
    if not isinstance(saved, Mapping):
        return
    if "state_dict_softmax_fc" in saved:
        yield from _states_in(saved["state_dict_softmax_fc"])
        return
    for key in saved:
        if isinstance(key, str) and key.endswith(PROGRESS) and key[: -len(PROGRESS)] + WEIGHT in saved:
            prefix = key[: -len(PROGRESS)]
            yield {k[len(prefix) :]: v for k, v in saved.items() if isinstance(k, str) and k.startswith(prefix)}
            return
    for key in (WEIGHT, "partial_fc." + WEIGHT):
        if isinstance(saved.get(key), torch.Tensor) and saved[key].dim() == 2:
            yield {WEIGHT: saved[key]}
            return
    for value in saved.values():
        if isinstance(value, Mapping):
            yield from _states_in(value)


def _momentum_in(saved: Any, shape: torch.Size) -> Dict[str, torch.Tensor]:
    """SGD's momentum of the centres in InsightFace's `state_optimizer`, where they are the last parameter."""
    states = saved.get("state_optimizer", {}).get("state", {}) if isinstance(saved, Mapping) else {}
    last = states[max(states)] if states else {}
    momentum = last.get("momentum_buffer")
    return {} if momentum is None or momentum.shape != shape else {"momentum": momentum}


def _load_shards(head: CenterShard, shards: List[_SavedShard]) -> None:
    shards.sort(key=_SavedShard.order)
    own = head._centers.shape[0]
    centers_a_class = own // head.num_local
    rows = sum(shard.rows for shard in shards)
    if rows != head.settings.num_classes * centers_a_class:
        raise ValueError(
            f"{len(shards)} files hold {rows} centres, the head has {head.settings.num_classes * centers_a_class} of "
            f"{head.settings.num_classes} classes"
        )
    head._take_kind(_kind_of(shards[0]) or head._update.kind)
    begin = head.class_start * centers_a_class
    parts = head._parts()
    filled = {WEIGHT}
    first = 0
    for shard in shards:
        if shard.parts[WEIGHT].shape[1] != head.settings.embedding_size:
            raise ValueError(
                f"{shard.path}: centres {list(shard.parts[WEIGHT].shape)}, want {head.settings.embedding_size} columns"
            )
        low, high = max(begin, first), min(begin + own, first + shard.rows)
        if low < high:
            for name, part in parts.items():
                if name in shard.parts:
                    part[low - begin : high - begin].copy_(shard.parts[name][low - first : high - first])
                    filled.add(name)
        first += shard.rows
    head._fill({name: part for name, part in parts.items() if name in filled}, shards[0].progress)


def _kind_of(shard: _SavedShard) -> Optional[str]:
    if "squares" in shard.parts:
        return "adamw"
    return "sgd" if "momentum" in shard.parts else None


def _load_checkpoint(head: CenterShard, folder: pathlib.Path) -> None:
    """A checkpoint of `pfc train`, which the C++ library reads."""
    manifest = json.loads((folder / "manifest.json").read_text())
    world = int(manifest["world"])
    names = [f"centers-{rank + 1:05d}-of-{world:05d}.safetensors" for rank in range(world)]
    files = []
    for name in names:
        sums = manifest["files"][name]
        files.append((str(folder / name), int(sums["bytes"]), [int(block, 16) for block in sums["xxh3_of_8_mib"]]))
    head._take_kind("adamw" if "squares" in _tensors_in(folder / names[0]) else "sgd")
    head._native.load_checkpoint(int(manifest["step"]), files)
    moving = manifest.get("state", {}).get(head.settings.margin.name)
    if moving is not None:
        numbers = head._native.moving_numbers()
        numbers.copy_(torch.tensor(moving, dtype=numbers.dtype).view(-1))


def _tensors_in(path: pathlib.Path) -> List[str]:
    """The names in a .safetensors file."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return [name for name in json.loads(file.read(size)) if name != "__metadata__"]
