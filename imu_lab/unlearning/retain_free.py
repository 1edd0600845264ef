"""Baselines that see only the forget set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from .. import readout
from ..registry import knob, method
from ..tasks.protocol import Task
from .ascent import Ascent, ascend
from .request import Request, Update


@method("gradient-ascent")
@dataclass(frozen=True)
class GradientAscent(Ascent):
    """Plain ascent: every forget sample the same, whatever weights are given. Needs no retain data.

    With ``scope="readout"`` it equals IMU under uniform weights; with ``"all"`` the whole model moves.
    """

    scope: str = knob("readout", help="What moves: the readout, or every parameter.", choices=("readout", "all"))

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        """Update the private ``model`` for ever, yielding after each update."""
        names = (readout.ALL,) if self.scope == "all" else readout.resolve(task, model)
        alike = replace(request, weights=torch.full_like(request.weights, 1 / len(request.weights)))
        return ascend(self, task, model, readout.parameters(model, names).values(), alike)
