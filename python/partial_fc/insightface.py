"""The class that InsightFace's scripts import, on this package's head.

    from partial_fc.insightface import PartialFC_V2

in place of ``from partial_fc_v2 import PartialFC_V2`` is the only line of ``train_v2.py`` that changes.
"""

from __future__ import annotations

import math
import warnings
import weakref
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import torch
import torch.distributed as dist
from torch.optim.optimizer import register_optimizer_step_pre_hook

from .any_margin import AnyMarginHead
from .center_shard import CenterShard, HeadSettings, Update
from .losses import ArcFace, CombinedMargin, CosFace, Loss
from .optimizer import update_of

__all__ = ["PartialFC_V2"]


class _Margin(NamedTuple):
    """What a margin_loss object computes."""

    loss: Loss
    scale: float
    interclass_filter: float = 0.0


class PartialFC_V2(torch.nn.Module):
    """The head with the constructor, attributes and state_dict of InsightFace's class of this name.

    ``parameters()`` has one parameter, ``weight`` [num_local, d]. Give it to torch.optim.SGD or AdamW, as the script
    does: its parameter group's rate, momentum and decay are read at each step. The centres are updated by the head when
    that optimizer's ``step`` begins, so ``weight.grad`` is never a matrix: it is a sparse tensor with one number (see
    docs/python.md), which makes ``GradScaler`` and ``zero_grad`` work.

    All centres decay and keep their momentum at every step, as they do with that class, at the price of those that are
    sampled (``update="dense_equivalent"``). AdamW has no closed form for that: centres which are not sampled rest.

    Parameters
    ----------
    margin_loss : callable
        InsightFace's ``CombinedMarginLoss``, ``ArcFace`` or ``CosFace``, or a loss of partial_fc (its scale is 64). Any
        other ``f(logits [N, S], labels [N, 1]) -> logits`` is computed with a matrix of logits, as that class does it.
    embedding_size : int
        d.
    num_classes : int
        C, the number of identities.
    sample_rate : float
        The share of classes that a step uses.
    fp16 : bool
        Whether a GPU multiplies matrices in float16; else in float32.
    update : {"dense_equivalent", "sampled"}
        Whether all centres follow SGD, or only those that are sampled (the paper's way, `PartialFC`'s).
    seed : int
        Of the first centres and of the classes that are drawn.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks; not given: the default group, or one rank.

    Attributes
    ----------
    rank, world_size : int
        Of this process.
    num_local, class_start : int
        This rank owns the classes from class_start to class_start + num_local − 1.
    num_sample : int
        sample_rate · num_local.
    weight_index : torch.Tensor
        The rows that the last forward pass used.
    """

    weight: torch.nn.Parameter

    def __init__(
        self,
        margin_loss: Any,
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        fp16: bool = False,
        *,
        update: str = "dense_equivalent",
        seed: int = 0,
        process_group: Optional[dist.ProcessGroup] = None,
    ) -> None:
        super().__init__()
        if not isinstance(margin_loss, Loss) and not callable(margin_loss):
            raise ValueError(f"margin_loss is {margin_loss!r}, want a callable")
        self.embedding_size, self.sample_rate, self.fp16 = embedding_size, sample_rate, fp16
        self.margin_softmax = margin_loss
        self._shard: Optional[CenterShard] = None
        self._any_margin: Optional[AnyMarginHead] = None
        margin = _recognised(margin_loss)
        if margin is None:
            warnings.warn(
                f"{type(margin_loss).__name__} is no margin loss that partial_fc knows: the head computes a matrix of "
                "logits and a gradient of all centres, slowly and with more memory",
                stacklevel=2,
            )
            head = AnyMarginHead(margin_loss, embedding_size, num_classes, sample_rate, seed, process_group)
            object.__setattr__(self, "_any_margin", head)  # no submodule: its parameter is this module's
            self.weight = head.weight
            self.rank, self.world_size = head.rank, head.world_size
            self.num_local, self.class_start = head.num_local, head.class_start
        else:
            settings = HeadSettings(
                embedding_size=embedding_size,
                num_classes=num_classes,
                margin=margin.loss,
                scale=margin.scale,
                sample_rate=sample_rate,
                sampling="stratified",
                update=update,
                center_type="float32",
                state_type="float32",
                seed=seed,
                interclass_filter=margin.interclass_filter,
                gemm="float16" if fp16 else "float32",
                workspace_bytes=512 << 20,
                in_host_memory=False,
                gradients_are_averaged=True,
            )
            shard = _Shard(settings, process_group, None)
            object.__setattr__(self, "_shard", shard)
            self.weight = torch.nn.Parameter(shard._centers)
            shard._use_centers(self.weight)
            self.rank, self.world_size = shard.rank, shard.world_size
            self.num_local, self.class_start = shard.num_local, shard.class_start
            self._optimizers: "weakref.WeakSet[torch.optim.Optimizer]" = weakref.WeakSet()
            _watch(self)
        self.num_sample = int(sample_rate * self.num_local)

    @property
    def weight_index(self) -> torch.Tensor:
        if self._any_margin is not None:
            return self._any_margin.weight_index
        assert self._shard is not None
        return self._shard._native.sampled_rows().to(self.weight.device)

    def forward(self, local_embeddings: torch.Tensor, local_labels: torch.Tensor) -> torch.Tensor:
        """The mean loss over the samples of all ranks, a float32 scalar.

        Parameters
        ----------
        local_embeddings : torch.Tensor
            [b, d] of this rank, of any float type; b is the same on all ranks.
        local_labels : torch.Tensor
            [b] or [b, 1]: classes from 0 to C − 1, of a type that ``long()`` takes.

        Raises
        ------
        ValueError
            On every rank, if the arguments of any rank are wrong.
        RuntimeError
            If a rank was lost, or if the process group was destroyed.
        """
        labels = local_labels.long().reshape(-1)
        if self._any_margin is not None:
            loss: torch.Tensor = self._any_margin(local_embeddings, labels)
            return loss
        assert self._shard is not None
        return self._shard._native.forward(local_embeddings, labels)

    # ---- The centres are a parameter whose memory is the head's

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "PartialFC_V2":
        if self._shard is None:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            return self
        self._shard._apply(fn)
        for module in self.children():
            module._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and self.__dict__.get("_shard") is not None:
            self._catch_up()
        return super().__getattr__(name)

    def __getstate__(self) -> Dict[str, Any]:
        raise TypeError("a head cannot be pickled or copied; save its state_dict, and give workers only what they need")

    def _catch_up(self) -> None:
        assert self._shard is not None
        self._shard._native.catch_up()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """``{"weight": float32 [num_local, d]}``; its metadata have the step, for a resumed run to draw what it would have.

        The momentum is in the state_dict of the optimizer that the weight was given to.
        """
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", args[1] if len(args) > 1 else "")
        state._metadata[prefix[:-1]]["progress"] = self._progress()
        return state

    def _progress(self) -> Dict[str, int]:
        if self._any_margin is not None:
            return {"step": self._any_margin.step}
        assert self._shard is not None
        return {"step": self._shard.step, "updates": self._shard._native.updates}

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
        if self._shard is not None:
            self._catch_up()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        progress = local_metadata.get("progress")
        if progress is None:
            return
        if self._any_margin is not None:
            self._any_margin.step = progress["step"]
        elif self._shard is not None:
            self._shard._native.resume(progress["step"], progress["updates"])

    # ---- Steps of the user's optimizer

    def _step(self, optimizer: torch.optim.Optimizer, group: Dict[str, Any]) -> None:
        shard = self._shard
        assert shard is not None
        update = update_of(group, _kind_of(optimizer, group))
        shard._set_update(update)
        parts = dict(shard._native.parts())
        weight = self._parameters["weight"]
        assert weight is not None
        state = optimizer.state[weight]
        kept = (
            {"momentum_buffer": "momentum"}
            if update.kind == "sgd"
            else {"exp_avg": "momentum", "exp_avg_sq": "squares"}
        )
        if update.kind == "adamw":
            kept["partial_fc_updates"] = "updates"
        loaded = [
            name for name, part in kept.items() if name in state and state[name].data_ptr() != parts[part].data_ptr()
        ]
        if loaded:  # what optimizer.load_state_dict has put there
            self._catch_up()
            for name in loaded:
                parts[kept[name]].copy_(state[name])
        for name, part in kept.items():
            if part in parts:
                state[name] = parts[part]
        if update.kind == "adamw":
            state["step"] = torch.tensor(float(shard._native.updates + 1))
        if optimizer not in self._optimizers:
            self._optimizers.add(optimizer)
            me = weakref.ref(self)

            def catch_up(_: torch.optim.Optimizer) -> None:
                head = me()
                if head is not None:
                    head._catch_up()

            optimizer.register_state_dict_pre_hook(catch_up)
        shard._native.update(
            float(group["lr"]),
            update.to_native(shard._rows_update(update)),
            getattr(optimizer, "grad_scale", None),  # of a fused optimizer
            getattr(optimizer, "found_inf", None),
        )


class _Shard(CenterShard):
    """With a parameter as its centres, and an optimizer that is known at its first step only."""

    def _use_centers(self, weight: torch.nn.Parameter) -> None:
        self.__dict__["_centers"] = weight  # not a parameter of this module
        self._native.set_weight(weight)

    def _rows_update(self, update: Update) -> str:
        if update.kind == "adamw" and self.settings.update == "dense_equivalent":
            if self._update.kind != "adamw":
                warnings.warn(
                    "AdamW changes every centre at every step, which has no closed form: with partial_fc those that a "
                    'step does not sample rest (update="sampled")',
                    stacklevel=2,
                )
            return "sampled"
        return self.settings.update


def _kind_of(optimizer: torch.optim.Optimizer, group: Dict[str, Any]) -> str:
    """ "sgd" or "adamw"; raises RuntimeError for what the head cannot do."""
    name = type(optimizer).__name__
    if isinstance(optimizer, torch.optim.SGD):
        kind, unknown = "sgd", [setting for setting in ("nesterov", "dampening", "maximize") if group.get(setting)]
    elif isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay"):
        kind, unknown = "adamw", [setting for setting in ("amsgrad", "maximize") if group.get(setting)]
    else:
        raise RuntimeError(f"the weight of PartialFC_V2 is in {name}, want torch.optim.SGD or torch.optim.AdamW")
    if unknown:
        raise RuntimeError(f"the weight of PartialFC_V2 is in {name} with {unknown[0]}, which the head cannot do")
    return kind


# ---- The heads of this process, and the hook on every optimizer's step

_heads: "weakref.WeakSet[PartialFC_V2]" = weakref.WeakSet()
_hook: Any = None


def _watch(head: PartialFC_V2) -> None:
    global _hook
    _heads.add(head)
    if _hook is None:
        _hook = register_optimizer_step_pre_hook(_before_step)


def _before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for head in list(_heads):
        if head._shard is None or not head._shard._native.has_gradient():
            continue
        weight = head._parameters["weight"]
        for group in reversed(optimizer.param_groups):  # the script has it last
            if any(parameter is weight for parameter in reversed(group["params"])):
                head._step(optimizer, group)
                break


# ---- Margin losses


def _recognised(margin_loss: Any) -> Optional[_Margin]:
    """What it computes, if its class's name and its numbers say so and a trial agrees."""
    if isinstance(margin_loss, Loss):
        return _Margin(margin_loss, 64.0)
    for margin in _candidates(margin_loss):
        if _agrees(margin_loss, margin):
            return margin
    return None


def _candidates(margin_loss: Any) -> Iterator[_Margin]:
    name = type(margin_loss).__name__

    def number(*names: str) -> float:
        for attribute in names:
            value = getattr(margin_loss, attribute, None)
            if isinstance(value, (int, float)):
                return float(value)
        return math.nan

    scale = number("s", "scale")
    if name == "CosFace":
        yield _Margin(CosFace(number("m", "margin")), scale)
    elif name == "ArcFace":
        margin = number("margin", "m")
        if math.isnan(margin):
            margin = math.atan2(number("sin_m"), number("cos_m"))
        for gradient in ("straight_through", "exact"):
            yield _Margin(ArcFace(margin, gradient), scale)
    elif name == "CombinedMarginLoss":
        m1, m2, m3 = number("m1"), number("m2"), number("m3")
        threshold = number("interclass_filtering_threshold")
        interclass_filter = 0.0 if math.isnan(threshold) else threshold
        for gradient in ("straight_through", "exact"):
            yield _Margin(ArcFace(m2, gradient), scale, interclass_filter)
        yield _Margin(CosFace(m3), scale, interclass_filter)
        yield _Margin(CombinedMargin(m1, m2, m3), scale, interclass_filter)


def _agrees(margin_loss: Any, margin: _Margin) -> bool:
    """Whether logits and their derivatives are those of the loss, at some cosines."""
    if not all(math.isfinite(value) for value in (margin.scale, *_numbers(margin.loss))):
        return False
    own = torch.linspace(-0.99, 0.99, 34)
    wanted, slope = _own_cosine(margin.loss, own.double())
    leaf = torch.stack([torch.full_like(own, -0.3), own, torch.full_like(own, -0.1)], 1).requires_grad_()
    with torch.enable_grad():
        try:
            logits = margin_loss(leaf * 1.0, torch.ones(len(own), 1, dtype=torch.long))
            logits.sum().backward()
        except Exception:
            return False
    assert leaf.grad is not None
    found, derivatives = logits.detach().double() / margin.scale, leaf.grad.double() / margin.scale
    expected = leaf.detach().double()
    expected[:, 1] = wanted
    slopes = torch.ones_like(expected)
    slopes[:, 1] = slope
    return bool((found - expected).abs().max() < 1e-5 and (derivatives - slopes).abs().max() < 1e-3)


def _numbers(loss: Loss) -> List[float]:
    return [value for value in loss.settings().values() if isinstance(value, (int, float))]


def _own_cosine(loss: Loss, c: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """What becomes of own cosines, and the derivative."""
    if isinstance(loss, CosFace):
        return c - loss.m, torch.ones_like(c)
    m1, m2, m3 = (1.0, loss.m, 0.0) if isinstance(loss, ArcFace) else (loss.m1, loss.m2, loss.m3)  # type: ignore[attr-defined]
    angle = m1 * c.acos() + m2
    if isinstance(loss, ArcFace) and loss.gradient == "straight_through":
        return angle.cos(), torch.ones_like(c)
    value, slope = angle.cos() - m3, m1 * angle.sin() / (1 - c * c).sqrt()
    if isinstance(loss, ArcFace):
        beyond = angle > math.pi
        value = torch.where(beyond, c - loss.m * math.sin(loss.m), value)
        slope = torch.where(beyond, torch.ones_like(c), slope)
    return value, slope
