"""Methods that use the retain set, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.outputs import divergences
from ..tasks.protocol import Batch, Task
from ..tasks.training import epochs, recipe_of
from .objectives import SCOPE, Descent, Objective, ObjectiveDescent, forget_batches, frozen_copy, retain_batches
from .request import Request
from .retain_free import npo


@method("retrain")
@dataclass(frozen=True)
class Retrain:
    """The gold standard: forget everything, then train from fresh weights on the retain set. One update is one epoch.

    After the recipe's last epoch the model rests, and equals ``imu.train(task, "retain", seed)`` on the same device bit
    for bit. On another device it is another model: rounding grows over a training, and a GPU trains large networks in
    bfloat16.
    """

    needs_retain: ClassVar[bool] = True
    takes_weights: ClassVar[bool] = False
    scope: ClassVar[str] = "all"

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[None]:
        """Retrain the private ``model``, yielding after each epoch."""
        model.load_state_dict(task.make_model(request.seed).state_dict())
        for _ in epochs(task, model, request.retain, recipe_of(task), request.seed):
            yield None
        while True:
            yield None


@method("fine-tune")
@dataclass(frozen=True)
class FineTune(ObjectiveDescent):
    """Go on training on the retain set alone, and hope that the forget set fades: L = mean_B ℓ(retain).

    Source: the fine-tuning baseline of Golatkar et al. 2020 (arXiv 1911.04933).
    """

    needs_retain: ClassVar[bool] = True

    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        kept = retain_batches(self, model, request)
        return (Objective({"retain": task.example_loss(model, batch).mean()}) for batch in kept)


@dataclass(frozen=True)
class Balanced(ObjectiveDescent):
    """The settings of methods that press the forget set and hold the retain set at the same time."""

    needs_retain: ClassVar[bool] = True

    retain_weight: float = knob(
        1.0, help="How much the retain term counts beside the forget term.", valid="[0, inf)", range=(0.0, 10.0)
    )
    scope: str = knob("readout", **SCOPE)


@method("gradient-difference")
@dataclass(frozen=True)
class GradientDifference(Balanced):
    """Ascent on the forget set and descent on the retain set: L = −mean_B ℓ(forget) + λ mean_B ℓ(retain).

    Source: Liu, Liu, Stone 2022 (arXiv 2203.12817); "gradient difference" in TOFU (Maini et al. 2024, 2401.06121).
    """

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        terms = retain_terms(self, task, model, request, self.retain_weight)
        return joined(plain_ascent(self, task, model, request), terms)


@method("neggrad-plus")
@dataclass(frozen=True)
class NegativeGradientPlus(ObjectiveDescent):
    """Gradient difference with both terms weighed against each other: L = α mean_B ℓ(retain) − (1 − α) mean_B ℓ(forget).

    It is ``gradient-difference`` with λ = α/(1 − α) and (1 − α) times the learning rate: α near 1 holds the retain set.

    Source: NegGrad+ of Kurmanji et al. 2023 (arXiv 2302.09880); α from 0.95 to 0.9999 there.
    """

    needs_retain: ClassVar[bool] = True

    alpha: float = knob(0.95, help="α: the retain term's share of the two.", valid="(0, 1)", range=(0.5, 0.9999))
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        terms = retain_terms(self, task, model, request, self.alpha)
        return joined(plain_ascent(self, task, model, request, 1 - self.alpha), terms)


@method("kl-ascent")
@dataclass(frozen=True)
class DivergenceAscent(Balanced):
    """Ascent on the forget set, held to the model as given on the retain set: L = −mean_B ℓ(forget) + λ mean_B KL.

    KL = KL(model as given ‖ model) of retain examples, the mean over predicted tokens as in the loss: a sum
    over tokens would give it a weight that grows with the length.

    Source: "KL minimization" of Maini et al. 2024 (TOFU, arXiv 2401.06121).
    """

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        terms = kl_terms(self, task, model, frozen_copy(model, request), request, self.retain_weight)
        return joined(plain_ascent(self, task, model, request), terms)


@method("npo-kl")
@dataclass(frozen=True)
class NegativePreferenceKL(Balanced):
    """NPO on the forget set, held to the model as given on the retain set: L = L_NPO + λ mean_B KL(retain).

    Source: Zhang et al. 2024 (arXiv 2404.05868), NPO + KL; the terms are those of ``npo`` and ``kl-ascent``.
    """

    beta: float = knob(1.0, help="β: how soon the pressure fades.", valid="(0, inf)", range=(0.01, 10.0), scale="log")

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        first = frozen_copy(model, request)
        terms = kl_terms(self, task, model, first, request, self.retain_weight)
        return joined(npo(self, task, model, first, request), terms)


def plain_ascent(
    how: Descent, task: Task, model: nn.Module, request: Request, scale: float = 1.0
) -> Iterator[Objective]:
    """−mean ℓ times ``scale`` on one batch of the forget set after the other, every sample alike."""
    for positions, batch in forget_batches(how, model, request):
        yield Objective({"ascent": -scale * task.example_loss(model, batch).mean()}, positions)


def retain_terms(
    how: Descent, task: Task, model: nn.Module, request: Request, weight: float
) -> Iterator[dict[str, Tensor]]:
    """``weight`` times the mean ℓ on one batch of the retain set after the other."""
    for batch in retain_batches(how, model, request):
        yield {"retain": weight * task.example_loss(model, batch).mean()}


def kl_terms(
    how: Descent, task: Task, model: nn.Module, first: nn.Module, request: Request, weight: float
) -> Iterator[dict[str, Tensor]]:
    """``weight`` times the mean KL(model as given ‖ model) on one batch of the retain set after the other."""
    for batch in retain_batches(how, model, request):
        yield {"retain_kl": weight * mean_divergence(task, first, model, batch)}


def mean_divergence(task: Task, teacher: nn.Module, model: nn.Module, batch: Batch) -> Tensor:
    """Mean KL(teacher ‖ model) of a batch, in nats."""
    with torch.no_grad():
        reference = teacher(batch.inputs)
    return divergences(task, model(batch.inputs), reference, batch).mean()


def joined(pressing: Iterator[Objective], holding: Iterator[dict[str, Tensor]]) -> Iterator[Objective]:
    """The forget term and the retain term of one update, as one objective."""
    for objective, terms in zip(pressing, holding):
        yield replace(objective, terms={**objective.terms, **terms})
