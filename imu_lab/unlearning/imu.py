"""IMU: ascend the loss on the forget set, each sample with its own share of the pressure; and the same by the mini-batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import intensity_rules, method
from ..core.running import device_of
from ..features import readout
from ..features.gradients import GeneralGradients, LinearGradients, OfExamples, gradients_of
from ..features.linear import Factors
from ..influences.fisher import Damped
from ..tasks.protocol import Examples, Task
from .ascent import Ascent, ascend
from .objectives import Descent, Objective, batches, descend, l1_term, moving_parameters
from .request import Request, Update


@method("imu")
@dataclass(frozen=True)
class InfluenceGuided(Ascent):
    """Weighted ascent on the readout: L = −Σ w_iℓ_i / Σ w_i + α‖readout‖₁. Needs no retain data.

    Source: Fan et al. 2025 (arXiv 2508.01620). Ours defaults to α = 0: with the reference's 0.2 the L1 gradient can
    exceed the ascent's many times over, and then most of the "forgetting" is shrinkage.
    """

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        return ascend(self, task, model, moving_parameters(task, model), request)


def _rules() -> tuple[str, ...]:
    return tuple(
        name for name, rule in intensity_rules.items() if intensity_rules.declared(rule, "reads") == "influence"
    )


@method("imu-minibatch")
@dataclass(frozen=True)
class MiniBatchInfluence(Damped, Descent):
    """Weighted ascent, L = −Σ_B w_iℓ_i / Σ_B w_i + α‖readout‖₁, with w from I_i = −g_iᵀ F_B⁻¹ ḡ_B of the batch itself.

    Every ``refresh`` updates, the direction V = F_B⁻¹ ḡ_B comes from the current batch; until then the last one serves.
    With a linear readout the batch's own features and logits give all this at no extra forward pass; any other readout
    pays for its gradients. Whatever weights are given, they are not used. Needs no retain data.

    Source: named as future work by Fan et al. 2025 (arXiv 2508.01620).
    """

    takes_weights: ClassVar[bool] = False
    finds_shares: ClassVar[bool] = True

    alpha: float = knob(0.0, help="α of the L1 term on what moves.", valid="[0, inf)", range=(0.0, 0.5))
    rule: str = knob("sqrt-clipped", help="From influences to weights, within the batch.", choices=_rules)
    # Never 0: a batch of few samples leaves entries of the diagonal empty.
    damping: float = knob(
        1e-2, help="λ, added to the Fisher diagonal.", valid="(0, inf)", range=(1e-6, 1e2), scale="log"
    )
    refresh: int = knob(1, help="Updates between two estimates of Fisher and mean.", valid="[1, inf)", range=(1, 50))

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        moving = moving_parameters(task, model)
        return descend(self, moving, self._objectives(task, model, moving, request))

    def _objectives(
        self, task: Task, model: nn.Module, moving: list[nn.Parameter], request: Request
    ) -> Iterator[Objective]:
        rule, direction = intensity_rules.create(self.rule), None
        gradients = gradients_of(task, model)
        order = batches(torch.arange(len(request.forget)), self.batch_size, request.seed)
        for made, positions in enumerate(order):
            examples = request.forget.take(positions)
            losses, mine = _seen(task, model, gradients, examples)
            if direction is None or made % self.refresh == 0:
                direction = self.solved(*mine.moments())
            weights = _weights(rule, -mine.along(direction))
            if not weights.sum() > 0:  # a stale direction can leave nobody; the batch's own only where ḡ = 0
                direction = self.solved(*mine.moments())
                weights = _weights(rule, -mine.along(direction))
            shares = weights / weights.sum() if weights.sum() > 0 else torch.full_like(weights, 1 / len(weights))
            ascent = -(shares.to(losses) * losses).sum()
            yield Objective({"ascent": ascent, "l1": l1_term(moving, self.alpha)}, positions, shares)


def _seen(
    task: Task, model: nn.Module, gradients: LinearGradients | GeneralGradients, examples: Examples
) -> tuple[Tensor, OfExamples]:
    """The (b,) losses of a batch and its gradients; from one forward pass where the readout is linear."""
    batch = examples.batch().to(device_of(model))
    if not isinstance(gradients, LinearGradients):
        return task.example_loss(model, batch), gradients.on(examples)
    inputs, outputs = readout.capture(model, gradients.name, batch.inputs)
    losses = task.example_loss(lambda _: outputs, batch)
    (delta,) = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
    return losses, gradients.on(examples, [Factors(slice(None), delta, inputs.detach())])


def _weights(rule: Any, influence: Tensor) -> Tensor:
    """(b,) the rule's weights in double precision; all zero where it presses nobody."""
    return torch.as_tensor(rule(influence.detach().double().cpu().numpy()), dtype=torch.float64)
