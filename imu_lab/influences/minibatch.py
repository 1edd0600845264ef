"""Influence as a mini-batch sees it: the paper's future work, as an estimator to compare with the whole set's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..tasks.protocol import Examples, Task
from .fisher_diagonal import Damped, FisherDiagonal


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
