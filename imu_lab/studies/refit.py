"""A readout fitted until its gradient vanishes, so that leaving samples out can be measured exactly."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.running import one_thread
from ..features import readout, view
from ..features.gauss_newton import HeadCurvature, unflat
from ..features.gradients import LinearGradients, flat
from ..tasks.protocol import Examples, Task

TOLERANCE = 1e-11  # largest entry of the gradient that counts as zero, in double precision
MOST = 200  # updates; a convex problem takes about ten
LIMIT = 2 * 2**30  # bytes of the Hessian that Newton's method builds


@dataclass(frozen=True, eq=False)
class RefittedReadout:
    """The readout at the minimum of J(θ) = (1/N) Σ_train ℓ_i(θ) + (λ/2)‖θ‖² over a linear readout's weights and bias.

    Attributes:
        task: the task as seen from its readout.
        train: all N training examples, as features in double precision.
        head: the readout at the minimum.
        factor: (P, P) Cholesky factor of the Hessian of J there.
        l2: λ.
    """

    task: Task
    train: Examples
    head: nn.Linear
    factor: Tensor
    l2: float

    def without(self, positions: Tensor) -> nn.Linear:
        """The readout at the minimum without these training examples; N stays the number of all."""
        weights = torch.ones(len(self.train), dtype=torch.float64)
        weights[positions] = 0.0
        return _minimum(self.task, self.head, self.train, weights, self.l2, self.factor)[0]


def refitted_readout(task: Task, model: nn.Module, l2: float) -> RefittedReadout:
    """The model's readout at its minimum over the training set, on the model's own backbone.

    Raises:
        ValueError: the readout is not one linear layer that produces the output, or λ is not positive.
        MemoryError: its Hessian would not fit; said before anything is computed.
        ArithmeticError: no minimum was reached.
    """
    if not l2 > 0:
        raise ValueError(f"l2 must be above 0, got {l2}: without it separable data have no minimum")
    viewed, head = view(task, model)
    names = readout.resolve(task, model)
    if viewed is task:
        raise ValueError(
            f"only one linear layer that produces the output can be refitted exactly; this task's readout is "
            f"{', '.join(names) or 'the whole model'}. Use way='network', which trains the whole network"
        )
    _check_memory(sum(value.numel() for value in readout.parameters(model, names).values()))
    train = viewed.split("train").in_precision(torch.float64)
    with one_thread():
        weights = torch.ones(len(train), dtype=torch.float64)
        best, factor = _minimum(viewed, copy.deepcopy(head).double(), train, weights, l2)
    return RefittedReadout(viewed, train, best, factor, l2)


def _check_memory(count: int) -> None:
    if (needed := count**2 * 8) > LIMIT:
        raise MemoryError(
            f"refitting a readout of {count:,} parameters needs a Hessian of {needed / 2**30:,.1f} GiB, more than the "
            f"limit of {LIMIT / 2**30:,.1f} GiB; use way='network', which trains the whole network, or a smaller readout"
        )


def refit(task: Task, model: nn.Module, l2: float = 1e-3) -> nn.Module:
    """A copy of the model whose readout is at the minimum of mean training loss + (λ/2)‖readout‖², found in float64.

    Influence functions assume such a minimum, which a head trained by a few epochs of SGD has not reached.

    >>> at_minimum = imu.refit(task, model, l2=1e-3)
    >>> imu.influence(task, at_minimum, "exact", damping=1e-3, curvature="train")

    Args:
        l2: λ, on weights and bias.
    """
    fit = refitted_readout(task, model, l2)
    (name,) = readout.resolve(task, model)
    head = fit.head.to(next(model.get_submodule(name).parameters()).dtype)
    return readout.graft(model, name, head)


def _minimum(
    task: Task, head: nn.Linear, train: Examples, weights: Tensor, l2: float, factor: Tensor | None = None
) -> tuple[nn.Linear, Tensor]:
    """Newton's method; steps are halved until they lower J, and the Hessian is computed again when progress slows down.

    Args:
        weights: (N,) of the examples; 0 leaves one out.
        factor: of a Hessian nearby, to start with.
    """
    head, count = copy.deepcopy(head), len(train)
    kept = train.take(weights.nonzero().flatten())
    size = torch.inf
    for _ in range(MOST):
        values = {name: value.detach() for name, value in head.named_parameters()}
        mean = LinearGradients(task, head, readout.ALL).mean(kept)
        gradient = flat(mean) * (len(kept) / count) + l2 * flat(values)
        if gradient.abs().max() <= TOLERANCE:
            return head, factor if factor is not None else _factor(task, head, kept, count, l2)
        if factor is None or gradient.norm() > 0.5 * size:  # progress slowed down
            factor = _factor(task, head, kept, count, l2)
        size = gradient.norm()
        step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        _walk(task, head, kept, count, l2, step, gradient)
    raise ArithmeticError(f"no minimum in {MOST} Newton steps: the gradient is still {size:.1e}; use a larger l2")


def _factor(task: Task, head: nn.Linear, kept: Examples, count: int, l2: float) -> Tensor:
    curvature = HeadCurvature(LinearGradients(task, head, readout.ALL), kept)
    hessian = curvature.matrix() * (len(kept) / count)
    hessian.diagonal().add_(l2)
    return torch.linalg.cholesky(hessian)


def _walk(task: Task, head: nn.Linear, kept: Examples, count: int, l2: float, step: Tensor, gradient: Tensor) -> None:
    """Move the head along −step, halved until J falls (Armijo 1966)."""

    def objective() -> float:
        with torch.no_grad():
            total = sum(task.example_loss(head, batch).sum() for _, batch in kept.batches()) / count
            return (total + l2 / 2 * sum(value.square().sum() for value in head.parameters())).item()

    start = {name: value.detach().clone() for name, value in head.named_parameters()}
    moves, before, fall = unflat(step, start), objective(), step.dot(gradient).item()
    share = 1.0
    while share > 1e-8:
        with torch.no_grad():
            for name, value in head.named_parameters():
                value.copy_(start[name] - share * moves[name])
        if objective() <= before - 1e-4 * share * fall + 1e-12 * abs(before):
            return
        share /= 2
