"""Measures a network by the protocols that papers report, as ``pfc eval`` does."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple, Union

import torch
import torch.distributed as dist

from . import _native
from .center_shard import group_name, with_index

Path = Union[str, "os.PathLike[str]"]
Embed = Callable[[torch.Tensor], torch.Tensor]


class VerificationSet:
    """Pairs of faces: ``lfw.bin``, ``cfp_fp.bin``, ``agedb_30.bin`` and others of that format.

    Its length is the number of pairs, P. ``set[p]`` is the p-th: two images [112, 112, 3] uint8 RGB, and whether they
    show one person.

    Parameters
    ----------
    path : str or os.PathLike
        The file, a pickle that is read without Python's ``pickle``: nothing in it is run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a set.
    """

    def __init__(self, path: Path) -> None:
        self._native = _native.VerificationSet(os.fspath(path))

    def __len__(self) -> int:
        """P, the number of pairs."""
        return self._native.pairs

    def __getitem__(self, pair: int) -> Tuple[torch.Tensor, torch.Tensor, bool]:
        """The images of a pair, and whether they show one person."""
        place = pair + len(self) if pair < 0 else pair
        if not 0 <= place < len(self):
            raise IndexError(f"pair {pair} of {len(self)}")
        first, second = self._native.faces(2 * place, 2)
        return first, second, bool(self.issame[place])

    @property
    def name(self) -> str:
        """The file's name without folder and ending: ``"lfw"``."""
        return self._native.name

    @property
    def issame(self) -> torch.Tensor:
        """[P] bool: whether a pair shows one person."""
        return self._native.same()

    @property
    def images(self) -> torch.Tensor:
        """All images [2 P, 112, 112, 3] uint8 RGB, decoded at each call; pair p is rows 2 p and 2 p + 1."""
        return self._native.faces(0, 2 * len(self))


@contextlib.contextmanager
def _evaluating(embed: Embed) -> Iterator[None]:
    """Puts a module into evaluation mode; each of its parts gets its own mode back."""
    modes = [(part, part.training) for part in embed.modules()] if isinstance(embed, torch.nn.Module) else []
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _device_of(embed: Embed) -> torch.device:
    if isinstance(embed, torch.nn.Module):
        for parameter in embed.parameters():
            return parameter.device
    return torch.device("cpu")


def _how(
    embed: Embed,
    device: Optional[Union[torch.device, str]],
    batch_size: int,
    flip: bool,
    report: Optional[Path],
    process_group: Optional[dist.ProcessGroup],
) -> _native.Embedding:
    if not callable(embed):
        raise ValueError(f"embed is {embed!r}, want a module or a function from images to embeddings")
    name = getattr(embed, "__name__", type(embed).__name__)
    return _native.Embedding(
        embed=embed,
        title=name,
        device=_device_of(embed) if device is None else with_index(torch.device(device)),
        batch_size=batch_size,
        flip=flip,
        group=None if process_group is None else group_name(process_group),
        folder="" if report is None else os.fspath(report),
    )


def _tell_left_out(result: Dict[str, Any]) -> Dict[str, Any]:
    if result["left_out"]:
        count, first = len(result["left_out"]), result["left_out"][0]
        warnings.warn(
            f"left out: {first}" + (f", and {count - 1} more" if count > 1 else ""), RuntimeWarning, stacklevel=3
        )
    return result


def verification(
    embed: Embed,
    set: Union[VerificationSet, Path],
    *,
    batch_size: int = 64,
    flip: bool = True,
    device: Optional[Union[torch.device, str]] = None,
    report: Optional[Path] = None,
    process_group: Optional[dist.ProcessGroup] = None,
) -> Dict[str, Any]:
    """Accuracy on pairs of faces, by LFW's protocol of ten folds; as ``pfc eval verification``.

    Parameters
    ----------
    embed : torch.nn.Module or callable
        From images [n, 3, 112, 112] float32, normalised to (x / 255 - 0.5) / 0.5 RGB, to embeddings [n, d] of any float
        type and length. It is called in inference mode. A module is in evaluation mode meanwhile.
    set : VerificationSet, str or os.PathLike
        The pairs, or their file.
    batch_size : int
        Images that ``embed`` gets at a time; the last time there are fewer.
    flip : bool
        Add the embedding of the mirror image, as published figures do.
    device : torch.device or str, optional
        Where ``embed`` gets the images. Not given: where a module's parameters are, otherwise the CPU.
    report : str or os.PathLike, optional
        A folder, made if it is not there, for ``NAME.html``, ``NAME.json`` and ``NAME-roc.svg``, the files that
        ``pfc eval verification`` writes.
    process_group : torch.distributed.ProcessGroup, optional
        Ranks that share the work and all call this; all return the result, and the first writes the report. Not given:
        this process alone, so that one rank of several may evaluate.

    Returns
    -------
    dict
        ``set``, ``pairs``, ``genuine_pairs``, ``impostor_pairs``;
        ``accuracy``, ``accuracy_deviation``, ``fold_accuracies`` (10): rates from 0 to 1;
        ``best_threshold``: the squared distance of unit vectors that is best for all pairs;
        ``xnorm``: the mean length of embeddings;
        ``val``: the TAR at FAR 1e-3 over the folds, with ``far``, ``tar``, ``deviation`` and ``measured_far``;
        ``tar_at_far``: {far: tar} at 1e-1 to 1e-4; ``operating_points``: the same with ``far``, ``tar``,
        ``measured_far``, ``distance`` (None if no pair is accepted) and ``resolved``;
        ``equal_error_rate``, ``area_under_curve``;
        ``scores``: a tensor [P] float64 on the CPU, minus the squared distance.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the set or an image cannot be read, if ``embed`` gives something else than floats [n, d], or if an embedding
        is not finite.

    Examples
    --------
    >>> verification(backbone, "lfw.bin", report="output")["accuracy"]
    0.9978
    """
    pairs = set if isinstance(set, VerificationSet) else VerificationSet(set)
    how = _how(embed, device, batch_size, flip, report, process_group)
    with _evaluating(embed):
        text, scores = _native.verification(pairs._native, how)
    (result,) = json.loads(text)
    found: Dict[str, Any] = dict(result)
    found["operating_points"] = found["tar_at_far"]
    found["tar_at_far"] = {point["far"]: point["tar"] for point in found["operating_points"]}
    found["scores"] = scores
    return found


def ijb(
    embed: Embed,
    folder: Path,
    *,
    use_detector_score: bool = True,
    normalise_images: bool = False,
    batch_size: int = 64,
    flip: bool = True,
    device: Optional[Union[torch.device, str]] = None,
    report: Optional[Path] = None,
    process_group: Optional[dist.ProcessGroup] = None,
) -> Dict[str, Any]:
    """IJB-B or IJB-C: templates verified 1:1 and identified 1:N; as ``pfc eval ijb``.

    Parameters
    ----------
    embed, batch_size, flip, device, process_group
        As for ``verification``.
    folder : str or os.PathLike
        Of the set: ``loose_crop`` with the images, ``meta`` with the lists.
    use_detector_score : bool
        Weight an image by its detector score, as published figures do.
    normalise_images : bool
        Scale each image's embedding to unit length first; published figures do not.
    report : str or os.PathLike, optional
        A folder for ``IJB-C.html`` and ``IJB-C.json``.

    Returns
    -------
    dict
        ``set``, ``images``, ``templates``, ``genuine_pairs``, ``impostor_pairs``;
        ``tar_at_far``: {far: tar} from 1e-6 to 1e-1, at the corner of the ROC curve whose FAR is nearest, as
        InsightFace's scripts have it; ``tar_at_far_of_every_score``: among all its points;
        ``identification``: a dict for each way of counting and gallery, with ``count``, ``gallery``, ``mated`` and
        ``non_mated`` probes, ``rank_rates`` ({rank: rate}) and ``tpir_at_fpir`` ({fpir: rate or None}). Empty for a set
        without galleries.

    Raises
    ------
    FileNotFoundError, ValueError
        As for ``verification``.
    """
    how = _how(embed, device, batch_size, flip, report, process_group)
    with _evaluating(embed):
        return _native.ijb(os.fspath(folder), how, use_detector_score, normalise_images)


def megaface(
    embed: Embed,
    folder: Path,
    *,
    far: float = 1e-6,
    batch_size: int = 64,
    flip: bool = True,
    device: Optional[Union[torch.device, str]] = None,
    report: Optional[Path] = None,
    process_group: Optional[dist.ProcessGroup] = None,
) -> Dict[str, Any]:
    """MegaFace's challenge 1: FaceScrub among a million distractors; as ``pfc eval megaface``.

    Parameters
    ----------
    embed, batch_size, flip, device, process_group
        As for ``verification``.
    folder : str or os.PathLike
        InsightFace's ``megaface_testpack``: ``facescrub_images``, ``megaface_images``, their lists ``facescrub_lst``
        and ``megaface_lst`` and, for the cleaned protocol, ``facescrub_noises.txt`` and ``megaface_noises.txt``.
    far : float
        The false accept rate of the verification, an upper bound.
    report : str or os.PathLike, optional
        A folder for ``megaface.html`` and ``megaface.json``.

    Returns
    -------
    dict
        ``probes``, ``people``, ``distractors``, ``pairs`` (ordered, of two probes of one person), ``replaced`` and
        ``unmatched`` (by the lists of noise); ``rank_1``: the rate with all distractors, and ``rank_1_by_distractors``:
        {number: rate};
        ``verification``: ``far``, ``tar``, ``measured_far``, ``score`` (the threshold) and ``resolved``;
        ``hardest_genuine``, ``hardest_impostors``: (score, name, name);
        ``left_out``: lines about distractors that do not decode, with a RuntimeWarning.

    Raises
    ------
    FileNotFoundError, ValueError
        As for ``verification``. A probe that does not decode is an error.
    """
    how = _how(embed, device, batch_size, flip, report, process_group)
    with _evaluating(embed):
        return _tell_left_out(_native.megaface(os.fspath(folder), how, far))


def all_pairs(
    embed: Embed,
    images: Path,
    *,
    fars: Sequence[float] = (1e-6,),
    between: Optional[Tuple[str, str]] = None,
    batch_size: int = 64,
    flip: bool = False,
    device: Optional[Union[torch.device, str]] = None,
    report: Optional[Path] = None,
    process_group: Optional[dist.ProcessGroup] = None,
) -> Dict[str, Any]:
    """All images against all, in groups and over all: the IFRT or MFR test; as ``pfc eval ifrt``.

    Parameters
    ----------
    embed, batch_size, device, process_group
        As for ``verification``.
    images : str or os.PathLike
        A folder with images GROUP/IDENTITY/IMAGE or IDENTITY/IMAGE, or a ``.rec``.
    fars : sequence of float
        False accept rates, each an upper bound.
    between : (str, str), optional
        Compare the images of the first group with those of the second, for example masked with plain faces.
    flip : bool
        Add the embedding of the mirror image; published figures do not.
    report : str or os.PathLike, optional
        A folder for ``all_pairs.html`` and ``all_pairs.json``.

    Returns
    -------
    dict
        ``groups``: for each group where there are several, and for ``"ALL"``, a dict with ``identities``, ``images``,
        ``genuine_pairs``, ``impostor_pairs``, ``tar_at_far`` ({far: tar}; empty if one kind of pairs is missing) and
        ``operating_points`` (``far``, ``tar``, ``measured_far``, ``score``, ``resolved``);
        ``single``: identities with one image; ``zeros``: embeddings that are all zeros;
        ``hardest_genuine``, ``hardest_impostors``: (score, name, name);
        ``left_out``: lines about images that do not decode and files that are no images, with a RuntimeWarning.

    Raises
    ------
    FileNotFoundError, ValueError
        As for ``verification``.
    """
    how = _how(embed, device, batch_size, flip, report, process_group)
    with _evaluating(embed):
        return _tell_left_out(_native.all_pairs(os.fspath(images), how, list(fars), between))
