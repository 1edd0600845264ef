"""IMU: ascend the loss on the forget set, each sample with its own share of the pressure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ..core.registry import method
from ..tasks.protocol import Task
from .ascent import Ascent, ascend
from .objectives import moving_parameters
from .request import Request, Update


@method("imu")
@dataclass(frozen=True)
class InfluenceGuided(Ascent):
    """Weighted ascent on the readout: L = −Σ w_iℓ_i / Σ w_i + α‖readout‖₁. Needs no retain data.

    Source: Fan et al. 2025 (arXiv 2508.01620). Ours defaults to α = 0: with the reference's 0.2 the L1 gradient can
    exceed the ascent's many times over, and then most of the "forgetting" is shrinkage.
    """

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        return ascend(self, task, model, moving_parameters(task, model), request)
