"""The optimizer of class centres, for schedulers, gradient scalers and training loops."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import torch

from .center_shard import CenterShard, Update


def settings_of(group: Dict[str, Any], kind: str) -> Tuple[Any, ...]:
    """What `update_of` reads of a parameter group. It is cheaper to compare than to read anew at each step."""
    if kind == "adamw":
        return (group["weight_decay"], *group["betas"], group["eps"])
    return group["weight_decay"], group["momentum"]


def update_of(group: Dict[str, Any], kind: str) -> Update:
    """What a parameter group asks for."""
    if kind == "adamw":
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return Update(
            kind="adamw",
            momentum=0.0,
            weight_decay=float(group["weight_decay"]),
            betas=(beta1, beta2),
            eps=float(group["eps"]),
        )
    return Update(kind="sgd", momentum=float(group["momentum"]), weight_decay=float(group["weight_decay"]))


class CenterOptimizer(torch.optim.Optimizer):
    """torch.optim.SGD or AdamW for a head's centres; ``PartialFC.optimizer`` makes it.

    Its one parameter group has ``lr`` and ``weight_decay``, and ``momentum`` (SGD) or ``betas`` and ``eps`` (AdamW). They
    are read at each step, so every ``lr_scheduler`` works. What it keeps for each centre (momentum) is in the head's
    ``state_dict``, its ``state_dict`` has the settings.
    """

    # GradScaler hands over its scale and what it found, and always calls step.
    _step_supports_amp_scaling = True
    grad_scale: Optional[torch.Tensor]
    found_inf: Optional[torch.Tensor]

    def __init__(
        self,
        head: CenterShard,
        lr: float,
        kind: str,
        momentum: float,
        weight_decay: float,
        betas: Tuple[float, float],
        eps: float,
    ) -> None:
        if kind not in ("sgd", "adamw"):
            raise ValueError(f"kind is {kind!r}, want sgd or adamw")
        for name, value, most in (
            ("lr", lr, None),
            ("momentum", momentum, 1),
            ("weight_decay", weight_decay, None),
            ("betas[0]", betas[0], 1),
            ("betas[1]", betas[1], 1),
            ("eps", eps, None),
        ):
            if not value >= 0 or (most is not None and value >= most):
                raise ValueError(
                    f"{name} is {value}, want a number from 0" + ("" if most is None else f" and below {most}")
                )
        defaults: Dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        defaults.update({"momentum": momentum} if kind == "sgd" else {"betas": betas, "eps": eps})
        self.kind = kind
        self.head = head
        self._settings: Optional[Tuple[Any, ...]] = None  # those of the last step, so that they are converted once
        self._update = update_of(defaults, kind)
        self._native_update: Any = None
        head._set_update(self._update)
        super().__init__([head._centers], defaults)

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        """Update the centres that the last forward passes sampled.

        Raises
        ------
        RuntimeError
            If there was no backward pass of the head's loss since the last step, or a rank was lost.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        settings = settings_of(group, self.kind)
        if settings != self._settings:
            self._settings = settings
            self._update = update_of(group, self.kind)
            self._native_update = self._update.to_native(self.head._rows_update(self._update))
        self.head._native.update(
            float(group["lr"]),
            self._native_update,
            _tensor(getattr(self, "grad_scale", None)),
            _tensor(getattr(self, "found_inf", None)),
        )
        self.head._update = self._update
        return loss


def _tensor(value: Any) -> Optional[torch.Tensor]:
    """GradScaler's found_inf is a plain 0 where it looked at no gradient."""
    return value if value is None or isinstance(value, torch.Tensor) else torch.tensor(float(value))
