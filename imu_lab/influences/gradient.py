"""Influence from gradients alone, without curvature: products, directions, sizes, and the control that knows nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gradients import Preconditioner, flat, gradients_of
from ..features.linear import derivative
from ..tasks.evaluation import in_order, outputs
from ..tasks.protocol import Examples, Task


@estimator("gradient-dot")
@dataclass(frozen=True)
class GradientDot:
    """I_i = −g_iᵀ ḡ: the first-order change of the target's loss under a plain descent step on sample i.

    Source: TracIn with one checkpoint (Pruthi et al. 2020, arXiv 2002.08484).
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        return -mine.along(mine.mean() if target is forget else gradients.mean(target))

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient to itself."""
        return lambda gradient: gradient


@estimator("gradient-cosine")
@dataclass(frozen=True)
class GradientCosine:
    """I_i = −g_iᵀ ḡ / (‖g_i‖ ‖ḡ‖), in [−1, 1]; 0 where a gradient vanishes.

    Source: gradient similarity (Charpiat et al. 2019, arXiv 2102.05262). Sample size plays no part, so a badly fitted
    sample weighs no more than a memorised one.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        mean = mine.mean() if target is forget else gradients.mean(target)
        lengths = mine.norms() * flat(mean).norm()
        return -mine.along(mean) / lengths.clamp_min(1e-30)


@estimator("gradient-norm")
@dataclass(frozen=True)
class GradientNorm:
    """I_i = −‖g_i‖, over the readout's parameters.

    Source: GraNd (Paul et al. 2021, arXiv 2107.07075), at the trained model.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus the length of each forget example's gradient."""
        return -gradients_of(task, model).norms(forget)


@estimator("el2n")
@dataclass(frozen=True)
class ErrorNorm:
    """I_i = −‖δ_i‖, δ_i the derivative of the loss at the outputs: p_i − e_y for cross-entropy.

    Source: EL2N (Paul et al. 2021, arXiv 2107.07075), at the trained model.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus the length of each forget example's error."""
        parts = []
        for at, batch, made in outputs(task, model, forget, alike=True):
            parts.append((at, derivative(task, made, batch).flatten(1).norm(dim=1)))
        return -in_order(parts, len(forget))


@estimator("random")
@dataclass(frozen=True)
class Random:
    """I_i = −U(0, 1), the same for the same seed."""

    seed: int = knob(0, help="Of the draw.", valid="[0, inf)", range=(0, 20))

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) draws in (−1, 0]."""
        return -torch.rand(len(forget), generator=torch.Generator().manual_seed(self.seed))
