"""Curvature of a linear readout by Kronecker factors: S of what reaches it, G of what it answers, and their inverses.

With rows a = [h; 1] and answers p = softmax(W a), the Gauss-Newton matrix of cross-entropy is mean (diag p − ppᵀ) ⊗ a aᵀ.
Its two factors are S = mean a aᵀ (D, D) and G = mean (diag p − ppᵀ) (K, K); D is d + 1, or d where the layer has no bias.
Where the loss is cross-entropy times a number, such as a class's weight, G is the mean of the rows with theirs.
Each is damped in units of its own mean eigenvalue, so that one setting ρ speaks of any model::

    Ŝ = (S / s̄ + ρ I) / (1 + ρ),  s̄ = tr S / D;      Ĝ = (G / ḡ + ρ I) / (1 + ρ),  ḡ = tr G / K

Both tend to the identity as ρ grows: a gradient V (K, D), preconditioned, Ĝ⁻¹ V Ŝ⁻¹, is then the gradient itself. Positions
of a sequence count as rows of their own.

Source: K-FAC (Martens & Grosse 2015, arXiv 1503.05671).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.knobs import knobs
from ..core.messages import DoesNotApply
from ..core.running import evenly
from ..tasks.evaluation import outputs
from ..tasks.outputs import cross_entropy_derivative, derivative_of, log_probabilities
from ..tasks.protocol import Batch, Examples, Task
from .general import GeneralGradients
from .layers import Gradient
from .linear import LinearGradients, derivative

Make = Callable[[dict[str, Tensor], float], "Preconditioned"]  # from means and ρ to a preconditioner
Matrices = Callable[[Tensor], Tensor]  # a map of (K, D) matrices

CHECKED = 16  # examples on which a loss is asked whether it bends as cross-entropy does
MOST_ANSWERS = 4_096  # K up to which G is held: 128 MB in double precision

# What can be added up over rows a (r, D), answers p (r, K) and p times the row's factor of the loss, by name.
SUMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "S": lambda rows, likely, scaled: rows.T @ rows,
    "G": lambda rows, likely, scaled: torch.diag(scaled.sum(0)) - likely.T @ scaled,
    "diagonal": lambda rows, likely, scaled: (scaled - scaled * likely).T @ rows.square(),
}


def moments(
    gradients: LinearGradients, examples: Examples, names: Iterable[str] = ("S", "G")
) -> tuple[dict[str, Tensor], int]:
    """Means over rows, in double precision, in one pass over the examples; and how many rows there were.

    Args:
        names: of ``SUMS``: ``"S"`` (D, D), ``"G"`` (K, K), and ``"diagonal"`` (K, D), the diagonal of mean (diag p − ppᵀ) ⊗ a aᵀ.

    Raises:
        Unserved: the loss is no cross-entropy and more than S is asked; or there are too many classes for G.
    """
    names, totals, count = tuple(names), {}, 0
    refuse(names, gradients, examples)
    for rows, *likely in _rows(gradients, examples, bent=bool(set(names) - {"S"})):
        found = {name: SUMS[name](rows, *likely) for name in names}
        totals = {name: totals[name].add_(part) for name, part in found.items()} if totals else found
        count += len(rows)
    if not count:
        raise ValueError("curvature needs at least one example")
    return {name: total / count for name, total in totals.items()}, count


def refuse(names: Iterable[str], gradients: LinearGradients | GeneralGradients, examples: Examples) -> None:
    """Raise Unserved where one of these means cannot be had."""
    for name in names:
        if (reason := _refusal(name, gradients, examples)) is not None:
            raise reason


def why_not(name: str, gradients: LinearGradients | GeneralGradients, examples: Examples) -> str | None:
    """Why this mean cannot be had, in one sentence; None where it can."""
    reason = _refusal(name, gradients, examples)
    return None if reason is None else str(reason)


def _refusal(name: str, gradients: LinearGradients | GeneralGradients, examples: Examples) -> Unserved | None:
    if name == "S":
        return None
    answers = _answers(gradients, examples) if name == "G" else 0
    if answers > MOST_ANSWERS:
        return Unserved(
            f"G of {answers:,} outputs would be a matrix of {answers**2 * 8 / 2**30:.1f} GiB, and {MOST_ANSWERS:,} outputs "
            "are the most that it is formed for",
            'factors="inputs"',
            *(['factors="diagonal"'] if isinstance(gradients, LinearGradients) else []),
        )
    if not is_cross_entropy(gradients.task, gradients.model, examples):
        return Unserved(
            f"{name} is the curvature of cross-entropy, diag p − ppᵀ, and the loss of this task is no cross-entropy: "
            "its second derivative is another",
            'factors="inputs"',
            'factors="exact"',
        )
    return None


def _answers(gradients: LinearGradients | GeneralGradients, examples: Examples) -> int:
    """K, how many numbers the model answers with."""
    if isinstance(gradients, LinearGradients):
        return gradients.model.get_submodule(gradients.name).out_features
    one = examples.take(torch.arange(min(1, len(examples))))
    return max((made.shape[-1] for _, _, made in outputs(gradients.task, gradients.model, one)), default=0)


class Unserved(DoesNotApply):
    """A curvature that cannot be had in the form asked.

    Attributes:
        serves: the settings, as they are written, with which one can be had by whoever has them.
    """

    def __init__(self, reason: str, *serves: str) -> None:
        super().__init__(reason)
        self.serves = serves


@contextmanager
def advising(how: Any) -> Iterator[None]:
    """Within it, what cannot be had is refused with what to set instead, among the choices that ``how`` has.

    Raises:
        ValueError: the reason, and those.
    """
    try:
        yield
    except Unserved as error:
        own = [f'{name}="{choice}"' for name, about in knobs(how).items() for choice in about.options() or ()]
        if not (serves := [setting for setting in own if setting in error.serves]):
            raise
        raise ValueError(f"{error}; use {' or '.join(serves)}") from None


def is_cross_entropy(task: Task, model: nn.Module, examples: Examples) -> bool:
    """Whether the loss bends as cross-entropy does: at each row, ∇²ℓ is diag p − ppᵀ times a number.

    So does cross-entropy with smoothed or soft labels, masked, or as a mean over tokens. A loss that does not tell its
    derivative is asked on a few examples, in one random direction.
    """
    if derivative_of(task.example_loss) is cross_entropy_derivative:
        return True
    few = examples.take(evenly(CHECKED, len(examples)))
    return all(_bends(task, made, batch) for _, batch, made in outputs(task, model, few))


def _bends(task: Task, made: Tensor, batch: Batch) -> bool:
    """Whether ∇²ℓ along a random direction is what cross-entropy's is, up to one number per row."""
    if not (made.is_floating_point() and made.shape[-1] >= 1):
        return False
    try:
        found, expected = (each.flatten(0, -2) for each in _bending(task, made, batch))
    except RuntimeError:  # a loss without a second derivative
        return False
    factor = _ratio(found, expected)  # 1, 1/T, a class's weight, 0 under a mask
    if not (factor.abs() > 0).any() or (factor < -1e-9).any():
        return False
    if made.shape[-1] == 1:  # every number is another's multiple
        return bool((factor - factor.mean()).abs().max() <= 1e-3 * factor.abs().max())
    return bool(((found - factor[:, None] * expected).norm(dim=1) <= 1e-3 * found.norm(dim=1) + 1e-9).all())


def scales(task: Task, made: Tensor, batch: Batch, counts: Tensor) -> Tensor:
    """(n, ...) by what each row's diag p − ppᵀ counts: 1 in cross-entropy, or in a mean over rows; 0 where ``counts`` is False.

    Three times cross-entropy gives 3, a weighted class its weight, and a sum over T tokens T.
    """
    counts = counts.double()
    if derivative_of(task.example_loss) is cross_entropy_derivative:
        return counts
    rows = counts.flatten(1).sum(1) if made.ndim > 2 else counts
    return counts * _ratio(*_bending(task, made, batch)).clamp_min(0) * rows.view(-1, *[1] * (made.ndim - 2))


def _ratio(found: Tensor, expected: Tensor) -> Tensor:
    return (found * expected).sum(-1) / expected.square().sum(-1)


def _bending(task: Task, made: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """(n, ..., K) ∇²ℓ along one random direction, and that of cross-entropy.

    A row that is certain, whose p is all on one class, tells nothing; it is asked at logits between -3 and 3.

    Raises:
        RuntimeError: the loss has no second derivative.
    """
    change = torch.randn(made.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(made.device)
    exact = made.detach().double()
    told = _bent(exact, change).norm(dim=-1, keepdim=True) > 1e-3 * change.norm(dim=-1, keepdim=True)
    exact = torch.where(told, exact, exact.clamp(-3, 3))
    try:
        found = second_derivative(task, exact, batch, change)
    except RuntimeError:  # a loss with numbers of the model's own precision, such as weights of classes
        found = second_derivative(task, exact.to(made), batch, change.to(made))
    return found.double(), _bent(exact, change)


def second_derivative(task: Task, made: Tensor, batch: Batch, change: Tensor) -> Tensor:
    """∇²ℓ times a change of the logits."""
    with torch.enable_grad():
        logits = made.detach().requires_grad_()
        first = torch.autograd.grad(task.example_loss(lambda _: logits, batch).sum(), logits, create_graph=True)[0]
        return torch.autograd.grad(first, logits, change)[0]


def _bent(made: Tensor, change: Tensor) -> Tensor:
    """(diag p − ppᵀ) v of each row."""
    likely = probabilities(made)
    if made.shape[-1] == 1:
        return (likely - likely.square()) * change
    return likely * (change - (likely * change).sum(-1, keepdim=True))


def probabilities(made: Tensor) -> Tensor:
    """(..., K) p; of one logit σ(z)."""
    return made.sigmoid() if made.shape[-1] == 1 else log_probabilities(made).exp()


def _rows(gradients: LinearGradients, examples: Examples, bent: bool) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """(r, D) rows a, (r, K) answers p, and p times each row's factor where the loss is ``bent``, chunk by chunk.

    Positions that enter no loss, such as padding, are left out.
    """
    bias = gradients.model.get_submodule(gradients.name).bias is not None
    for _, batch, inputs, made in gradients.captured(examples):
        rows, likely = inputs.flatten(0, -2).double(), probabilities(made.double()).flatten(0, -2)
        counts = counted(gradients.task, made, batch)
        scale = scales(gradients.task, made, batch, counts).flatten() if bent else None
        at = counts.flatten()
        rows, likely = rows[at], likely[at]
        yield with_ones(rows, bias), likely, None if scale is None else scale[at, None] * likely


def counted(task: Task, made: Tensor, batch: Batch) -> Tensor:
    """(n, ...) whether each row of the answers (n, ..., K) enters the loss: all examples, and not positions such as padding."""
    if made.ndim == 2:
        return torch.ones(len(made), dtype=torch.bool, device=made.device)
    return (derivative(task, made, batch) != 0).any(-1)


def with_ones(rows: Tensor, bias: bool) -> Tensor:
    """(r, d + 1) the rows a = [h; 1] of a layer with a bias; the rows themselves without."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if bias else rows


def damped(factor: Tensor, rho: float) -> Tensor:
    """(F / f̄ + ρ I) / (1 + ρ), f̄ the mean of the diagonal of F (m, m): Ŝ from S, Ĝ from G.

    Raises:
        ValueError: F is zero, or not finite.
    """
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return (factor / _scale(factor.diagonal()) + rho * identity) / (1 + rho)


def _scale(diagonal: Tensor) -> Tensor:
    """The mean eigenvalue of a matrix with this diagonal."""
    scale = diagonal.mean()
    if scale < 0:
        raise ValueError(
            "the curvature is negative on the whole: the loss of this task bends downwards at the outputs, and what is "
            'preconditioned by it would lead the other way; use factors="inputs", which needs no curvature of the loss'
        )
    if not (torch.isfinite(scale) and scale > 0):
        raise ValueError(
            "the curvature is zero or not finite: the model is certain of every answer, or its outputs are not finite"
        )
    return scale


def inverse(factor: Tensor, rho: float, what: str = "S", empty: int = 0) -> Tensor:
    """(m, m) the inverse of :func:`damped` F.

    Args:
        what: F's name in a message.
        empty: in how many directions F is zero by its making, and nothing that is solved for has a part: G has one, for
            G 1 = 0. With ρ = 0 they are left out.

    Raises:
        ValueError: ρ = 0 and F has no inverse.
    """
    sizes, vectors = torch.linalg.eigh(damped(factor, rho))
    if rho > 0:
        return (vectors / sizes) @ vectors.T
    # A factor is a sum over examples, so zero is off by more than the last digit, and by how much depends on the processor.
    zero = sizes <= torch.finfo(sizes.dtype).eps ** 0.75 * sizes[-1]
    if int(zero.sum()) > empty:
        raise ValueError(
            f"{what} is singular, {int(zero.sum())} of its {len(sizes)} eigenvalues are zero, so it has no inverse with "
            "rho=0; give rho > 0"
        )
    return (vectors[:, ~zero] / sizes[~zero]) @ vectors[:, ~zero].T


def output_inverse(outputs: Tensor, rho: float) -> Tensor:
    """(K, K) Ĝ⁻¹; with ρ = 0 on the range of G, where every gradient of cross-entropy lies."""
    return inverse(outputs, rho, "G", empty=int(len(outputs) > 1))


@dataclass(frozen=True, eq=False)
class Preconditioned:
    """From a gradient V to Ĝ⁻¹ V Ŝ⁻¹, or to V divided by a damped diagonal; the bias is the last column of V.

    Attributes:
        left: (K, K) Ĝ⁻¹, or None for the identity.
        right: (D, D) Ŝ⁻¹, or None for the identity.
        divisor: (K, D) by which each entry is divided, or None.
    """

    left: Tensor | None = None
    right: Tensor | None = None
    divisor: Tensor | None = None

    def __call__(self, gradient: Gradient) -> Gradient:
        """The direction, part by part."""
        return by_matrix(gradient, self.solved)

    def solved(self, matrix: Tensor) -> Tensor:
        """Of one (K, D) matrix, in its own precision."""
        matrix = matrix if self.left is None else self.left.to(matrix) @ matrix
        matrix = matrix if self.right is None else matrix @ self.right.to(matrix)
        return matrix if self.divisor is None else matrix / self.divisor.to(matrix)

    def like(self, given: Tensor) -> Preconditioned:
        """The same in the precision and on the device of ``given``: what is called often is held so."""
        held = {name: getattr(self, name) for name in ("left", "right", "divisor")}
        return replace(self, **{name: value.to(given) for name, value in held.items() if value is not None})


def _both(parts: dict[str, Tensor], rho: float) -> Preconditioned:
    return Preconditioned(output_inverse(parts["G"], rho), inverse(parts["S"], rho))


def _inputs(parts: dict[str, Tensor], rho: float) -> Preconditioned:
    return Preconditioned(right=inverse(parts["S"], rho))


def _diagonal(parts: dict[str, Tensor], rho: float) -> Preconditioned:
    whole = parts["diagonal"]
    divisor = (whole / _scale(whole.flatten()) + rho) / (1 + rho)
    if not (divisor > 0).all():
        raise ValueError(
            f"the diagonal is zero at {int((divisor <= 0).sum())} of {divisor.numel()} entries, so rho=0 divides by zero; "
            "give rho > 0"
        )
    return Preconditioned(divisor=divisor)


# Which means a preconditioner is made of, and how, by the name of the setting.
FACTORS: dict[str, tuple[tuple[str, ...], Make]] = {
    "both": (("S", "G"), _both),
    "inputs": (("S",), _inputs),
    "diagonal": (("diagonal",), _diagonal),
}


def by_matrix(gradient: Gradient, change: Matrices) -> Gradient:
    """A map of (K, D) matrices, on the gradient of one layer whose bias, where it has one, is the last column."""
    weight, *bias = gradient.values()
    made = change(torch.cat([weight, bias[0][:, None]], 1) if bias else weight)
    return dict(zip(gradient, [made[:, :-1], made[:, -1]] if bias else [made]))


def kronecker_inverse(errors: Tensor, inputs: Tensor, damping: float) -> Matrices:
    """From V (K, D) to (S ⊗ A + λ)⁻¹ V for S (K, K) and A (D, D), both diagonalised; a negative eigenvalue counts as 0."""
    (sizes, across), (lengths, along) = torch.linalg.eigh(errors), torch.linalg.eigh(inputs)
    scale = sizes.clamp_min(0)[:, None] * lengths.clamp_min(0) + damping
    return lambda given: across @ ((across.T @ given @ along) / scale) @ along.T
