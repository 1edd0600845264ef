"""Towards what a model itself would say if it knew the truth less, or not at all. They see only the forget set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.outputs import kl, log_probabilities, true_classes, two_sided
from ..tasks.protocol import Batch, Task
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches, frozen_copy
from .request import Request


@dataclass(frozen=True)
class SelfDistillation(ObjectiveDescent):
    """The settings of methods that draw a model to its own logits, changed at the true class.

    L = mean_B KL(wanted ‖ p_θ), the mean over an example's predictions as in its loss.
    """

    follows_losses: ClassVar[bool] = False

    scope: str = knob("readout", **SCOPE)

    def wanted(self, task: Task, first: Tensor, now: Tensor, batch: Batch) -> Wanted:
        """What a batch should be answered, from the logits of the model as given and of the model now."""
        raise NotImplementedError

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        first = frozen_copy(model, request)
        for positions, batch in forget_batches(self, model, request):
            now = model(batch.inputs)
            with torch.no_grad():
                wanted = self.wanted(task, first(batch.inputs), now, batch)
            yield Objective({self.name.replace("-", "_"): apart(wanted, now).mean()}, positions)


@method("delete")
@dataclass(frozen=True)
class Delete(SelfDistillation):
    """Towards what the model as given would say if it had never had the true class: L = mean KL(q' ‖ p_θ).

    q' = softmax of the first model's logits with the true class taken out: the others keep their proportions. At the
    logits the gradient is p − q', so the pressure is bounded and ends by itself, where ascent does not. A sequence's true
    class is its next token, and its KL the mean over predictions as in the loss. Every forget sample alike, whatever
    weights are given. Needs no retain data.

    Source: Zhou et al. 2025, "Decoupled distillation to erase" (DELETE, arXiv 2503.23751).
    """

    def wanted(self, task: Task, first: Tensor, now: Tensor, batch: Batch) -> Wanted:
        return without_truth(task, first, batch)


@method("ce-u")
@dataclass(frozen=True)
class CrossEntropyUnlearning(SelfDistillation):
    """Towards what the model now would say without the true class: ``delete`` with a target that moves along.

    L = mean KL(q' ‖ p_θ) = −mean log(1 − p_y), q' of the model's own logits at that update, held fixed. What it makes of the
    other classes may drift, for nothing remembers how they were. The public code leaves out an answer's first token; here
    each counts.

    Source: Yang 2025 (CE-U, arXiv 2503.01224).
    """

    def wanted(self, task: Task, first: Tensor, now: Tensor, batch: Batch) -> Wanted:
        return without_truth(task, now, batch)


@method("undial")
@dataclass(frozen=True)
class LoweredLogit(SelfDistillation):
    """Towards the model as given with the true class's logit lowered by β: L = mean KL(softmax(z_0 − β e_y) ‖ p_θ).

    β → ∞ is ``delete``. The mean is over an example's own predictions: a public benchmark takes it over padding as well.

    Source: Dong et al. 2024 (UNDIAL, arXiv 2402.10052).
    """

    beta: float = knob(
        10.0, help="β: by how much the true class's logit is lowered.", valid="(0, inf)", range=(0.5, 30.0)
    )

    def wanted(self, task: Task, first: Tensor, now: Tensor, batch: Batch) -> Wanted:
        return without_truth(task, first, batch, self.beta)


class Wanted(NamedTuple):
    """What a model is drawn to: log-probabilities (n, ..., K), and (n, ...) the part of each prediction in its example."""

    logs: Tensor
    parts: Tensor


def without_truth(task: Task, outputs: Tensor, batch: Batch, lowered: float = torch.inf) -> Wanted:
    """What a model would say of a batch with its true classes' logits lowered by so much, or taken out; from its logits
    (n, ..., K)."""
    truth, parts = true_classes(task, outputs, batch)
    logits = two_sided(outputs)
    held = logits.gather(-1, truth[..., None]) - lowered
    return Wanted(log_probabilities(logits.scatter(-1, truth[..., None], held)), parts)


def apart(wanted: Wanted, outputs: Tensor) -> Tensor:
    """(n,) KL(wanted ‖ model) of each example in nats, from the model's logits (n, ..., K)."""
    each = wanted.parts * kl(wanted.logs, log_probabilities(outputs))
    return each.view(len(each), -1).sum(1)
