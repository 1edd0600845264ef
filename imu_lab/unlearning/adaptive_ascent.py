"""Ascent whose pressure on each prediction, or on each sample, follows how well it is known at that update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..tasks.outputs import log_probabilities, true_classes, two_sided
from ..tasks.protocol import Task
from .objectives import SCOPE, Objective, ObjectiveDescent, forget_batches
from .request import Request

KNOWN = 1e-12  # nats: a sample known better than that has the weight of one known that well


@dataclass(frozen=True)
class TokenAscent(ObjectiveDescent):
    """The settings of ascent that weighs each prediction by its probability: L = −mean_B Σ_k c_k w(p_k) ℓ_k.

    c_k is the part of a prediction in its example, 1/T for each of T tokens and 1 for a picture; w is held fixed in the
    gradient. Each weight is at most 1 and goes to 0 as a prediction is forgotten, so that the pressure ends by itself.
    """

    follows_losses: ClassVar[bool] = False  # but the losses of single tokens

    scope: str = knob("readout", **SCOPE)

    def weight(self, likely: Tensor) -> Tensor:
        """From the probabilities of the true classes to a weight for each."""
        raise NotImplementedError

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        for positions, batch in forget_batches(self, model, request):
            outputs = two_sided(model(batch.inputs))
            truth, parts = true_classes(task, outputs.detach(), batch)
            logs = log_probabilities(outputs).gather(-1, truth[..., None])[..., 0]
            shares = parts * self.weight(logs.detach().exp())
            pressure = shares.reshape(len(shares), -1).sum(1).double()
            ascent = (shares * logs).sum() / len(shares)
            yield Objective({"ascent": ascent}, positions, (pressure / pressure.sum().clamp_min(1e-300)).cpu())


@method("wga")
@dataclass(frozen=True)
class WeightedGradientAscent(TokenAscent):
    """Ascent on each prediction with the weight p^β, which keeps what is forgotten already out of it. β = 0 is plain ascent.

    Source: Wang et al. 2025 (WGA, arXiv 2502.19301).
    """

    beta: float = knob(1.0, help="β: how soon the pressure on a prediction fades.", valid="[0, inf)", range=(0.0, 5.0))

    def weight(self, likely: Tensor) -> Tensor:
        return likely**self.beta


@method("satimp")
@dataclass(frozen=True)
class SaturationImportance(TokenAscent):
    """Ascent on each prediction with the weight p^β₁ (1 − p)^β₂: neither on what is forgotten nor on what is certain.

    open-unlearning has β₁ = 5, for language models that know their answers by heart: a model that gives a true token one
    chance in ten gets a weight of 1e-5, and hardly moves. Here β₁ = 1 to begin with.

    Source: Yang et al. 2025 (SatImp, arXiv 2505.11953).
    """

    saturation: float = knob(1.0, help="β₁: how soon the pressure fades.", valid="[0, inf)", range=(0.0, 10.0))
    importance: float = knob(
        1.0, help="β₂: how much less what is certain is pressed.", valid="[0, inf)", range=(0.0, 5.0)
    )

    def weight(self, likely: Tensor) -> Tensor:
        return likely**self.saturation * (1 - likely) ** self.importance


@method("adaptive-ascent")
@dataclass(frozen=True)
class AdaptiveAscent(ObjectiveDescent):
    """Ascent that presses a sample the more, the better it is known: L = −Σ_B w_i ℓ_i, w_i ∝ 1/ℓ_i^λ, which sum to 1 in a batch.

    The weights are those of the model at each update, held fixed in the gradient; λ = 0 is plain ascent. This is the ascent
    of SFRon without its retain steps and its mask.

    Source: Huang et al. 2024 (SFRon, arXiv 2409.19732).
    """

    power: float = knob(0.5, help="λ: how much more what is known well is pressed.", valid="[0, inf)", range=(0.0, 2.0))
    scope: str = knob("readout", **SCOPE)

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        for positions, batch in forget_batches(self, model, request):
            losses = task.example_loss(model, batch)
            shares = (-self.power * losses.detach().double().clamp_min(KNOWN).log()).softmax(0)
            yield Objective({"ascent": -(shares.to(losses) * losses).sum()}, positions, shares.cpu())
