"""Influence under the full curvature of the readout: the comparator for all cheaper ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import estimator
from ..features import readout
from ..features.gauss_newton import dense, product, unflat
from ..features.gradients import Preconditioner, flat, gradients_of
from ..tasks.protocol import Examples, Task

DENSE_LIMIT = 6_000  # parameters: a matrix of 288 MB in double precision


@estimator("exact")
@dataclass(frozen=True)
class GaussNewton:
    """I_i = −g_iᵀ (H + λ)⁻¹ ḡ, H = mean Jᵀ ∇²ℓ J, the Gauss-Newton matrix of the loss over the readout's parameters.

    For a linear head and cross-entropy H is the Hessian itself. Up to 6,000 parameters H is built and factored
    by Cholesky; above, the system is solved by conjugate gradients. With ``curvature="train"`` H is over the training
    set, which unlearning without retain data does not have: that is for ground truth.

    Source: Koh & Liang 2017 (arXiv 1703.04730), influence; Martens 2020 (arXiv 1412.1193), Gauss-Newton.
    """

    damping: float = knob(1e-2, help="λ, added to the curvature.", valid="(0, inf)", range=(1e-6, 1e2), scale="log")
    curvature: str = knob("forget", help="The examples whose curvature counts.", choices=("forget", "train", "retain"))
    tolerance: float = knob(1e-10, help="Relative residual at which conjugate gradients stop.", valid="(0, 1)")

    @property
    def needs_retain(self) -> bool:
        """Whether training data beyond the forget set is used."""
        return self.curvature != "forget"

    def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Tensor:
        """(n,) influence of each forget example on the target's mean loss; negative means ascend."""
        gradients, precondition = gradients_of(task, model), self.preconditioner(task, model, forget)
        return -gradients.along(forget, precondition(gradients.mean(target)))

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient to (H + λ)⁻¹ of it."""
        over = task.split(self.curvature) if self.needs_retain else forget
        count = sum(value.numel() for value in readout.parameters(model, readout.resolve(task, model)).values())
        solve = self._by_factor(task, model, over) if count <= DENSE_LIMIT else self._by_products(task, model, over)
        return lambda gradient: unflat(solve(flat(gradient)), gradient)

    def _by_factor(self, task: Task, model: nn.Module, over: Examples) -> Callable[[Tensor], Tensor]:
        matrix = dense(task, model, over)
        matrix.diagonal().add_(self.damping)
        factor = torch.linalg.cholesky(matrix)
        return lambda vector: torch.cholesky_solve(vector[:, None].to(factor), factor)[:, 0].to(vector)

    def _by_products(self, task: Task, model: nn.Module, over: Examples) -> Callable[[Tensor], Tensor]:
        apply = product(task, model, over)
        return lambda vector: conjugate_gradients(lambda v: apply(v) + self.damping * v, vector, self.tolerance)


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], vector: Tensor, tolerance: float, most: int = 1_000
) -> Tensor:
    """x with A x = b for a symmetric positive definite A, given as a product (Hestenes & Stiefel 1952).

    Raises:
        ArithmeticError: no convergence within ``most`` products; more damping helps.
    """
    solved, residual = torch.zeros_like(vector), vector.clone()
    direction, size = residual.clone(), residual.dot(residual)
    enough = max(tolerance, 4 * torch.finfo(vector.dtype).eps) ** 2 * size
    for _ in range(most):
        if size <= enough:
            return solved
        moved = apply(direction)
        step = size / direction.dot(moved)
        solved, residual = solved + step * direction, residual - step * moved
        size, before = residual.dot(residual), size
        direction = residual + size / before * direction
    raise ArithmeticError(f"conjugate gradients did not converge in {most} products; use more damping")
