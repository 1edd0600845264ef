"""Control: influences that know nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..tasks.protocol import Examples, Task


@estimator("random")
@dataclass(frozen=True)
class Random:
    """I_i = −U(0, 1), the same for the same seed."""

    seed: int = knob(0, help="Of the draw.", valid="[0, inf)", range=(0, 20))

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) draws in (−1, 0]."""
        return -torch.rand(len(forget), generator=torch.Generator().manual_seed(self.seed))
