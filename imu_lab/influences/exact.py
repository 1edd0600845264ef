"""Influence under the full curvature of the readout: the comparator for all cheaper ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features.gauss_newton import DENSE_LIMIT, HeadCurvature, NetworkCurvature, curvature_of, unflat
from ..features.gradients import Preconditioner, flat
from ..tasks.protocol import Examples, Task
from .contract import ByPreconditioner

AT_ONCE = 20  # products below which the matrix is formed without trying anything else
MOST = 1_000  # products for one vector where no matrix fits
ROUGH = 1e-4  # relative residual of a solve in single precision, refined in double
FINE = 1e-8  # relative residual in double precision where the model is in single


@estimator("exact")
@dataclass(frozen=True)
class GaussNewton(ByPreconditioner):
    """I_i = −g_iᵀ (H + λ)⁻¹ ḡ, H = mean Jᵀ ∇²ℓ J, the Gauss-Newton matrix of the loss over the readout's parameters.

    For a linear head and cross-entropy H is the Hessian itself. The system is solved by conjugate gradients; where they
    take more than H costs to form, and it has up to 6,000 rows, it is factored by Cholesky. With ``curvature="train"``
    H is over the training set, which unlearning without retain data does not have: that is for ground truth.

    Source: Koh & Liang 2017 (arXiv 1703.04730), influence; Martens 2020 (arXiv 1412.1193), Gauss-Newton.
    """

    damping: float = knob(1e-2, help="λ, added to the curvature.", valid="(0, inf)", range=(1e-6, 1e2), scale="log")
    curvature: str = knob("forget", help="The examples whose curvature counts.", choices=("forget", "train", "retain"))
    tolerance: float = knob(1e-10, help="Relative residual at which conjugate gradients stop.", valid="(0, 1)")

    @property
    def needs_retain(self) -> bool:
        """Whether training data beyond the forget set is used."""
        return self.curvature != "forget"

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient to (H + λ)⁻¹ of it."""
        over = task.split(self.curvature) if self.needs_retain else forget
        return on_vectors(Solver(curvature_of(task, model, over), self.damping, self.tolerance))


class Solver:
    """x with (H + λ) x = b: by conjugate gradients until they have cost what forming and factoring H does, then by that.

    So however many vectors come, and however badly conditioned H is, it costs at most twice the cheaper way.
    """

    def __init__(self, curvature: HeadCurvature | NetworkCurvature, damping: float, tolerance: float) -> None:
        self.curvature, self.damping, self.tolerance = curvature, damping, tolerance
        self.spent = 0
        self._likeness: Callable | None = None
        self._factor: Tensor | None = None

    def __call__(self, vector: Tensor) -> Tensor:
        """(P,) x for b = ``vector``.

        Raises:
            ArithmeticError: no solution was found; more damping helps.
        """
        if not torch.isfinite(vector).all():
            return torch.full_like(vector, torch.nan)
        fits = len(vector) <= DENSE_LIMIT
        budget = self.curvature.forming - self.spent if fits else MOST
        if self._factor is None and budget >= (AT_ONCE if fits else 1):
            found = self._iterated(vector, int(budget))
            if found is not None:
                return found
        if not fits:
            raise ArithmeticError(f"conjugate gradients did not converge in {int(budget)} products; use more damping")
        return by_cholesky(self._factored())(vector)

    def _iterated(self, vector: Tensor, budget: int) -> Tensor | None:
        """By conjugate gradients, in single precision refined by residuals in double; None where the budget ended."""
        if self._likeness is None:
            self._likeness = self.curvature.likeness(self.damping) or (lambda residual: residual)
        if vector.dtype is torch.float64 or not self.curvature.precise:
            return self._solved(vector, self.tolerance, budget)
        right = residual = vector.double()
        found, size, end = torch.zeros_like(right), right.norm(), self.spent + budget
        while (left := residual.norm()) > max(self.tolerance, FINE) * size:
            step = self._solved((residual / left).to(vector), ROUGH, end - self.spent)
            if step is None:
                return None
            found = found + left * step.double()
            residual = right - self._damped(found)
            self.spent += 2  # in double precision
            if residual.norm() > left / 2:
                return None  # single precision leads nowhere
        return found.to(vector)

    def _solved(self, vector: Tensor, tolerance: float, budget: int) -> Tensor | None:
        found, taken = conjugate_gradients(self._damped, vector, tolerance, budget, self._likeness)
        self.spent += taken
        return found

    def _damped(self, vector: Tensor) -> Tensor:
        return self.curvature.times(vector) + self.damping * vector

    def _factored(self) -> Tensor:
        if self._factor is None:
            matrix = self.curvature.matrix()
            matrix.diagonal().add_(self.damping)
            self._factor, failed = torch.linalg.cholesky_ex(matrix)
            if failed:
                raise ArithmeticError(
                    f"the curvature plus a damping of {self.damping:g} is not positive definite; use more damping"
                )
        return self._factor


def by_cholesky(factor: Tensor) -> Callable[[Tensor], Tensor]:
    """From a vector b (P,) to the x with L Lᵀ x = b, in the precision of the factor L."""
    return lambda vector: torch.cholesky_solve(vector[:, None].to(factor), factor)[:, 0].to(vector)


def on_vectors(solve: Callable[[Tensor], Tensor]) -> Preconditioner:
    """A map of (P,) vectors, on gradients part by part."""
    return lambda gradient: unflat(solve(flat(gradient)), gradient)


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    vector: Tensor,
    tolerance: float,
    most: int,
    likeness: Callable[[Tensor], Tensor] = lambda residual: residual,
) -> tuple[Tensor | None, int]:
    """x with A x = b for a symmetric positive definite A, given as a product (Hestenes & Stiefel 1952).

    Args:
        apply, vector: A and b.
        tolerance: of ‖b − A x‖ / ‖b‖, as far as the precision of b goes.
        most: products allowed.
        likeness: about A⁻¹, symmetric and positive definite.

    Returns:
        x, or None where ``most`` products were not enough or A is not positive definite; and how many were made.
    """
    found, residual = torch.zeros_like(vector), vector
    enough = max(tolerance, 4 * torch.finfo(vector.dtype).eps) ** 2 * vector.dot(vector)
    direction = shaped = likeness(residual)
    size = residual.dot(shaped)
    for taken in range(most + 1):
        if residual.dot(residual) <= enough:
            return found, taken
        if taken == most:
            break
        moved = apply(direction)
        if not (bend := direction.dot(moved)) > 0:
            return None, taken + 1
        step = size / bend
        found, residual = found + step * direction, residual - step * moved
        shaped = likeness(residual)
        size, before = residual.dot(shaped), size
        direction = shaped + size / before * direction
    return None, most
