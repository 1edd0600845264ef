"""One step to where the retrained model should be, solved for and not searched; then the method has done all it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..features.gauss_newton import curvature_of, unflat
from ..features.gradients import Gradient, flat, gradients_of
from ..features.kronecker import by_matrix, kronecker_inverse, moments
from ..features.statistics import MATRIX, Statistics, linear_gradients
from ..tasks.evaluation import mean_loss
from ..tasks.protocol import Task
from .objectives import length
from .request import Request, Update

FORMS = {"both": ("S", "G"), "exact": (MATRIX,)}
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class OneShot:
    """The settings of a step that is solved for: how its curvature is damped, and in which form it is taken."""

    follows_losses: ClassVar[bool] = False

    rho: float = knob(
        0.1,
        help="ρ: what is added to the curvature, in units of its mean eigenvalue.",
        valid="(0, inf)",
        range=(1e-3, 1e2),
        scale="log",
    )
    factors: str = knob(
        "both",
        help="Kronecker factors of the Gauss-Newton matrix, or the matrix itself, up to 6,000 parameters.",
        choices=tuple(FORMS),
    )

    pieces: int = knob(
        1,
        help="Walk the step in so many equal updates, so that a run can stop on its way.",
        valid="[1, inf)",
        range=(1, 50),
    )

    @property
    def updates(self) -> int:
        """After how many updates the whole step has been made, and the method ends."""
        return self.pieces

    @property
    def needs_statistics(self) -> tuple[str, ...]:
        """The curvature of the training set."""
        return FORMS[self.factors]

    def curvature(self, task: Task, model: nn.Module, request: Request) -> Parts:
        """Of what the step is to hold still, by name as in a statistic."""
        raise NotImplementedError

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        """The step, and no more."""
        step = {name: part / self.pieces for name, part in self.step(task, model, request).items()}
        values, positions = readout.parameters(model, readout.resolve(task, model)), torch.arange(len(request.forget))
        for _ in range(self.pieces):
            gradient = _mean_gradient(task, model, request)
            terms = {"ascent": -mean_loss(task, model, request.forget), "ascent_gradient": length(gradient.values())}
            with torch.no_grad():
                for name, value in values.items():
                    value += step[name].to(value)
            yield Update(terms | {"update_norm": length(step.values())}, positions, request.weights)

    def step(self, task: Task, model: nn.Module, request: Request) -> Gradient:
        """The whole of it."""
        if MATRIX not in self.needs_statistics:
            linear_gradients(task, model)  # refuses any other readout: factors of several layers are no factors of H
        solve = SOLVERS[self.factors](self.curvature(task, model, request), self.rho)
        share = len(request.forget) / request.statistics.examples
        return {name: share * part for name, part in solve(_mean_gradient(task, model, request)).items()}


def _mean_gradient(task: Task, model: nn.Module, request: Request) -> Gradient:
    """ḡ_F, by the request's weights, which sum to 1."""
    return gradients_of(task, model).mean(request.forget, request.weights * len(request.forget))


@method("influence-step")
@dataclass(frozen=True)
class InfluenceStep(OneShot):
    """θ + (n_f/N) (H + λ)⁻¹ ḡ_F: the model without the forget set, to first order in its share of the training set.

    H is the Gauss-Newton matrix of the training set at the original, handed over as a statistic; λ = ρ tr H / P. It is one
    update, after which the run ends.

    Source: Koh & Liang 2017 (arXiv 1703.04730); as unlearning Warnecke et al. 2021 (arXiv 2108.11577).
    """

    def curvature(self, task: Task, model: nn.Module, request: Request) -> Parts:
        """H of the training set."""
        return {name: request.statistics.part(name) for name in self.needs_statistics}


@method("newton-step")
@dataclass(frozen=True)
class NewtonStep(OneShot):
    """θ + (n_f/N) (H − H_F + λ)⁻¹ ḡ_F, H_F the forget set's share of H: one Newton step on the retain set's loss.

    H − H_F is the retain set's part of H, had without its data: H is a statistic, and H_F = (1/N) Σ_F J_iᵀ ∇²ℓ_i J_i comes
    from the forget set. λ = ρ tr H / P. With ``factors="both"`` the forget set is taken out of each of the two factors: on
    classes of digits that goes less far astray than the matrix itself, which is almost flat where a whole class is taken out.

    Source: Guo et al. 2020 (arXiv 1911.03030); with a stored H, WIN-U (arXiv 2604.13438).
    """

    def curvature(self, task: Task, model: nn.Module, request: Request) -> Parts:
        """H − H_F, and of H its mean eigenvalue."""
        return WITHOUT[self.factors](task, model, request, request.statistics)


def _matrix_without(task: Task, model: nn.Module, request: Request, held: Statistics) -> Parts:
    whole, mine = held.part(MATRIX), curvature_of(task, model, request.forget).matrix().cpu()
    return {MATRIX: whole - len(request.forget) / held.examples * mine, "scale": whole.diagonal().mean()}


def _factors_without(task: Task, model: nn.Module, request: Request, held: Statistics) -> Parts:
    """Of the retain set: what is left of the sums; and its share of H, by which the product of the two is smaller."""
    mine, rows = moments(linear_gradients(task, model), request.forget)
    left = held.rows - rows
    if left <= 0:
        raise ValueError(
            f"nothing is left of the {held.rows} rows of the statistic without the {rows} of the forget set"
        )
    found = {name: (held.rows * held.part(name) - rows * mine[name].cpu()) / left for name in ("S", "G")}
    scale = held.part("S").diagonal().mean() * held.part("G").diagonal().mean()
    return {"S": found["S"], "G": left / held.rows * found["G"], "scale": scale}


WITHOUT: dict[str, Callable[[Task, nn.Module, Request, Statistics], Parts]] = {
    "exact": _matrix_without,
    "both": _factors_without,
}


def _by_matrix(parts: Parts, rho: float) -> Callable[[Gradient], Gradient]:
    matrix = parts[MATRIX].clone()
    scale = parts.get("scale", matrix.diagonal().mean())
    matrix.diagonal().add_(rho * scale)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise ValueError(f"the curvature with rho={rho:g} is not positive definite; give a larger rho")
    return lambda gradient: unflat(
        torch.cholesky_solve(flat(gradient)[:, None].to(factor), factor)[:, 0].to(flat(gradient)), gradient
    )


def _by_factors(parts: Parts, rho: float) -> Callable[[Gradient], Gradient]:
    scale = parts.get("scale", parts["S"].diagonal().mean() * parts["G"].diagonal().mean())
    solved = kronecker_inverse(parts["G"], parts["S"], rho * scale.item())
    return lambda gradient: by_matrix(gradient, lambda given: solved(given.to(parts["S"])).to(given))


SOLVERS: dict[str, Callable[[Parts, float], Callable[[Gradient], Gradient]]] = {
    "exact": _by_matrix,
    "both": _by_factors,
}
