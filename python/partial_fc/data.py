"""Training sets: batches in the order of ``pfc train``, and images one by one."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch
import torch.distributed as dist

from . import _native
from .center_shard import group_name, with_index

Augmentations = Union[str, Sequence[str], Mapping[str, Mapping[str, float]]]


def _warn(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=3)


def _left_out(path: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Sentences about what was left out of a set without being asked for."""
    if summary["images_excluded"]:
        yield f"{path}: left out {summary['images_excluded']} images that did not decode earlier"
    if summary["passed_over"]:
        yield f"{path}: passed over: {summary['passed_over']}"


def _augmentation_keys(augment: Augmentations) -> Dict[str, Any]:
    """The keys of a configuration."""
    named = {augment: {}} if isinstance(augment, str) else augment
    names = list(named)
    if len(set(names)) < len(names):
        raise ValueError(f"augment has a name more than once: {', '.join(names)}")
    keys: Dict[str, Any] = {"data.augment": names}
    if isinstance(named, Mapping):
        for name, settings in named.items():
            keys.update({f"augment.{name}.{setting}": value for setting, value in settings.items()})
    return keys


class RecordLoader:
    """Batches of a training set, decoded ahead by threads, in the order of ``pfc train``.

    Iterating over it is one epoch, ``len(loader)`` batches; the next iteration is the next epoch. Images are shuffled,
    mirrored and augmented as a function of (seed, step) alone. So a run of ``pfc train`` with the same settings sees
    the same batches, and so does a resumed run. A loop that is left early is continued by the next one.

    Images are decoded by C++ threads of this process, without Python's lock; there are no worker processes. A fork of
    the process cannot use the loader. Threads begin with the first batch and end with ``close`` or with the loader.

    Parameters
    ----------
    path : str or os.PathLike
        A ``.rec``, a folder that holds ``train.rec``, or a folder with one folder of images for each identity. Images
        must be 112 x 112, or squares with ``resize``.
    batch_size : int
        Images of this rank in a batch. ``train.batch_size`` of ``pfc train`` counts those of all ranks.
    seed : int
        Of the order, the mirroring and the augmentations; the same on every rank.
    mirror : bool
        Flip half of the images left to right.
    augment : str, sequence of str, or mapping
        What else changes images: names that ``pfc train`` knows ("affine", "blur", "crop", "cut_out", "grey", "jpeg",
        "low_resolution", "photometric", "resized_crop"), in the order in which they are applied. A mapping gives
        settings too: ``{"crop": {"probability": 0.3, "area": 0.5}, "grey": {}}``.
    resize : bool
        Squares of another size become 112 x 112 when they are decoded. Otherwise they are corrupt.
    min_images : int
        Identities with fewer images are dropped and the others renumbered.
    shuffle_window : int
        For disks that are slow at small reads: about so many images are mixed, and the file is read in large pieces. 0:
        all images are mixed.
    dtype : {torch.float32, torch.uint8}
        float32: [b, 3, 112, 112], normalised to (x / 255 - 0.5) / 0.5. uint8: [b, 112, 112, 3]. Both are RGB.
    memory_format : {torch.contiguous_format, torch.channels_last}
        Of float32 images.
    device : torch.device or str
        Where images and labels go. They are copied to a GPU asynchronously, from pinned memory and on the current
        stream.
    pin_memory : bool
        Put batches that stay on the CPU into pinned memory.
    workers : int
        Decoding threads; 0: chosen from the cores that this rank has.
    prefetch : int
        Batches that are decoded ahead.
    max_corrupt_share : float
        If a larger share of the images does not decode, the loader raises.
    cache_dir : str or os.PathLike, optional
        Where the index of a ``.rec`` is cached. Not given: beside the data.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks, which all make the same loader together. Not given: the default group, or one rank where
        torch.distributed is not initialised.
    rank, world_size : int, optional
        This rank and how many there are, in place of a process group; the ranks do not communicate then.

    Warns
    -----
    RuntimeWarning
        For each image that does not decode (``corrupt`` lists them). Its place in the batch has the next image of the
        batch. The set notes it (``.pfcbad``), and later runs leave it out. Also for images that were left out when the
        set was opened.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If a setting makes no sense; if the set cannot be read, is not consistent, holds fewer than two identities or
        differs between ranks; later, if too many images are corrupt.
    OSError
        If the system cannot read an image.
    RuntimeError
        After ``close``, or if a rank was lost.

    Examples
    --------
    >>> loader = RecordLoader("ms1mv3", 128, device="cuda")
    >>> head = PartialFC(512, loader.num_classes)
    >>> for epoch in range(20):
    ...     for images, labels in loader:
    ...         loss = head(backbone(images), labels)
    """

    def __init__(
        self,
        path: Union[str, "os.PathLike[str]"],
        batch_size: int,
        *,
        seed: int = 0,
        mirror: bool = True,
        augment: Augmentations = (),
        resize: bool = False,
        min_images: int = 1,
        shuffle_window: int = 0,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.contiguous_format,
        device: Union[torch.device, str] = "cpu",
        pin_memory: bool = False,
        workers: int = 0,
        prefetch: int = 4,
        max_corrupt_share: float = 1e-3,
        cache_dir: Optional[Union[str, "os.PathLike[str]"]] = None,
        process_group: Optional[dist.ProcessGroup] = None,
        rank: Optional[int] = None,
        world_size: Optional[int] = None,
    ) -> None:
        if dtype not in (torch.float32, torch.uint8):
            raise ValueError(f"dtype is {dtype}, want torch.float32 or torch.uint8")
        if memory_format not in (torch.contiguous_format, torch.channels_last):
            raise ValueError(f"memory_format is {memory_format}, want torch.contiguous_format or torch.channels_last")
        if (rank is None) != (world_size is None) or (rank is not None and process_group is not None):
            raise ValueError("want either both rank and world_size, or a process_group, or none of them")
        where = with_index(torch.device(device))
        if pin_memory and not torch.cuda.is_available():
            raise ValueError("pin_memory is True, but torch finds no GPU to pin memory for")
        self._fixed: Dict[str, Any] = {
            "seed": seed,
            "mirror": mirror,
            "min_images": min_images,
            "shuffle_window": shuffle_window,
        }
        self._augment = _augmentation_keys(augment)
        keys = {
            "data.train": os.fspath(path),
            "data.cache_dir": "" if cache_dir is None else os.fspath(cache_dir),
            "data.min_images": min_images,
            "data.workers": workers,
            "data.prefetch": prefetch,
            "data.max_corrupt_share": max_corrupt_share,
            "data.mirror": mirror,
            "data.resize": resize,
            "data.shuffle_window": shuffle_window,
            "train.batch_size": batch_size,
            "train.seed": seed,
            **self._augment,
        }
        self._stream = _native.BatchStream(
            keys=keys,
            normalised=dtype == torch.float32,
            channels_last=memory_format == torch.channels_last,
            pinned=pin_memory,
            device=where,
            group=group_name(process_group) if rank is None else None,
            rank=rank or 0,
            world_size=1 if world_size is None else world_size,
        )
        self._fixed["global_batch_size"] = batch_size * self._stream.world_size
        self._path = os.fspath(path)
        self._corrupt: Dict[str, None] = {}  # an ordered set
        self._end = weakref.finalize(self, self._stream.close)
        for sentence in _left_out(self._path, self.summary):
            _warn(sentence)

    def __len__(self) -> int:
        """Batches in an epoch, ⌈images / global batch⌉. A batch may span two passes over the images."""
        return -(-self.num_images // int(self._fixed["global_batch_size"]))

    def __iter__(self) -> Iterator[Tuple[torch.Tensor, torch.Tensor]]:
        """The rest of the epoch: images as ``dtype`` says, and labels [b] int64."""
        end = (self._stream.step // len(self) + 1) * len(self)
        while self._stream.step < end:
            images, labels, corrupt = self._stream.next()
            for line in corrupt:
                self._corrupt[line] = None
                _warn(f"corrupt image, left out: {line}")
            yield images, labels

    @property
    def num_classes(self) -> int:
        """C, the number of identities: labels are from 0 to C - 1."""
        return self._stream.identities

    @property
    def num_images(self) -> int:
        """Images of the set, for all ranks."""
        return self._stream.images

    @property
    def step(self) -> int:
        """Batches that this loader has given, over all epochs."""
        return self._stream.step

    @property
    def corrupt(self) -> List[str]:
        """A line for each of this rank's images that did not decode: its key, and what is wrong with it."""
        return list(self._corrupt)

    @property
    def summary(self) -> Dict[str, Any]:
        """What was found when the set was opened, and what was left out.

        ``images_found``, ``identities_found``; ``identities_dropped`` for having fewer than ``min_images`` images, and
        ``images_dropped`` with them; ``images_excluded``, which did not decode in an earlier run; ``passed_over``, what
        a folder holds besides images, in words.
        """
        return self._stream.summary()

    def state_dict(self) -> Dict[str, Any]:
        """What ``load_state_dict`` needs to go on after the last batch that was given.

        ``step`` counts batches over all epochs. The rest describes the settings and the set, so that another one is
        noticed.
        """
        return {"step": self.step, **self._fixed, "augment": dict(self._augment), "set": self._stream.described()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the step of a state, in the middle of an epoch too.

        The number of ranks may differ if the batch of all ranks together is the same. Images that were found corrupt
        since the state's run began are part of the set again, as they were then.

        Raises
        ------
        ValueError
            If the state is of a loader with another set, seed, batch or mirroring. Other augmentations are a
            RuntimeWarning.
        """
        for name, value in self._fixed.items():
            if state[name] != value:
                raise ValueError(
                    f"{name} is {value}, but the state has {state[name]}: "
                    "a resumed run needs the value that it began with"
                )
        self._stream.resume(state["step"], state["set"])
        if state["augment"] != self._augment:
            _warn(f"augmentations have changed: they are {self._augment}, and the state has {state['augment']}")

    def close(self) -> None:
        """Stop the threads. Batches in progress are thrown away; those that were given stay as they are."""
        self._end()


class RecordDataset(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Images of a training set one by one, for torch's ``DataLoader``.

    It can be pickled and forked: workers that are forked share it, and workers that are spawned open the set again.

    Parameters
    ----------
    path : str or os.PathLike
        As for ``RecordLoader``. Images may have any size.
    transform : callable, optional
        Gets an image and returns what ``dataset[i]`` gives in its place.
    min_images : int
        Identities with fewer images are dropped and the others renumbered.
    cache_dir : str or os.PathLike, optional
        Where the index of a ``.rec`` is cached. Not given: beside the data.

    Raises
    ------
    FileNotFoundError, ValueError
        As ``RecordLoader`` does.

    Examples
    --------
    >>> faces = RecordDataset("ms1mv3", lambda image: image.permute(2, 0, 1) / 127.5 - 1)
    >>> loader = torch.utils.data.DataLoader(faces, 128, shuffle=True, num_workers=8)
    """

    def __init__(
        self,
        path: Union[str, "os.PathLike[str]"],
        transform: Optional[Callable[[torch.Tensor], Any]] = None,
        *,
        min_images: int = 1,
        cache_dir: Optional[Union[str, "os.PathLike[str]"]] = None,
    ) -> None:
        self.transform = transform
        self._opened = (os.fspath(path), min_images, "" if cache_dir is None else os.fspath(cache_dir))
        self._open(None)
        for sentence in _left_out(self._opened[0], self._native.summary()):
            _warn(sentence)

    def _open(self, excluded: Optional[List[str]]) -> None:
        self._native = _native.Dataset(*self._opened, excluded)

    def __len__(self) -> int:
        """The number of images."""
        return self._native.images

    def __getitem__(self, index: int) -> Tuple[Any, int]:
        """The image, [height, width, 3] uint8 RGB or what ``transform`` makes of it, and its label.

        Raises
        ------
        IndexError
            If there is no such image.
        ValueError
            If it does not decode, naming it.
        """
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image = self._native.image(place)
        return image if self.transform is None else self.transform(image), self._native.label(place)

    @property
    def num_classes(self) -> int:
        """C, the number of identities: labels are from 0 to C - 1."""
        return self._native.identities

    @property
    def labels(self) -> torch.Tensor:
        """[N] int64, a label for each image."""
        return self._native.labels()

    def __getstate__(self) -> Dict[str, Any]:
        state = self.__dict__.copy()
        state["_native"] = self._native.excluded()  # so that it has the same images when it is opened again
        return state

    def __setstate__(self, state: Dict[str, Any]) -> None:
        excluded = state.pop("_native")
        self.__dict__.update(state)
        self._open(excluded)


def draw_faces(
    folder: Union[str, "os.PathLike[str]"],
    *,
    identities: int = 2000,
    images: int = 10,
    unseen: int = 200,
    pairs: int = 2000,
    seed: int = 0,
) -> None:
    """Draw a set of faces to try things on, as ``pfc data synth`` does.

    Writes ``train.rec`` (for ``RecordLoader``), ``unseen.bin`` (a ``VerificationSet`` of people who are not in it) and
    ``faces.png`` (a row for each identity) into the folder. A face takes about a millisecond.

    Parameters
    ----------
    folder : str or os.PathLike
        Made if it is not there.
    identities, images : int
        How many people, and how many images of each.
    unseen : int
        Other people, for the pairs; at least 2.
    pairs : int
        A multiple of 20; half of them show one person.
    seed : int
        The files are a function of it and of the numbers above.

    Raises
    ------
    ValueError
        If a number is out of range, or if there is a ``train.rec`` already.
    """
    _native.draw_faces(os.fspath(folder), identities, images, unseen, pairs, seed)
