"""Influence without a metric: the plain product of gradients, which is what an SGD step feels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.registry import estimator
from ..features.gradients import Metric, gradients_of
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
        return -gradients.along(forget, gradients.mean(target))

    def metric(self, task: Task, model: nn.Module, forget: Examples) -> Metric:
        """From a gradient to itself."""
        return lambda gradient: gradient
