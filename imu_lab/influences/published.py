"""Influence as the public code of the paper computes it: each of its defects is a switch, and all are off at first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gradients import Gradient, gradients_of
from ..tasks.protocol import Examples, Task
from .fisher import Damped, average, preconditioned


@estimator("published")
@dataclass(frozen=True)
class PublishedInfluence(Damped):
    """``fisher-diagonal`` with what the public code of the paper does differently; with every switch off they are equal.

    What else it does is a setting elsewhere: an absolute damping that outweighs the Fisher (``relative=False`` here), the tenth
    of the samples that alone are pressed (``top=0.1`` of the rule ``sqrt-clipped``), weights that sum to 1 in each batch
    (``normalise="batch"``), the L1 term (``alpha=0.2``) and running means that drift (``drifting=True``, the last three of the
    method ``imu-published``), and random crops (the task ``imu.tasks.Augmented``, whose seed is another draw).

    Source: Fan et al. 2025 (arXiv 2508.01620) and its public code, of August 2025.
    """

    aliased: bool = knob(
        False,
        help="The sum of all gradients is gathered in the first one: its sample gets −ḡᵀF⁻¹ḡ, so that it is always pressed.",
    )
    floor: bool = knob(
        False, help="λ is the least that an entry of F may be, and not added to it: the code for persons."
    )

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients = gradients_of(task, model)
        mine = gradients.on(forget)
        own, fisher = mine.moments()
        direction = self.solved(own if target is forget else gradients.mean(target), fisher)
        values = -mine.along(direction)
        if self.aliased:
            values[0] = -sum((own[name] * part).sum() for name, part in direction.items()).to(values)
        return values

    def solved(self, gradient: Gradient, fisher: Gradient) -> Gradient:
        """F⁻¹ of a gradient."""
        if not self.floor:
            return super().solved(gradient, fisher)
        least = self.damping * average(fisher) if self.relative else self.damping
        return preconditioned(gradient, {name: part.clamp_min(least) for name, part in fisher.items()}, 0.0)
