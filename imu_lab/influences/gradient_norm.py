"""The size of a sample's gradient, as a score: no target, no metric."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.registry import estimator
from ..features.gradients import gradients_of
from ..tasks.protocol import Examples, Task


@estimator("gradient-norm")
@dataclass(frozen=True)
class GradientNorm:
    """I_i = −‖g_i‖, over the readout's parameters.

    Source: GraNd (Paul et al. 2021, arXiv 2107.07075), at the trained model.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus the length of each forget example's gradient."""
        return -gradients_of(task, model).norms(forget)
