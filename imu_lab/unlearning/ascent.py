"""Weighted ascent: each sample of a batch with its own share of the pressure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.knobs import knob
from ..core.running import device_of
from ..features import linear
from ..tasks.protocol import Task
from .objectives import Descent, Objective, Turn, batches, descend, l1_term
from .request import Request, Update

NORMALISE = {"help": "Divide by the weights of the batch (the paper) or of the whole set.", "choices": ("batch", "set")}


@dataclass(frozen=True)
class Weighted(Descent):
    """The settings of weighted ascent without an L1 term."""

    alpha: ClassVar[float] = 0.0

    normalise: str = knob("batch", **NORMALISE)


@dataclass(frozen=True)
class Ascent(Descent):
    """The settings that every method by weighted ascent has: those of the descent, and the objective's own."""

    alpha: float = knob(
        0.0, help="α of the L1 term on what moves; the paper's code uses 0.2.", valid="[0, inf)", range=(0.0, 0.5)
    )
    normalise: str = knob("batch", **NORMALISE)


def ascend(
    how: Ascent | Weighted,
    task: Task,
    model: nn.Module,
    moving: Iterable[nn.Parameter],
    request: Request,
    turned: Turn | None = None,
) -> Iterator[Update]:
    """Minimise L = −Σ w_i ℓ_i / Σ w_i + α‖θ‖₁ over ``moving``, one mini-batch of the forget set at a time, for ever.

    Samples of weight 0 enter no batch. With ``normalise="set"`` the ascent term is −(n/|B|) Σ_B w_i ℓ_i / Σ_D w.

    Source: Fan et al. 2025 (arXiv 2508.01620), the weighted objective with its L1 term.

    Args:
        how: the method's settings.
        moving: the parameters that move; the caller has frozen the rest.
        turned: see :func:`descend`.
    """
    moving = list(moving)
    return descend(how, moving, _weighted_ascent(how, task, model, moving, request), turned)


def _weighted_ascent(
    how: Ascent | Weighted, task: Task, model: nn.Module, moving: list[nn.Parameter], request: Request
) -> Iterator[Objective]:
    device, closed = device_of(model), linear.closed_form(task, model, moving)
    weights = request.weights.to(device)
    taking_part = (request.weights > 0).nonzero().flatten()
    for positions in batches(taking_part, how.batch_size, request.seed):
        batch, mine = request.forget.batch(positions).to(device), weights[positions]
        shares = mine / mine.sum()
        scale = shares if how.normalise == "batch" else len(taking_part) / len(positions) * mine / weights.sum()
        l1 = l1_term(moving, how.alpha)
        if closed is None:
            losses = task.example_loss(model, batch)
            yield Objective({"ascent": -(scale.to(losses.dtype) * losses).sum(), "l1": l1}, positions, shares)
        else:
            ascent, gradient = closed(batch, -scale)
            yield Objective({"ascent": ascent, "l1": l1}, positions, shares, {"ascent": gradient})
