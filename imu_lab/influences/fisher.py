"""The paper's influence: how much each sample supports the forget set's loss, preconditioned by a diagonal Fisher.

Beside it the two that differ by what they look at: each sample's influence on itself, and influence as a mini-batch sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gradients import Gradient, Preconditioner, gradients_of
from ..tasks.protocol import Examples, Task

SAFE = 1e-30  # a damping that no precision rounds away: from here on no entry can be zero


@dataclass(frozen=True)
class Damped:
    """The settings that every estimate under a diagonal Fisher shares, and its inverse."""

    damping: float = knob(
        1e-2, help="λ, added to the Fisher diagonal.", valid="[0, inf)", range=(1e-6, 1e2), scale="log"
    )
    relative: bool = knob(False, help="Count the damping in units of the diagonal's mean.")

    def solved(self, gradient: Gradient, fisher: Gradient) -> Gradient:
        """F⁻¹ of a gradient, F the undamped ``fisher`` plus λ."""
        return preconditioned(gradient, fisher, self.damping * average(fisher) if self.relative else self.damping)

    def inverse(self, fisher: Gradient) -> Gradient:
        """The diagonal of F⁻¹."""
        return self.solved({name: torch.ones_like(part) for name, part in fisher.items()}, fisher)


@estimator("fisher-diagonal")
@dataclass(frozen=True)
class FisherDiagonal(Damped):
    """I_i = −g_iᵀ F⁻¹ ḡ with F = (1/n) Σ g_i∘g_i + λ over the forget set and ḡ over the target.

    Source: Fan et al. 2025 (arXiv 2508.01620), influence with the diagonal empirical Fisher. With the paper's absolute
    λ = 0.01 on a well-fitted model λ is far larger than F, and the result is the plain product of gradients; relative
    damping, λ = c · mean of the undamped diagonal, keeps the preconditioner in play.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        mean, fisher = mine.moments()
        if target is not forget:
            mean = gradients.mean(target)
        return -mine.along(self.solved(mean, fisher))

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient to F⁻¹ of it."""
        fisher = gradients_of(task, model).moments(forget)[1]
        return lambda gradient: self.solved(gradient, fisher)


@estimator("self-influence")
@dataclass(frozen=True)
class SelfInfluence(Damped):
    """I_i = −g_iᵀ F⁻¹ g_i, never positive; the target plays no part.

    Source: self-influence (Koh & Liang 2017, arXiv 1703.04730; Feldman & Zhang 2020, arXiv 2008.03703, for its use as a
    memorisation score), here under the diagonal Fisher of the forget set.
    """

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) minus each forget example's influence on itself."""
        mine = gradients_of(task, model).on(forget)
        _, fisher = mine.moments()
        return -mine.quadratic(self.inverse(fisher))


@estimator("fisher-minibatch")
@dataclass(frozen=True)
class MiniBatchFisher(Damped):
    """I_i = −g_iᵀ F_B⁻¹ ḡ_B, Fisher and mean from i's own mini-batch B of the forget set alone.

    Another target than the forget set keeps its own mean; only the Fisher is the batch's.

    Source: named as future work by Fan et al. 2025 (arXiv 2508.01620). The method ``imu-minibatch`` weights by it.
    """

    batch_size: int = knob(64, help="Samples per batch.", valid="[1, inf)", range=(1, 512))
    seed: int = knob(0, help="Of the order in which batches are drawn.", valid="[0, inf)", range=(0, 20))

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on its batch's mean loss, or on the target's; negative means ascend."""
        whole = FisherDiagonal(self.damping, self.relative)
        order = torch.randperm(len(forget), generator=torch.Generator().manual_seed(self.seed))
        parts = [forget.take(positions) for positions in order.split(self.batch_size)]
        found = torch.cat([whole(task, model, part, part if target is forget else target) for part in parts])
        values = torch.empty_like(found)
        values[order] = found
        return values


def average(fisher: dict[str, Tensor]) -> float:
    """The mean of the undamped diagonal over all its parameters."""
    return float(sum(part.sum() for part in fisher.values()) / sum(part.numel() for part in fisher.values()))


def preconditioned(mean: dict[str, Tensor], fisher: dict[str, Tensor], damping: float) -> dict[str, Tensor]:
    """V = ḡ / (F + λ).

    Raises:
        ValueError: without damping, some entry of the diagonal is zero.
    """
    damped = {name: part + damping for name, part in fisher.items()}
    if damping < SAFE:
        empty = sum(int((part <= 0).sum()) for part in damped.values())
        if empty:
            raise ValueError(
                f"the Fisher diagonal is zero at {empty} parameters and the damping is {damping}; "
                "no inverse exists, use damping > 0"
            )
    return {name: torch.divide(mean[name], part) for name, part in damped.items()}
