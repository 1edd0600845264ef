"""Influence by direction alone: how far a sample's gradient points with the target's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.registry import estimator
from ..features.gradients import flat, gradients_of
from ..tasks.protocol import Examples, Task


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
        mean = gradients.mean(target)
        lengths = gradients.norms(forget) * flat(mean).norm()
        return -gradients.along(forget, mean) / lengths.clamp_min(1e-30)
