"""How much a sample supports its own loss: a memorisation score."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..gradients import gradients_of
from ..registry import estimator, knob
from ..tasks.protocol import Examples, Task
from .fisher_diagonal import average, preconditioned


@estimator("self-influence")
@dataclass(frozen=True)
class SelfInfluence:
    """I_i = −g_iᵀ F⁻¹ g_i, never positive; the target plays no part.

    Source: self-influence (Koh & Liang 2017, arXiv 1703.04730; Feldman & Zhang 2020, arXiv 2008.03703, for its use as a
    memorisation score), here under the diagonal Fisher of the forget set.
    """

    damping: float = knob(
        1e-2, help="λ, added to the Fisher diagonal.", valid="[0, inf)", range=(1e-6, 1e2), scale="log"
    )
    relative: bool = knob(False, help="Count the damping in units of the diagonal's mean.")

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus each forget example's influence on itself."""
        gradients = gradients_of(task, model)
        _, fisher = gradients.moments(forget)
        damping = self.damping * average(fisher) if self.relative else self.damping
        ones = {name: part.new_ones(part.shape) for name, part in fisher.items()}
        return -gradients.quadratic(forget, preconditioned(ones, fisher, damping))
