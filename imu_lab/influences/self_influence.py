"""How much a sample supports its own loss: a memorisation score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.registry import estimator
from ..features.gradients import gradients_of
from ..tasks.protocol import Examples, Task
from .fisher_diagonal import Damped


@estimator("self-influence")
@dataclass(frozen=True)
class SelfInfluence(Damped):
    """I_i = −g_iᵀ F⁻¹ g_i, never positive; the target plays no part.

    Source: self-influence (Koh & Liang 2017, arXiv 1703.04730; Feldman & Zhang 2020, arXiv 2008.03703, for its use as a
    memorisation score), here under the diagonal Fisher of the forget set.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus each forget example's influence on itself."""
        gradients = gradients_of(task, model)
        _, fisher = gradients.moments(forget)
        return -gradients.quadratic(forget, self.inverse(fisher))
