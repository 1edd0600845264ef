"""The one loop behind every gradient method: build an objective, follow its gradient, say what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ..core.knobs import knob
from .request import Update

Step = Callable[[Sequence[Tensor | None]], None]  # moves the values along their gradients; without one a value stays


def _sgd(values: list[nn.Parameter], how: Descent) -> Step:
    """torch's own SGD, by its function: the class around it costs more than the step, and two seconds the first time."""
    settings = {"lr": how.lr, "momentum": how.momentum, "weight_decay": how.weight_decay}
    plain = {"dampening": 0.0, "nesterov": False, "maximize": False, "foreach": False}
    momenta: list[list[Tensor | None]] = [[None] for _ in values]

    def step(gradients: Sequence[Tensor | None]) -> None:
        for value, gradient, momentum in zip(values, gradients, momenta):
            if gradient is not None:
                sgd([value], [gradient], momentum, **settings, **plain)

    return step


def _adamw(values: list[nn.Parameter], how: Descent) -> Step:
    optimizer = torch.optim.AdamW(values, how.lr, weight_decay=how.weight_decay)

    def step(gradients: Sequence[Tensor | None]) -> None:
        for value, gradient in zip(values, gradients):
            value.grad = gradient
        optimizer.step()

    return step


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Descent], Step]] = {"sgd": _sgd, "adamw": _adamw}


@dataclass(frozen=True)
class Descent:
    """The settings that every gradient method has: the optimizer, the batch, and the length of a step."""

    takes_weights: ClassVar[bool] = False  # whether the request's weights are used; else every forget sample is alike

    lr: float = knob(1e-2, help="Learning rate.", valid="(0, inf)", range=(1e-5, 1.0), scale="log")
    momentum: float = knob(0.9, help="Momentum of SGD.", valid="[0, 1)", range=(0.0, 0.99))
    weight_decay: float = knob(5e-4, help="L2 penalty on what moves.", valid="[0, inf)", range=(0.0, 0.05))
    batch_size: int = knob(256, help="Samples per update.", valid="[1, inf)", range=(1, 512))
    optimizer: str = knob("sgd", help="How a gradient becomes a step.", choices=tuple(OPTIMIZERS))
    step_norm: float | None = knob(
        None,
        help="Scale every update to this length: the control for unequal steps.",
        valid="(0, inf)",
        range=(1e-3, 1.0),
        scale="log",
        optional=True,
    )


@dataclass(frozen=True, eq=False)
class Objective:
    """What one update minimises: the sum of its terms.

    Attributes:
        terms: scalar tensors by name, in nats.
        positions: (b,) which forget examples are in it; none for an objective on other data.
        shares: (b,) the pressure that each receives.
    """

    terms: Mapping[str, Tensor]
    positions: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    shares: Tensor = field(default_factory=lambda: torch.empty(0))


def descend(how: Descent, moving: Iterable[nn.Parameter], objectives: Iterable[Objective]) -> Iterator[Update]:
    """Minimise one objective after the other over ``moving``, yielding after each update.

    ``objectives`` is asked for the next one only when the update before has been made. Each term and its gradient are
    told apart, so that a reader sees which of them did the work.
    """
    moving = list(moving)
    step = OPTIMIZERS[how.optimizer](moving, how)
    for objective in objectives:
        told: dict[str, float] = {}
        total: list[Tensor | None] = [None] * len(moving)
        for name, term in objective.terms.items():
            gradient = _gradient(term, moving)
            told |= {name: term.item(), f"{name}_gradient": length(gradient)}
            total = [_sum(*parts) for parts in zip(total, gradient)]
        before = [value.detach().clone() for value in moving]
        with torch.no_grad():
            step(total)
        told["update_norm"] = _scaled(moving, before, how.step_norm)
        yield Update(told, objective.positions, objective.shares)


def batches(positions: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Mini-batches of these positions in a fresh order each epoch, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from positions[torch.randperm(len(positions), generator=generator)].split(size)


def _gradient(term: Tensor, moving: list[nn.Parameter]) -> list[Tensor | None]:
    """The term's gradient; None at each parameter that it does not depend on, such as all of them for a constant."""
    if not term.requires_grad:
        return [None] * len(moving)
    return list(torch.autograd.grad(term, moving, allow_unused=True))


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def _scaled(moving: list[nn.Parameter], before: list[Tensor], step_norm: float | None) -> float:
    """The length of the step just made, after scaling it to ``step_norm`` where one is asked; not finite if it was not."""
    steps = [value.detach() - old for value, old in zip(moving, before)]
    made = length(steps)
    if step_norm is None or made == 0.0 or not isfinite(made):
        return made
    with torch.no_grad():
        for value, old, step in zip(moving, before, steps):
            value.copy_(old + step * (step_norm / made))
    return step_norm


def length(parts: Iterable[Tensor | None]) -> float:
    """The Euclidean length of several tensors taken as one vector."""
    return hypot(*(torch.linalg.vector_norm(part).item() for part in parts if part is not None))
