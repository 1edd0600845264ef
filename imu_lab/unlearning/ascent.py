"""Weighted gradient ascent on the forget set: the one loop behind IMU and its uniform control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..registry import knob
from ..tasks.compute import device_of
from ..tasks.protocol import Task
from .request import Request, Update

OPTIMIZERS = {
    "sgd": lambda values, how: torch.optim.SGD(values, how.lr, how.momentum, weight_decay=how.weight_decay),
    "adamw": lambda values, how: torch.optim.AdamW(values, how.lr, weight_decay=how.weight_decay),
}


@dataclass(frozen=True)
class Ascent:
    """The settings that every method by ascent has: the objective, the optimizer, and the length of a step."""

    lr: float = knob(1e-2, help="Learning rate.", valid="(0, inf)", range=(1e-5, 1.0), scale="log")
    alpha: float = knob(
        0.0, help="α of the L1 term on what moves; the paper's code uses 0.2.", valid="[0, inf)", range=(0.0, 0.5)
    )
    momentum: float = knob(0.9, help="Momentum of SGD.", valid="[0, 1)", range=(0.0, 0.99))
    weight_decay: float = knob(5e-4, help="L2 penalty on what moves.", valid="[0, inf)", range=(0.0, 0.05))
    batch_size: int = knob(256, help="Forget samples per update.", valid="[1, inf)", range=(1, 512))
    optimizer: str = knob("sgd", help="How a gradient becomes a step.", choices=tuple(OPTIMIZERS))
    step_norm: float | None = knob(
        None,
        help="Scale every update to this length: the control for unequal steps.",
        valid="(0, inf)",
        range=(1e-3, 1.0),
        scale="log",
        optional=True,
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
    moving, device = list(moving), device_of(model)
    optimizer = OPTIMIZERS[how.optimizer](moving, how)
    weights = request.weights.to(device)
    taking_part = (request.weights > 0).nonzero().flatten()
    for positions in _batches(taking_part, how.batch_size, request.seed):
        batch, mine = request.forget.batch(positions).to(device), weights[positions]
        shares = mine / mine.sum()
        scale = shares if how.normalise == "batch" else len(taking_part) / len(positions) * mine / weights.sum()
        ascent = -(scale.to(torch.get_default_dtype()) * task.example_loss(model, batch)).sum()
        optimizer.zero_grad(set_to_none=True)
        ascent.backward()
        terms = {"ascent": ascent.item(), "ascent_gradient": _length(value.grad for value in moving)}
        terms |= _add_l1(moving, how.alpha)
        before = [value.detach().clone() for value in moving]
        optimizer.step()
        terms["update_norm"] = _moved(moving, before, how.step_norm)
        yield Update(terms, positions, shares)


def _batches(positions: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Mini-batches in a fresh order each epoch, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from positions[torch.randperm(len(positions), generator=generator)].split(size)


def _add_l1(moving: list[nn.Parameter], alpha: float) -> dict[str, float]:
    """Add the L1 term's gradient α·sign(θ) and report the term and its gradient apart from the ascent's."""
    if not alpha:
        return {"l1": 0.0, "l1_gradient": 0.0}
    signs = [alpha * value.detach().sign() for value in moving]
    for value, sign in zip(moving, signs):
        value.grad = sign if value.grad is None else value.grad + sign
    return {"l1": alpha * sum(value.detach().abs().sum().item() for value in moving), "l1_gradient": _length(signs)}


def _moved(moving: list[nn.Parameter], before: list[Tensor], step_norm: float | None) -> float:
    """The length of the step just made, after scaling it to ``step_norm`` where one is asked."""
    steps = [value.detach() - old for value, old in zip(moving, before)]
    length = _length(steps)
    if step_norm is None or length == 0.0:
        return length
    with torch.no_grad():
        for value, old, step in zip(moving, before, steps):
            value.copy_(old + step * (step_norm / length))
    return step_norm


def _length(parts: Iterable[Tensor | None]) -> float:
    """The Euclidean length of several tensors taken as one vector."""
    return sum(part.square().sum().item() for part in parts if part is not None) ** 0.5
