"""Partial FC for PyTorch: the last layer of face recognition with millions of identities.

    head = partial_fc.PartialFC(512, num_classes, margin=partial_fc.CosFace(0.4), sample_rate=0.1)
    optimizer = head.optimizer(lr=0.1, momentum=0.9, weight_decay=5e-4)

    loss = head(backbone(images), labels)
    loss.backward()
    optimizer.step()

``PartialFC`` is the head, ``load_sharded`` loads what another number of ranks saved, and the losses are ``CosFace``,
``ArcFace``, ``CombinedMargin``, ``AdaFace``, ``CurricularFace``, ``ElasticFace``, ``MagFace`` and ``SubCenterArcFace``.
``RecordLoader`` and ``RecordDataset`` read training sets, ``verification``, ``ijb``, ``megaface`` and ``all_pairs``
measure a network, and ``draw_faces`` makes a set to try things on. ``partial_fc.insightface.PartialFC_V2`` takes the
place of the class of that name. docs/python.md is the manual.
"""

from _partial_fc.installed_torch import torch_folder as _torch_folder

_torch_folder()  # says in one sentence if it is missing or another than the extension module needs

from .data import RecordDataset, RecordLoader, draw_faces  # noqa: E402
from .evaluation import VerificationSet, all_pairs, ijb, megaface, verification  # noqa: E402
from .head import PartialFC  # noqa: E402
from .losses import (  # noqa: E402
    AdaFace,
    ArcFace,
    CombinedMargin,
    CosFace,
    CurricularFace,
    ElasticFace,
    Loss,
    MagFace,
    SubCenterArcFace,
)
from .optimizer import CenterOptimizer  # noqa: E402
from .sharded_state import load_sharded  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "AdaFace",
    "ArcFace",
    "CenterOptimizer",
    "CombinedMargin",
    "CosFace",
    "CurricularFace",
    "ElasticFace",
    "Loss",
    "MagFace",
    "PartialFC",
    "RecordDataset",
    "RecordLoader",
    "SubCenterArcFace",
    "VerificationSet",
    "all_pairs",
    "draw_faces",
    "ijb",
    "load_sharded",
    "megaface",
    "verification",
]
