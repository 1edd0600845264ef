"""Weights that matter to the forget set more than to all data, made smaller in one go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..features.gradients import gradients_of
from ..features.kronecker import by_matrix
from ..features.layered import OF
from ..features.statistics import SQUARES, squares_of
from ..tasks.protocol import Task
from .objectives import length
from .request import Request, Update


@method("ssd")
@dataclass(frozen=True)
class SelectiveDampening:
    """Selective synaptic dampening: θ_j ← θ_j · min(λ I_all,j / I_F,j, 1) wherever I_F,j > α I_all,j. No data, no steps.

    I_D,j = mean over D of (∂ℓ_i/∂θ_j)², example by example as in the paper: the public code squares the gradients of whole
    batches, so that its importances depend on the batch size. I_all is a statistic of the training set, of which F is a
    part, so that n_F of N samples are at most N/n_F times as important as all: with α at or above that nothing happens. The
    paper's α of 10, for a whole ResNet, does nothing to a class that is a tenth. Acts on the readout, whatever that is.

    Source: Foster, Schoepf, Brintrup 2024 (arXiv 2308.07707).
    """

    takes_weights: ClassVar[bool] = False
    follows_losses: ClassVar[bool] = False
    needs_statistics: ClassVar[tuple[str, ...]] = (SQUARES,)
    updates: ClassVar[int] = 1

    alpha: float = knob(
        1.0,
        help="α: how many times more important to the forget set a weight is that is dampened.",
        valid="(0, inf)",
        range=(0.1, 50.0),
        scale="log",
    )
    strength: float = knob(1.0, help="λ: smaller leaves less of it.", valid="(0, inf)", range=(0.01, 10.0), scale="log")

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        held, mine = request.statistics, squares_of(gradients_of(task, model), request.forget)
        left = {key: self._left(part.cpu(), held.part(key)) for key, part in mine.items()}
        damped = sum(int((part < 1).sum()) for part in left.values())
        if not damped:
            most = max((part.cpu() / held.part(key)).nan_to_num(0.0).max().item() for key, part in mine.items())
            raise ValueError(
                f"nothing is dampened with alpha={self.alpha:g} and strength={self.strength:g}: no weight is more than {most:.3g} "
                f"times as important to the forget set as to all data, and {len(request.forget)} of {held.examples} samples can "
                f"make it {held.examples / len(request.forget):.3g} times at most; give a smaller alpha or strength"
            )
        made = self._dampen(readout.parameters(model, readout.resolve(task, model)), left)
        share = damped / sum(part.numel() for part in left.values())
        yield Update({"dampened": share, "update_norm": made}, torch.arange(len(request.forget)))

    def _left(self, mine: Tensor, whole: Tensor) -> Tensor:
        """What is left of each weight, from 0 to 1."""
        ratio = (self.strength * whole / mine).clamp(max=1.0)
        return torch.where(mine > self.alpha * whole, ratio, torch.ones_like(ratio))

    def _dampen(self, values: dict[str, nn.Parameter], left: dict[str, Tensor]) -> float:
        """The length of the step."""
        if SQUARES in left:
            after = by_matrix(values, lambda matrix: matrix * left[SQUARES].to(matrix))
        else:
            after = {name: value * left[f"{SQUARES}{OF}{name}"].to(value) for name, value in values.items()}
        with torch.no_grad():
            made = length(after[name] - value for name, value in values.items())
            for name, value in values.items():
                value.copy_(after[name])
        return made
