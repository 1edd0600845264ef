"""Weighted gradient ascent on the forget set: the one objective behind IMU and its uniform control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ..core.knobs import knob
from ..core.running import device_of
from ..tasks.protocol import Task
from .descent import Descent, Objective, batches, descend
from .request import Request, Update


@dataclass(frozen=True)
class Ascent(Descent):
    """The settings that every method by weighted ascent has: those of the descent, and the objective's own."""

    alpha: float = knob(
        0.0, help="α of the L1 term on what moves; the paper's code uses 0.2.", valid="[0, inf)", range=(0.0, 0.5)
    )
    normalise: str = knob(
        "batch", help="Divide by the weights of the batch (the paper) or of the whole set.", choices=("batch", "set")
    )


def ascend(
    how: Ascent, task: Task, model: nn.Module, moving: Iterable[nn.Parameter], request: Request
) -> Iterator[Update]:
    """Minimise L = −Σ w_i ℓ_i / Σ w_i + α‖θ‖₁ over ``moving``, one mini-batch of the forget set at a time, for ever.

    Samples of weight 0 enter no batch. With ``normalise="set"`` the ascent term is −(n/|B|) Σ_B w_i ℓ_i / Σ_D w.

    Source: Fan et al. 2025 (arXiv 2508.01620), the weighted objective with its L1 term.

    Args:
        how: the method's settings.
        moving: the parameters that move; the caller has frozen the rest.
    """
    moving = list(moving)
    return descend(how, moving, _objectives(how, task, model, moving, request))


def _objectives(
    how: Ascent, task: Task, model: nn.Module, moving: list[nn.Parameter], request: Request
) -> Iterator[Objective]:
    device = device_of(model)
    weights = request.weights.to(device)
    taking_part = (request.weights > 0).nonzero().flatten()
    for positions in batches(taking_part, how.batch_size, request.seed):
        batch, mine = request.forget.batch(positions).to(device), weights[positions]
        shares = mine / mine.sum()
        scale = shares if how.normalise == "batch" else len(taking_part) / len(positions) * mine / weights.sum()
        losses = task.example_loss(model, batch)
        ascent = -(scale.to(losses.dtype) * losses).sum()
        yield Objective({"ascent": ascent, "l1": l1_term(moving, how.alpha)}, positions, shares)


def l1_term(moving: list[nn.Parameter], alpha: float) -> torch.Tensor:
    """α‖θ‖₁; its gradient α·sign(θ) is told apart from the ascent's."""
    return alpha * sum(value.abs().sum() for value in moving) if alpha else torch.zeros(())
