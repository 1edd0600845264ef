"""Learn the forget set better, and go the other way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from ..core.knobs import knob
from ..core.registry import method
from ..core.running import copied
from ..tasks.protocol import Task
from .objectives import SCOPE, Descent, Objective, descend, forget_batches, frozen_copy, moving_parameters
from .request import Request, Update


@method("task-vector")
@dataclass(frozen=True)
class TaskVector(Descent):
    """θ = θ_0 − a (θ_F − θ_0), where θ_F is trained on from θ_0 on the forget set alone: its task vector taken away.

    One update is one step of θ_F downhill on mean_B ℓ(forget), and θ moves along, so that a run shows every length of the
    training. Where the forget set is known by heart already its losses have hardly a gradient, and there is little to take
    away. Every forget sample alike, whatever weights are given.

    Source: Ilharco et al. 2023 (arXiv 2212.04089).
    """

    takes_weights: ClassVar[bool] = False
    follows_losses: ClassVar[bool] = False

    strength: float = knob(
        1.0, help="a: how much of the task vector is taken away.", valid="(0, inf)", range=(0.1, 20.0), scale="log"
    )
    scope: str = knob("readout", **SCOPE)

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        learner, began = copied(model), frozen_copy(model, request)
        moving = moving_parameters(task, model, self.scope)
        names = [name for name, value in model.named_parameters() if any(value is each for each in moving)]
        learned, first = ([each.get_parameter(name) for name in names] for each in (learner, began))
        with torch.no_grad():
            for value, now, start in zip(learned, moving, first):
                value.copy_(start - (now - start) / self.strength)
        objectives = (
            Objective({"learning": task.example_loss(learner, batch).mean()}, positions)
            for positions, batch in forget_batches(self, model, request)
        )
        how = self if self.step_norm is None else replace(self, step_norm=self.step_norm / self.strength)
        for update in descend(how, learned, objectives):
            with torch.no_grad():
                for value, start, other in zip(moving, first, learned):
                    value.copy_(start - self.strength * (other - start))
            made = self.strength * update.terms["update_norm"]
            yield replace(update, terms={**update.terms, "update_norm": made})
