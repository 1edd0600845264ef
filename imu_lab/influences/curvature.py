"""Influence along a direction that bends with the loss: by Kronecker factors of the readout, or by its whole curvature.

The same preconditioner turns the gradient of ``curvature-ascent``: so these influences say which samples its step listens to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.messages import listed
from ..core.registry import estimator
from ..features.gauss_newton import DENSE_LIMIT, HeadCurvature, NetworkCurvature, curvature_of, trace_of
from ..features.gradients import Preconditioner, gradients_of
from ..features.kronecker import FACTORS, advising, damped
from ..features.layered import Layered, by_layer
from ..features.statistics import MATRIX, Statistics, collect, means_of
from ..tasks.protocol import Examples, Task
from .contract import ByPreconditioner
from .exact import Solver, by_cholesky, on_vectors

EXACT = "exact"
TOLERANCE = 1e-8  # relative residual of conjugate gradients, where the matrix is too large to be factored

# What each thing that works with curvature is set by: rho: float = knob(0.1, **RHO)
RHO = {
    "help": "ρ: damping, in units of the curvature's mean eigenvalue; the larger, the less directions differ.",
    "valid": "[0, inf)",
    "range": (1e-3, 1e3),
    "scale": "log",
}
CURVATURE = {
    "help": "Whose curvature: the training set's, of which a statistic is enough, or the forget set's.",
    "choices": ("train", "forget"),
}


@dataclass(frozen=True)
class Curved:
    """The settings of whatever is preconditioned by curvature: in which units it is damped, and in which form it is taken.

    The curvature M is taken relative to its mean eigenvalue m, (M/m + ρ I)/(1 + ρ), each factor by itself; as ρ grows, it
    tends to the identity. Of a readout of several layers, each linear layer and convolution has its own factors, and what else
    moves, such as the scales of a normalisation, follows its plain gradient.
    """

    rho: float = knob(0.1, **RHO)
    factors: str = knob(
        "both",
        help="S of the inputs and G of the outputs, S alone, a diagonal, or the exact Gauss-Newton matrix.",
        choices=(*FACTORS, EXACT),
    )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of a statistic that this needs."""
        return (MATRIX,) if self.factors == EXACT else FACTORS[self.factors][0]

    def of_statistic(self, statistics: Statistics) -> Preconditioner:
        """From a gradient to the inverse curvature of the training set times it.

        Raises:
            ValueError: the statistic lacks a part, or the curvature has no inverse.
        """
        if self.factors == EXACT:
            return dense_inverse(statistics.part(MATRIX), self.rho)
        return self._made(statistics.only(self.parts).parts)

    def of_examples(self, task: Task, model: nn.Module, examples: Examples) -> Preconditioner:
        """The same, with the curvature of some examples.

        Raises:
            ValueError: this readout or this loss has no such factors, or the curvature has no inverse.
        """
        if self.factors == EXACT:
            curvature = curvature_of(task, model, examples)
            few = curvature.size <= DENSE_LIMIT
            return dense_inverse(curvature.matrix(), self.rho) if few else iterated_inverse(curvature, self.rho)
        with advising(self):
            parts, _ = means_of(gradients_of(task, model), examples, self.parts)
        return self._made(parts)

    def _made(self, parts: Mapping[str, Tensor]) -> Preconditioner:
        """From means of one linear layer, or of each of several layers."""
        make, layers = FACTORS[self.factors][1], by_layer(parts)
        if not layers:
            return make(dict(parts), self.rho)
        if not self.rho > 0:
            raise ValueError(
                f"the factors of {listed(list(layers))} may have no inverse with rho=0, and are not looked at one by one; give "
                "rho > 0"
            )
        return Layered({name: make(each, self.rho) for name, each in layers.items()})


@estimator("curvature")
@dataclass(frozen=True)
class CurvatureInfluence(ByPreconditioner, Curved):
    """I_i = −g_iᵀ M⁻¹ ḡ with M⁻¹ ḡ = Ĝ⁻¹ ḡ Ŝ⁻¹: how much the step of ``curvature-ascent`` listens to each sample.

    Ŝ and Ĝ are the damped factors of :mod:`imu_lab.features.kronecker`. Beside ``dot``, which is the same for the plain
    step, it shows who is heard more. With ``curvature="train"`` the factors are over the training set, as those of the
    method are by its default.

    Source: K-FAC (Martens & Grosse 2015, arXiv 1503.05671), with the curvature of the loss itself.
    """

    curvature: str = knob("forget", **CURVATURE)

    def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Preconditioner:
        """From a gradient ḡ to M⁻¹ ḡ."""
        if self.curvature == "forget":
            return self.of_examples(task, model, forget)
        with advising(self):
            held = collect(task, model, task.split("train"), self.parts)
        return self.of_statistic(held)


def dense_inverse(matrix: Tensor, rho: float) -> Preconditioner:
    """From a gradient to (H/h̄ + ρ I)⁻¹ (1 + ρ) of it, for a matrix H (P, P) that is factored once.

    Raises:
        ValueError: it has no inverse.
    """
    factor, failed = torch.linalg.cholesky_ex(damped(matrix, rho))
    least, most = factor.diagonal().min(), factor.diagonal().max()
    if failed or not least > len(matrix) * torch.finfo(factor.dtype).eps ** 0.5 * most * 1e-3:
        raise ValueError(
            f"the Gauss-Newton matrix of {len(matrix)} parameters plus rho={rho:g} is singular: cross-entropy does not change "
            "where all outputs of a linear layer rise alike; give a larger rho"
        )
    return on_vectors(by_cholesky(factor))


def iterated_inverse(curvature: HeadCurvature | NetworkCurvature, rho: float) -> Preconditioner:
    """The same for an H too large to be formed: by conjugate gradients, with h̄ estimated.

    Raises:
        ValueError: ρ = 0, with which there is nothing to converge to.
    """
    if not rho > 0:
        raise ValueError(
            "conjugate gradients need a positive definite curvature, and with rho=0 it has none; give rho > 0"
        )
    scale = trace_of(curvature) / curvature.size
    solve = Solver(curvature, rho * scale, TOLERANCE)
    return on_vectors(lambda vector: scale * (1 + rho) * solve(vector))
