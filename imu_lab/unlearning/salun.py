"""Random labels for the weights that matter, and the retain set beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..features.general import GeneralGradients
from ..tasks.protocol import Task
from .objectives import descend
from .random_label import EXCLUDE, REDRAW, relabelled
from .request import Request, Update
from .retain_based import Balanced, joined, retain_terms


@method("salun")
@dataclass(frozen=True)
class SaliencyUnlearning(Balanced):
    """Random labels on the forget set beside the retain set's own loss, where only the most salient weights move.

    L = mean_B CE(ỹ_i, p_θ) + λ mean_B ℓ(retain), over the share of weights with the largest |∂ mean ℓ_F/∂θ_j| at the model as
    given. The others stay bit for bit: a mask on the gradient alone, as the public code had until 2026, leaves them to
    weight decay and momentum. ỹ is drawn as ``random-label`` does, along the forget set; the paper excludes the true class, its
    code does not.

    Source: Fan et al. 2024 (arXiv 2310.12508).
    """

    follows_losses: ClassVar[bool] = False

    share: float = knob(0.5, help="The share of weights that may move.", valid="(0, 1]", range=(0.05, 1.0))
    exclude_true: bool = knob(True, **EXCLUDE)
    redraw: bool = knob(False, **REDRAW)

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        terms = retain_terms(self, task, model, request, self.retain_weight)
        names = (readout.ALL,) if self.scope == "all" else readout.resolve(task, model)
        moving = readout.parameters(model, names)
        began = model if request.original is None else request.original
        gradient = GeneralGradients(task, began, names).mean(request.forget)
        still = [~mask for mask in largest([gradient[name] for name in moving], self.share)]
        return descend(self, moving.values(), joined(relabelled(self, task, model, request), terms), still=still)


def largest(parts: list[Tensor], share: float) -> list[Tensor]:
    """Masks of the largest entries in absolute value, so large a share of all; zeros never count among them."""
    sizes = torch.cat([part.flatten() for part in parts]).abs()
    count = ceil(share * len(sizes) - 1e-9)
    least = sizes.kthvalue(len(sizes) - count + 1).values
    return [(part.abs() >= least) & (part != 0) for part in parts]
