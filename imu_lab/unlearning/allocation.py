"""Joint allocation: who gets how much of the pressure, all samples weighed together and not one by one.

The weights w ≥ 0 that raise the forget set's loss most for the damage they do, to second order::

    w* = argmin ½ wᵀ Q w − wᵀ t,    Q_ij = ⟨g_i, Ĝ g_j Ŝ⟩ + ridge · 1[i = j],    t_i = ⟨g_i, ḡ⟩

g_i = Σ_t δ_it ⊗ a_it (K, D) is a sample's gradient, ḡ their mean, and Ŝ, Ĝ the damped Kronecker factors of a curvature
(:mod:`imu_lab.features.kronecker`). t is what pressing a sample gains, Q what two samples damage together, so samples that
would damage the same things share one part. With one prediction per sample Q = (A Ŝ Aᵀ) ∘ (Δ Ĝ Δᵀ), t = row means of
(A Aᵀ) ∘ (Δ Δᵀ). No g_i is ever formed, and Q at most for a few hundred samples: Q w takes two products with the rows a and
δ, for sequences as well.

It is solved to a given accuracy by Newton's method on the dual problem, min_V ½ ‖V‖² + ½ ‖(t − q(V))₊‖² in units of the
ridge, V (K, D) and q(V)_i = ⟨g_i, V⟩: it is smooth but for its second derivative, has no constraint, and its value bounds
how much the weights (t − q(V))₊ miss. No earlier solution is needed, so the weights depend on the model alone.

Source of the dual method: Qi & Sun 1993, "A nonsmooth version of Newton's method".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..features.layers import Outer

RIDGE = 1e-3  # in units of the mean of Q's diagonal
MOST = 100  # Newton steps; ten are usual
FEW = 600  # samples up to which a step is solved for by a matrix of their pairs: beyond, iterations are faster
MOST_INNER = 500  # steps of conjugate gradients within one, which need not be exact
INNER = 1e-2  # how much of the residual they leave, in its preconditioned norm


class Rows(NamedTuple):
    """The rows of n samples, in units in which Q is a plain product; a sample of a sequence has T of them.

    Attributes:
        errors: (K, n · T) Ĝ^½ δ.
        inputs: (D, n · T) Ŝ^½ a.
        count: n.
    """

    errors: Tensor
    inputs: Tensor
    count: int

    def along(self, direction: Tensor) -> Tensor:
        """(n,) ⟨g_i, V⟩ for V (K, D)."""
        each = ((direction @ self.inputs) * self.errors).sum(0)
        return each if len(each) == self.count else each.view(self.count, -1).sum(1)

    def summed(self, weights: Tensor) -> Tensor:
        """(K, D) Σ w_i g_i."""
        positions = self.errors.shape[1] // self.count
        weights = weights if positions == 1 else weights.repeat_interleave(positions)
        return (self.errors * weights) @ self.inputs.T

    def take(self, samples: Tensor) -> Rows:
        """Those of some samples."""
        parts = [part.view(len(part), self.count, -1)[:, samples].flatten(1) for part in self[:2]]
        return Rows(*parts, len(samples))


@dataclass(frozen=True, eq=False)
class Exchange:
    """What the samples of a forget set gain and damage together: ½ wᵀ Q w − wᵀ t is to be small.

    Attributes:
        rows: of the n samples.
        gain: (n,) t.
        ridge: what is added to Q's diagonal, 10⁻³ of its mean.
    """

    rows: Rows
    gain: Tensor
    ridge: float

    def times(self, weights: Tensor) -> Tensor:
        """(n,) Q w."""
        return self.rows.along(self.rows.summed(weights)) + self.ridge * weights

    def objective(self, weights: Tensor) -> float:
        """½ wᵀ Q w − wᵀ t."""
        return (weights @ (self.times(weights) / 2 - self.gain)).item()


def exchange(errors: Tensor, inputs: Tensor, inputs_factor: Tensor, errors_factor: Tensor) -> Exchange:
    """Q and t of some samples, in double precision.

    Args:
        errors: Δ, (n, ..., K): the derivative of each sample's loss at the logits, of one prediction or of several.
        inputs: A, (n, ..., D): the rows a, with their 1 where the layer has a bias.
        inputs_factor: (D, D) Ŝ. errors_factor: (K, K) Ĝ.
    """
    plain = Outer(*(part.double() if part.ndim == 2 else part.double().flatten(1, -2) for part in (errors, inputs)))
    mean = plain.delta.flatten(0, -2).T @ plain.inputs.flatten(0, -2) / len(errors)
    whole = Outer(plain.delta @ _root(errors_factor), plain.inputs @ _root(inputs_factor))
    diagonal = whole.weighted(torch.ones_like(mean))  # ‖Ĝ^½ g_i Ŝ^½‖²
    lying = [part.flatten(0, -2).T.contiguous() for part in whole]  # rows outermost: twice as fast
    return Exchange(Rows(*lying, len(errors)), plain.along(mean), RIDGE * diagonal.mean().item())


def _root(factor: Tensor) -> Tensor:
    """R with R Rᵀ = the positive part of a symmetric matrix."""
    sizes, vectors = torch.linalg.eigh(factor.double())
    return vectors * sizes.clamp_min(0).sqrt()


class Allocation(NamedTuple):
    """Weights, and how good they are known to be.

    Attributes:
        weights: (n,) ≥ 0; all 0 where no sample gains anything, NaN where the gradients are not finite.
        gap: the share of the best objective that they miss at most.
    """

    weights: Tensor
    gap: float


def allocate(given: Exchange, tolerance: float = 1e-6) -> Allocation:
    """The weights w ≥ 0 that minimise ½ wᵀ Q w − wᵀ t.

    Args:
        tolerance: the share of the objective that may be missed.

    Raises:
        ArithmeticError: more than a hundredth of the objective is missed after 100 Newton steps.
    """
    gain = given.gain / given.ridge if given.ridge else given.gain
    if not torch.isfinite(gain).all():
        return Allocation(torch.full_like(gain, torch.nan), float("nan"))
    if not (gain > 0).any():
        return Allocation(torch.zeros_like(gain), 0.0)
    rows = given.rows._replace(errors=given.rows.errors / given.ridge**0.5)  # in units of the ridge, which is 1 then
    value = _from_even_weights(rows, gain)
    told = rows.along(value)
    bound = _bound(value, told, gain)
    for _ in range(MOST):
        weights = (gain - told).clamp_min(0)
        made = rows.summed(weights)
        gap = 1 + (weights @ (weights / 2 - gain) + made.square().sum() / 2).item() / bound
        if gap <= tolerance:
            break
        active = weights.nonzero().flatten()
        mine = rows.take(active)
        step = _direct(mine, gain[active]) - value if _few(mine) else _iterated(mine, value - made)
        value, told, bound = _searched(rows, gain, (value, told, bound), step, value - made)
    if not gap <= 1e-2:
        raise ArithmeticError(f"the joint weights were not found: {gap:.1%} of the objective may be missing")
    return Allocation(weights, max(0.0, gap))


def _from_even_weights(rows: Rows, gain: Tensor) -> Tensor:
    """(K, D) where to start: Σ w g for the best of all even weights."""
    total = rows.summed(torch.ones_like(gain))
    return total * (gain.sum() / (total.square().sum() + len(gain))).clamp_min(0)


def _bound(value: Tensor, told: Tensor, gain: Tensor) -> float:
    """The dual's value at V: no weights reach an objective below its negative."""
    return (value.square().sum() + (gain - told).clamp_min(0).square().sum()).item() / 2


def _few(rows: Rows) -> bool:
    """Whether the samples that get a weight now are few enough for a matrix of their pairs."""
    return rows.count <= FEW and rows.errors.shape[1] == rows.count


def _direct(rows: Rows, gain: Tensor) -> Tensor:
    """(K, D) where Newton's step ends: Σ w g with Q w = t over these samples, whatever sign w has."""
    pairs = (rows.errors.T @ rows.errors) * (rows.inputs.T @ rows.inputs)
    pairs.diagonal().add_(1.0)
    return rows.summed(torch.cholesky_solve(gain[:, None], torch.linalg.cholesky(pairs))[:, 0])


def _iterated(rows: Rows, slope: Tensor) -> Tensor:
    """(K, D) about −(I + Σ g gᵀ)⁻¹ slope over these samples, which is Newton's step.

    By conjugate gradients, in the axes of mean δδᵀ and mean aaᵀ: where a and δ say nothing of each other the matrix is
    diagonal there.
    """
    errors, inputs = rows.errors, rows.inputs
    share = errors.square().sum(0)
    (sizes, across), (lengths, along) = (
        torch.linalg.eigh(errors @ errors.T),
        torch.linalg.eigh((inputs * (share / share.sum())) @ inputs.T),
    )
    likely = 1 / (1 + sizes.clamp_min(0)[:, None] * lengths.clamp_min(0))
    turned = Rows(across.T @ errors, along.T @ inputs, rows.count)
    left = -(across.T @ slope @ along)
    found, whole = torch.zeros_like(left), likely * left
    ahead = whole.clone()
    size = first = (left * whole).sum()
    for _ in range(MOST_INNER):
        moved = turned.summed(turned.along(ahead)).add_(ahead)
        length = size / (ahead * moved).sum()
        found.addcmul_(ahead, length)
        left.addcmul_(moved, -length)
        whole = likely * left
        size, before = (left * whole).sum(), size
        if size <= INNER**2 * first:
            break
        ahead.mul_(size / before).add_(whole)
    return across @ found @ along.T


def _searched(
    rows: Rows, gain: Tensor, start: tuple[Tensor, Tensor, float], step: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, float]:
    """V, q(V) and the dual's value after the step, halved until it lowers the value as its slope promises."""
    value, told, bound = start
    moved, promised, share = rows.along(step), (slope * step).sum().item(), 1.0
    while True:
        reached = value + share * step, told + share * moved
        lower = _bound(*reached, gain)
        if lower <= bound + 1e-4 * share * promised or share < 1e-9:
            return *reached, lower
        share /= 2
