"""Kinds of training on with the retain set alone: sparser, or of the last layers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from torch import nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.protocol import Task
from .objectives import Objective, descend, l1_term, moving_parameters, retain_batches
from .request import Request, Update
from .retain_based import FineTune


@method("l1-sparse")
@dataclass(frozen=True)
class SparseFineTune(FineTune):
    """Fine-tuning that first makes the model sparser: L = mean_B ℓ(retain) + γ_t ‖θ‖₁, with γ_t = γ max(0, 1 − t/E).

    t counts passes over the retain set from 0, so that after E of them nothing is left of the penalty, and the model
    recovers. θ is what moves.

    Source: Jia et al. 2023 (arXiv 2304.04934), with the penalty that falls linearly.
    """

    gamma: float = knob(5e-4, help="γ of the L1 term at the start.", valid="[0, inf)", range=(0.0, 0.01))
    passes: int = knob(
        8, help="E: after how many passes over the retain set the L1 term is gone.", valid="[1, inf)", range=(1, 20)
    )

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        moving = moving_parameters(task, model, self.scope)
        return descend(self, moving, self._objectives(task, model, moving, request))

    def _objectives(
        self, task: Task, model: nn.Module, moving: list[nn.Parameter], request: Request
    ) -> Iterator[Objective]:
        for update, batch in enumerate(retain_batches(self, model, request)):
            done = update // ceil(len(request.retain) / self.batch_size)
            l1 = l1_term(moving, self.gamma * max(0.0, 1 - done / self.passes))
            yield Objective({"retain": task.example_loss(model, batch).mean(), "l1": l1})
