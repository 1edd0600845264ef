"""The kit for writing a method: what is minimised, over what, and in which batches.

A method by gradients is an objective followed downhill. ``descend`` does the following: it takes one :class:`Objective`
after the other, makes one step for each, and tells what was done. ``forget_batches`` deals out the samples,
``moving_parameters`` says what may move, ``frozen_copy`` keeps the model as it was given. A whole method::

    @imu.method("bounded-ascent")
    @dataclass(frozen=True)
    class BoundedAscent(imu.Descent):
        ceiling: float = imu.knob(3.0, help="The loss in nats beyond which a sample is left alone.", valid="(0, inf)")

        def __call__(self, task, model, request):
            return imu.descend(self, imu.moving_parameters(task, model), self.objectives(task, model, request))

        def objectives(self, task, model, request):
            for positions, batch in imu.forget_batches(self, model, request):
                losses = task.example_loss(model, batch)
                yield imu.Objective({"ascent": -losses.clamp(max=self.ceiling).mean()}, positions)

The built-in methods are made of nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.messages import shown, unknown
from ..core.running import copied, device_of
from ..features import readout
from ..tasks.protocol import Batch, Task
from .request import Request, Update

Step = Callable[[Sequence[Tensor | None]], None]  # moves the values along their gradients; without one a value stays
Turn = Callable[[list[Tensor | None]], Sequence[Tensor | None]]  # from a gradient to the direction to follow


def _sgd(values: list[nn.Parameter], how: Descent) -> Step:
    """SGD as torch.optim.SGD steps, bit for bit: what surrounds the step there takes longer than the step."""
    momenta: list[Tensor | None] = [None] * len(values)

    def step(gradients: Sequence[Tensor | None]) -> None:
        for k, (value, gradient) in enumerate(zip(values, gradients)):
            if gradient is None:
                continue
            if how.weight_decay:
                gradient = gradient.add(value, alpha=how.weight_decay)
            if how.momentum:
                kept = momenta[k]
                momenta[k] = gradient.clone() if kept is None else kept.mul_(how.momentum).add_(gradient)
                gradient = momenta[k]
            value.add_(gradient, alpha=-how.lr)

    return step


def _adamw(values: list[nn.Parameter], how: Descent) -> Step:
    optimizer = torch.optim.AdamW(values, how.lr, weight_decay=how.weight_decay)

    def step(gradients: Sequence[Tensor | None]) -> None:
        for value, gradient in zip(values, gradients):
            value.grad = gradient
        optimizer.step()

    return step


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], Descent], Step]] = {"sgd": _sgd, "adamw": _adamw}

# For the methods that can move either: scope: str = knob("readout", **SCOPE)
SCOPE = {"help": "What moves: the readout, or every parameter.", "choices": ("readout", "all")}


@dataclass(frozen=True)
class Descent:
    """The settings that every method by gradients has: the optimizer, the batch, and the length of a step.

    A method inherits them and adds its own fields; inheriting says nothing of what the method uses of a request.
    """

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
    relative_steps: bool = knob(
        False, help="step_norm is a share of the length of what moves at first: 0.01 is one per cent of it."
    )


@dataclass(frozen=True, eq=False)
class Objective:
    """What one update minimises: the sum of its terms.

    Attributes:
        terms: scalar tensors by name, in nats.
        positions: (b,) which forget examples are in it, from 0; none for an objective on other data.
        shares: (b,) the pressure that each of them receives; left out, all the same.
        gradients: by name, the gradients of those terms for which they are known: a tensor for each parameter that moves.
            The others are differentiated by autograd.
    """

    terms: Mapping[str, Tensor]
    positions: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    shares: Tensor | None = None
    gradients: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shares is None:
            even = torch.full((len(self.positions),), 1 / max(1, len(self.positions)), dtype=torch.float64)
            object.__setattr__(self, "shares", even)


@dataclass(frozen=True)
class ObjectiveDescent(Descent):
    """A method that is nothing but its objectives, one an update; whatever weights are given, every forget sample is alike."""

    takes_weights: ClassVar[bool] = False
    scope = "readout"  # no ClassVar, whose place among the settings a knob of this name would take

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        return descend(self, moving_parameters(task, model, self.scope), self.objectives(task, model, request))

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[Objective]:
        """What each update minimises."""
        raise NotImplementedError


def descend(
    how: Descent,
    moving: Iterable[nn.Parameter],
    objectives: Iterable[Objective],
    turned: Turn | None = None,
    still: Sequence[Tensor] = (),
) -> Iterator[Update]:
    """Minimise one objective after the other over ``moving``, yielding after each update.

    ``objectives`` is asked for the next one only when the update before has been made. Each term and its gradient are
    told apart, so that a reader sees which of them did the work.

    Args:
        turned: from the whole gradient, in the order of ``moving``, to the direction that is followed in its place, as a
            preconditioner does; None follows the gradient.
        still: for each of ``moving`` a mask of its shape, True where it stays exactly as it is, whatever momentum and weight
            decay would do to it.

    Raises:
        TypeError, ValueError: something that is no objective, a term that is no single number, or terms none of which depends
            on what moves.
    """
    moving = list(moving)
    step_norm = _step_length(how, moving)
    exact = moving if step_norm is None else [_in_double(value) for value in moving]
    step = OPTIMIZERS[how.optimizer](exact, how)
    for objective in objectives:
        told: dict[str, float] = {}
        total: list[Tensor | None] = [None] * len(moving)
        terms = _terms(objective)
        last = next((name for name in list(terms)[::-1] if terms[name].requires_grad), None)
        for name, term in terms.items():
            gradient = objective.gradients.get(name) or _gradient(term, moving, again=name != last)
            told |= {name: term.item(), f"{name}_gradient": length(gradient)}
            total = [_sum(*parts) for parts in zip(total, gradient)]
        if all(gradient is None for gradient in total):  # weight decay alone would move it, and nobody asked for that
            raise ValueError(
                f"no term of the objective depends on what moves: {', '.join(terms) or 'it has none'}; compute them from "
                "model(batch.inputs) without .detach(), .item() or torch.no_grad()"
            )
        followed = total if turned is None else turned(total)
        with torch.no_grad():
            _copy(moving, exact)
            before = [value.clone() for value in exact]
            step(
                [gradient if gradient is None else gradient.to(value.dtype) for gradient, value in zip(followed, exact)]
            )
            for value, old, mask in zip(exact, before, still):
                value.copy_(torch.where(mask, old, value))
            told["update_norm"] = _scaled(exact, before, step_norm)
            _copy(exact, moving)
        yield Update(told, objective.positions, objective.shares)


def moving_parameters(task: Task, model: nn.Module, scope: str = "readout") -> list[nn.Parameter]:
    """The parameters that a method may move: the readout's, or those of the whole model where ``scope`` is ``"all"``."""
    if scope not in SCOPE["choices"]:
        raise unknown("scope", scope, SCOPE["choices"])
    names = (readout.ALL,) if scope == "all" else readout.resolve(task, model)
    return list(readout.parameters(model, names).values())


def frozen_copy(model: nn.Module, request: Request | None = None) -> nn.Module:
    """A copy of the model as it is now, in eval mode, that nothing moves.

    Args:
        request: with it, of the model that the method began with: what a run that goes on with another one looks back to, too.
    """
    first = None if request is None else request.original
    return copied(model if first is None else first).eval().requires_grad_(False)


def batches(positions: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Mini-batches of these positions in a fresh order each epoch, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from positions[torch.randperm(len(positions), generator=generator)].split(size)


def forget_batches(how: Descent, model: nn.Module, request: Request) -> Iterator[tuple[Tensor, Batch]]:
    """Positions in the forget set and the examples there, ``how.batch_size`` at a time, for ever."""
    for positions in batches(torch.arange(len(request.forget)), how.batch_size, request.seed):
        yield positions, request.forget.batch(positions).to(device_of(model))


def retain_batches(how: Descent, model: nn.Module, request: Request) -> Iterator[Batch]:
    """The retain set, ``how.batch_size`` examples at a time, for ever; in another order than the forget set's.

    Raises:
        ValueError: the method was not handed the retain set, because its class does not declare that it needs it.
    """
    if request.retain is None:
        raise ValueError(
            "this method was not handed the retain set; write `needs_retain: ClassVar[bool] = True` in its class"
        )
    for positions in batches(torch.arange(len(request.retain)), how.batch_size, request.seed + 1_000_003):
        yield request.retain.batch(positions).to(device_of(model))


def l1_term(moving: list[nn.Parameter], alpha: float) -> Tensor:
    """α‖θ‖₁; its gradient α·sign(θ) is told apart from the ascent's."""
    return alpha * sum(value.abs().sum() for value in moving) if alpha else torch.zeros(())


def _terms(objective: Objective) -> Mapping[str, Tensor]:
    """An objective's terms, once each is one number."""
    if not isinstance(objective, Objective):
        raise TypeError(
            f'imu.descend follows objectives, such as imu.Objective({{"ascent": -losses.mean()}}, positions); got '
            f"{shown(objective)}"
        )
    for name, term in objective.terms.items():
        if not isinstance(term, Tensor) or term.numel() != 1:
            given = f"a tensor of shape {tuple(term.shape)}" if isinstance(term, Tensor) else shown(term)
            raise ValueError(
                f"a term of an objective is a tensor that holds one number, such as a mean; {name!r} is {given}"
            )
    return objective.terms


def _gradient(term: Tensor, moving: list[nn.Parameter], again: bool = False) -> list[Tensor | None]:
    """The term's gradient; None at each parameter that it does not depend on, such as all of them for a constant.

    Args:
        again: whether other terms may come from the same forward pass, whose intermediate tensors are kept for them.
    """
    if not term.requires_grad:
        return [None] * len(moving)
    return list(torch.autograd.grad(term, moving, retain_graph=again, allow_unused=True))


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def _step_length(how: Descent, moving: list[nn.Parameter]) -> float | None:
    """The length that every update is scaled to, None for its own.

    Raises:
        ValueError: it is to be a share of what has no length.
    """
    if how.step_norm is None or not how.relative_steps:
        return how.step_norm
    if not (size := length(value.detach() for value in moving)):
        raise ValueError(
            f"all that moves is zero, so a step of {how.step_norm:g} times its length is none; leave out relative_steps"
        )
    return how.step_norm * size


def _in_double(value: nn.Parameter) -> nn.Parameter:
    """The same values in double precision: a step far shorter than they are, made in single, is lost in their rounding."""
    precise = torch.float32 if value.device.type == "mps" else torch.float64  # which knows no double
    return nn.Parameter(value.detach().to(precise))


def _copy(values: list[nn.Parameter], into: list[nn.Parameter]) -> None:
    if values is not into:
        for value, other in zip(values, into):
            other.copy_(value)


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
