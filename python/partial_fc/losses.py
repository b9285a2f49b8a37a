"""The losses of the head: a dataclass each, with the settings that the C++ library has.

``c`` is the cosine of an embedding and the centre of its own class, ``θ`` its angle. The loss is the softmax's
cross-entropy over ``scale`` times the cosines, after the own one has become what the class's first line says.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Dict, Union


@dataclasses.dataclass(frozen=True)
class Loss:
    """What all losses are."""

    name: ClassVar[str] = ""

    def settings(self) -> Dict[str, Union[float, int, str]]:
        """The fields by name."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class CosFace(Loss):
    """c − m (Wang et al., CVPR 2018).

    Parameters
    ----------
    m : float
        The margin, from 0 to π.
    """

    name: ClassVar[str] = "cosface"
    m: float = 0.4


@dataclasses.dataclass(frozen=True)
class ArcFace(Loss):
    """cos(θ + m) (Deng et al., CVPR 2019).

    Parameters
    ----------
    m : float
        The margin in radians.
    gradient : {"exact", "straight_through"}
        "straight_through" takes the derivative sin(θ + m) / sin θ as 1.
    """

    name: ClassVar[str] = "arcface"
    m: float = 0.5
    gradient: str = "exact"


@dataclasses.dataclass(frozen=True)
class CombinedMargin(Loss):
    """cos(m1·θ + m2) − m3 (Deng et al., CVPR 2019, section 2.3).

    Parameters
    ----------
    m1, m2, m3 : float
        The margins of SphereFace, of ArcFace (radians) and of CosFace.
    """

    name: ClassVar[str] = "combined"
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0


@dataclasses.dataclass(frozen=True)
class AdaFace(Loss):
    """cos(θ − m·k) − m·(1 + k), with k from the length of the embedding (Kim et al., CVPR 2022).

    Parameters
    ----------
    m : float
        The margin.
    h : float
        How much of the lengths' spread the margin follows.
    rate : float
        A batch's weight in the moving mean and deviation of lengths; 1: the batch alone.
    """

    name: ClassVar[str] = "adaface"
    m: float = 0.4
    h: float = 0.333
    rate: float = 0.01


@dataclasses.dataclass(frozen=True)
class CurricularFace(Loss):
    """cos(θ + m); a cosine c of another class above that becomes c·(t + c) (Huang et al., CVPR 2020).

    Parameters
    ----------
    m : float
        The margin in radians.
    """

    name: ClassVar[str] = "curricularface"
    m: float = 0.5


@dataclasses.dataclass(frozen=True)
class ElasticFace(Loss):
    """ArcFace or CosFace with a margin drawn from N(m, σ²) for each sample (Boutros et al., CVPRW 2022).

    Parameters
    ----------
    m : float
        The mean margin.
    sigma : float
        σ, its standard deviation.
    on : {"angle", "cosine"}
        Whether it is added to the angle, or taken from the cosine.
    """

    name: ClassVar[str] = "elasticface"
    m: float = 0.5
    sigma: float = 0.0125
    on: str = "angle"


@dataclasses.dataclass(frozen=True)
class MagFace(Loss):
    """cos(θ + m(a)), a the length of the embedding, plus λ·(a/u_a² + 1/a) (Meng et al., CVPR 2021).

    Parameters
    ----------
    l_a, u_a : float
        Shorter and longer embeddings count as this long.
    l_m, u_m : float
        The margins there, in radians; linear in between.
    lambda_ : float
        λ, the weight of the term that makes embeddings longer.
    """

    name: ClassVar[str] = "magface"
    l_a: float = 10.0
    u_a: float = 110.0
    l_m: float = 0.45
    u_m: float = 0.8
    lambda_: float = 35.0


@dataclasses.dataclass(frozen=True)
class SubCenterArcFace(Loss):
    """ArcFace to the nearest of a class's centres (Deng et al., ECCV 2020).

    Parameters
    ----------
    m : float
        The margin in radians.
    sub_centers : int
        Centres that a class has.
    """

    name: ClassVar[str] = "subcenter_arcface"
    m: float = 0.5
    sub_centers: int = 3
