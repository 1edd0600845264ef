"""Ascent with jointly allocated weights: who gets how much, decided for all forget samples together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features.gradients import LinearGradients
from ..features.kronecker import advising, damped, moments
from ..features.linear import derivative
from ..features.statistics import linear_gradients
from ..influences.curvature import CURVATURE, RHO
from ..tasks.evaluation import in_order
from ..tasks.protocol import Examples, Task
from .allocation import Exchange, allocate, exchange
from .objectives import Descent, Objective, descend, moving_parameters
from .request import Request, Update

FACTORS = {"both": ("S", "G"), "inputs": ("S",)}
INSTEAD = ". Name that layer with readout=, or press one sample at a time with method='imu'"


@method("joint-ascent")
@dataclass(frozen=True)
class JointAscent(Descent):
    """Ascent along Σ w_i g_i over the whole forget set, w ≥ 0 the joint allocation, with Σ w_i made 1.

    w* = argmin ½ wᵀQw − wᵀt weighs what pressing each sample gains, t_i = g_iᵀ ḡ, against what all of them damage together,
    Q_ij = ⟨g_i, Ĝ g_j Ŝ⟩ (:mod:`imu_lab.unlearning.allocation`). Ŝ and Ĝ are the damped factors of the original's curvature,
    from a statistic of the training set or from the forget set. An update takes the whole forget set, for a mini-batch
    would drop the interactions; so there is no batch size. Weights given beside it are left out, for it finds its own.
    :func:`imu_lab.joint_intensity` gives those of the first update as a record.
    """

    takes_weights: ClassVar[bool] = False
    finds_shares: ClassVar[bool] = True
    plain_steps: ClassVar[bool] = False
    batch_size: ClassVar[None] = None

    rho: float = knob(0.1, **RHO)
    curvature: str = knob("train", **CURVATURE)
    factors: str = knob(
        "both", help="S of the inputs and G of the outputs, or S alone, which serves any loss.", choices=tuple(FACTORS)
    )
    refresh: int = knob(1, help="Updates between two allocations; 0 allocates once.", valid="[0, inf)", range=(0, 50))
    shuffled: bool = knob(False, help="The control: the same weights, handed to the wrong samples.")

    @property
    def needs_statistics(self) -> tuple[str, ...]:
        """What this works from beside the forget set."""
        return FACTORS[self.factors] if self.curvature == "train" else ()

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        gradients = linear_gradients(task, model, "joint weights need", INSTEAD)
        objectives = self._objectives(gradients, request, self._factors(gradients, request))
        return descend(self, moving_parameters(task, model), objectives)

    def allocated(self, task: Task, model: nn.Module, request: Request) -> Tensor:
        """(n,) the shares that the samples get under this model."""
        gradients = linear_gradients(task, model, "joint weights need", INSTEAD)
        return self._shares(look(gradients, request.forget).exchange(self._factors(gradients, request)), request.seed)

    def _objectives(
        self, gradients: LinearGradients, request: Request, factors: dict[str, Tensor]
    ) -> Iterator[Objective]:
        positions, shares = torch.arange(len(request.forget)), None
        for made in count():
            seen = look(gradients, request.forget)
            if shares is None or (self.refresh and made % self.refresh == 0):
                shares = self._shares(seen.exchange(factors), request.seed)
            ascent = -(shares.to(seen.losses) * seen.losses).sum()
            gradient = [-part for part in seen.along(shares)]
            yield Objective({"ascent": ascent}, positions, shares, {"ascent": gradient})

    def _shares(self, given: Exchange, seed: int) -> Tensor:
        """(n,) each sample's share of the pressure, which sum to 1; all alike where no sample gains anything."""
        weights = allocate(given).weights
        total = weights.sum()
        shares = torch.full_like(weights, 1 / len(weights)) if total == 0 else weights / total
        if not self.shuffled:
            return shares
        return shares[torch.as_tensor(np.random.default_rng(seed).permutation(len(shares)), device=shares.device)]

    def _factors(self, gradients: LinearGradients, request: Request) -> dict[str, Tensor]:
        """Ŝ and Ĝ by name; no Ĝ where S counts alone."""
        names = FACTORS[self.factors]
        if self.curvature == "train":
            parts = {name: request.statistics.part(name) for name in names}
        else:
            with advising(self):
                parts, _ = moments(gradients, request.forget, names)
        return {name: damped(part, self.rho) for name, part in parts.items()}


class OnePass(NamedTuple):
    """What one pass tells of n samples.

    Attributes:
        losses: (n,) in nats.
        errors: Δ (n, ..., K). inputs: the rows a (n, ..., D), with their 1 where the layer has a bias.
        bias: whether it has one.
    """

    losses: Tensor
    errors: Tensor
    inputs: Tensor
    bias: bool

    def exchange(self, factors: dict[str, Tensor]) -> Exchange:
        """What they gain and damage, under the factors ``S`` and ``G``."""
        across = factors.get("G", torch.eye(self.errors.shape[-1], dtype=torch.float64))
        return exchange(self.errors, self.inputs, *(part.to(self.errors.device) for part in (factors["S"], across)))

    def along(self, shares: Tensor) -> list[Tensor]:
        """[weight (K, d), bias (K,) if there is one] Σ w_i g_i."""
        mine = shares.to(self.errors).view(-1, *[1] * (self.errors.ndim - 1))
        whole = (self.errors * mine).flatten(0, -2).T @ self.inputs.flatten(0, -2)
        return [whole[:, :-1], whole[:, -1]] if self.bias else [whole]


def look(gradients: LinearGradients, examples: Examples) -> OnePass:
    """Put samples through the model once."""
    task, layer = gradients.task, gradients.model.get_submodule(gradients.name)
    losses, errors, inputs = [], [], []
    for at, batch, reached, made in gradients.captured(examples):
        losses.append((at, task.example_loss(lambda _, made=made: made, batch)))
        errors.append((at, derivative(task, made, batch)))
        bias = [torch.ones_like(reached[..., :1])] if layer.bias is not None else []
        inputs.append((at, torch.cat([reached, *bias], -1)))
    return OnePass(*(in_order(parts, len(examples)) for parts in (losses, errors, inputs)), layer.bias is not None)
