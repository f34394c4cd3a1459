"""AdamW in one fused pass over the weights, without what torch's own class brings along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """AdamW of weights that lie on one device, in float32.

    ``torch.optim.AdamW`` loads torch's compiler when it is made, whether anything is compiled or not: 800 modules, some
    two seconds and 100 MB. This one calls torch's function, with the same numbers. What a gradient scaler and a
    checkpoint ask of an optimiser it has: ``param_groups``, and ``state`` with ``step``, ``exp_avg`` and
    ``exp_avg_sq`` of every parameter that has had a gradient.

    Parameters
    ----------
    groups : dicts with ``params`` and whatever differs from what follows. lr, betas, eps : of AdamW. weight_decay : of
        groups that do not say it.

    Attributes
    ----------
    found_inf : where it is set and 1, steps change nothing and are not counted.
    grad_scale : what gradients are divided by first, where it is set. A scaler sets both, and takes both away.

    Source: Loshchilov and Hutter 2019, arXiv 1711.05101.
    """

    #: Says to :class:`torch.amp.GradScaler` that it may leave scale and overflow to the step.
    _step_supports_amp_scaling = True
    found_inf: Tensor
    grad_scale: Tensor

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, betas: tuple[float, float],
                 weight_decay: float = 0.0, eps: float = 1e-8) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps, **group} for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """One step with the gradients that there are."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                if p not in self.state:
                    self.state[p] = {"step": torch.zeros((), device=p.device), "exp_avg": torch.zeros_like(p),
                                     "exp_avg_sq": torch.zeros_like(p)}
            steps, means, squares = ([self.state[p][key] for p in params] for key in ("step", "exp_avg", "exp_avg_sq"))
            beta1, beta2 = group["betas"]
            adamw(params, [p.grad for p in params], means, squares, [], steps, fused=True,
                  grad_scale=getattr(self, "grad_scale", None), found_inf=getattr(self, "found_inf", None),
                  amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=group["weight_decay"],
                  eps=group["eps"], maximize=False)

    def zero_grad(self) -> None:
        """Let the gradients go."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None
