"""Baselines that see only the forget set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.outputs import lengths
from ..tasks.protocol import Task
from .ascent import Ascent, ascend
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches, frozen_copy, moving_parameters
from .request import Request, Update


@method("gradient-ascent")
@dataclass(frozen=True)
class GradientAscent(Ascent):
    """Plain ascent: every forget sample alike, whatever weights are given. Needs no retain data.

    With ``scope="readout"`` it equals IMU under uniform weights; with ``"all"`` the whole model moves.
    """

    takes_weights: ClassVar[bool] = False

    scope: str = knob("readout", **SCOPE)

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        return ascend(self, task, model, moving_parameters(task, model, self.scope), request)


@method("npo")
@dataclass(frozen=True)
class NegativePreference(ObjectiveDescent):
    """Negative preference optimisation: ascent that weakens as a sample grows unlikelier than it was at first.

    L = −(2/β) mean_i log σ(−β log(π_θ(y_i) / π_0(y_i))), π_0 the model as given, frozen. The gradient is that of ascent
    with each sample's own factor 2σ(β log(π_θ/π_0)): 1 at the start, towards 0 when forgotten. β → 0 is plain ascent.
    π(y) of a sequence is the product over its tokens. Every forget sample alike, whatever weights are given.

    Source: Zhang et al. 2024 (arXiv 2404.05868). (The public code of Fan et al. 2025 has its sign reversed.)
    """

    beta: float = knob(1.0, help="β: how soon the pressure fades.", valid="(0, inf)", range=(0.01, 10.0), scale="log")
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        return npo(self, task, model, frozen_copy(model, request), request)


@method("simnpo")
@dataclass(frozen=True)
class SimpleNegativePreference(ObjectiveDescent):
    """NPO without a reference model: the pressure fades with a sample's own loss per token.

    L = −(2/β) mean_i log σ(−(β/|y_i|) log π_θ(y_i) − γ), |y| the number of predicted tokens (1 for an image).
    Every forget sample alike, whatever weights are given.

    Source: Fan et al. 2024, "Simplicity prevails" (arXiv 2410.07163).
    """

    beta: float = knob(1.0, help="β: how soon the pressure fades.", valid="(0, inf)", range=(0.01, 10.0), scale="log")
    gamma: float = knob(0.0, help="γ: the loss, times β, that counts as forgotten.", valid="[0, inf)", range=(0.0, 5.0))
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        for positions, batch in forget_batches(self, model, request):
            excess = self.beta * task.example_loss(model, batch) - self.gamma  # (b,)
            yield fading("npo", self.beta, excess, 1.0, positions)


def npo(how: Any, task: Task, model: nn.Module, first: nn.Module, request: Request) -> Iterator[Objective]:
    """NPO's objective on one batch of the forget set after the other.

    Args:
        how: settings with ``batch_size`` and ``beta``.
        first: the model as given, frozen.
    """
    for positions, batch in forget_batches(how, model, request):
        with torch.no_grad():
            loss_at_first = task.example_loss(first, batch)
        count = lengths(task, batch)
        ratio = -count * (task.example_loss(model, batch) - loss_at_first)  # log(π / π_0), (b,)
        yield fading("npo", how.beta, -how.beta * ratio, count, positions)


def fading(name: str, beta: float, excess: Tensor, count: Tensor | float, positions: Tensor) -> Objective:
    """−(2/β) mean log σ(excess), and each sample's share: its loss's factor in the gradient, |y| · 2σ(−excess).

    Args:
        excess: (b,) β times how much unlikelier each sample is than where the pressure is to fade.
        count: (b,) |y|, by which ``excess`` grows faster than the loss per token.
    """
    pressure = (torch.sigmoid(-excess.detach()) * count).double()
    return Objective({name: -2 / beta * logsigmoid(excess).mean()}, positions, pressure / pressure.sum())
