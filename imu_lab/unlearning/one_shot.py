"""One step to where the retrained model should be, solved for and not searched; then the method has done all it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..features.gauss_newton import curvature_of
from ..features.gradients import Gradient, Preconditioner, gradients_of
from ..features.kronecker import by_matrix, kronecker_inverse
from ..features.layered import Layered, by_layer
from ..features.statistics import MATRIX, Statistics, means_of
from ..influences.curvature import RHO
from ..influences.exact import by_cholesky, on_vectors
from ..tasks.evaluation import mean_loss
from ..tasks.protocol import Task
from .objectives import length
from .request import Request, Update

FORMS = {"both": ("S", "G"), "exact": (MATRIX,)}


@dataclass(frozen=True)
class OneShot:
    """The settings of a step that is solved for: how its curvature is damped, and in which form it is taken."""

    follows_losses: ClassVar[bool] = False
    takes_weights: ClassVar[bool] = False  # a sample with the whole set's share would be left out many times over

    rho: float = knob(0.1, **RHO | {"valid": "(0, inf)"})
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

    def solver(self, task: Task, model: nn.Module, request: Request) -> Preconditioner:
        """From a gradient to the inverse of what the step is to hold still, times it."""
        raise NotImplementedError

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        """The step, and no more: of a run that goes on with another one what is left of it."""
        left = max(1, self.pieces - request.made)
        step = {name: part / left for name, part in self._ahead(task, model, request).items()}
        values, positions = readout.parameters(model, readout.resolve(task, model)), torch.arange(len(request.forget))
        for _ in range(left):
            gradient = _mean_gradient(task, model, request)
            terms = {"ascent": -mean_loss(task, model, request.forget), "ascent_gradient": length(gradient.values())}
            with torch.no_grad():
                for name, value in values.items():
                    value += step[name].to(value)
            yield Update(terms | {"update_norm": length(step.values())}, positions, request.weights)

    def _ahead(self, task: Task, model: nn.Module, request: Request) -> Gradient:
        """From where the model is to where the step leads, which is solved for at the model that it began with."""
        if request.original is None:
            return self.step(task, model, request)
        start, now = (readout.parameters(each, readout.resolve(task, each)) for each in (request.original, model))
        whole = self.step(task, request.original, request)
        return {name: start[name].detach() + part - now[name].detach() for name, part in whole.items()}

    def step(self, task: Task, model: nn.Module, request: Request) -> Gradient:
        """The whole of it."""
        solve = self.solver(task, model, request)
        share = len(request.forget) / request.statistics.examples
        return {name: share * part for name, part in solve(_mean_gradient(task, model, request)).items()}


def _mean_gradient(task: Task, model: nn.Module, request: Request) -> Gradient:
    """ḡ_F."""
    return gradients_of(task, model).mean(request.forget)


@method("influence-step")
@dataclass(frozen=True)
class InfluenceStep(OneShot):
    """θ + (n_f/N) (H + λ)⁻¹ ḡ_F: the model without the forget set, to first order in its share of the training set.

    H is the Gauss-Newton matrix of the training set at the original, handed over as a statistic; λ = ρ tr H / P. It is one
    update, or one in pieces, after which the run ends. Of a readout of several layers, each linear layer and convolution has a
    block of its own with its own λ, and what else could move stays. Blocks know nothing of each other, and each makes the whole
    change: on several layers of the digits network the step overshoots, and wants a larger ρ, or pieces and a goal.

    Source: Koh & Liang 2017 (arXiv 1703.04730); as unlearning Warnecke et al. 2021 (arXiv 2108.11577).
    """

    def solver(self, task: Task, model: nn.Module, request: Request) -> Preconditioner:
        """(H + λ)⁻¹."""
        held = request.statistics.only(self.needs_statistics)
        if self.factors == "exact":
            return _by_matrix(held.part(MATRIX), self.rho * _mean(held.part(MATRIX)))
        return _by_factors(
            {layer: DampedBlock(**each, damping=_damping(each, self.rho)) for layer, each in _blocks(held.parts)}
        )


@method("newton-step")
@dataclass(frozen=True)
class NewtonStep(OneShot):
    """θ + (n_f/N) (H − H_F + λ)⁻¹ ḡ_F, H_F the forget set's share of H: one Newton step on the retain set's loss.

    H − H_F is the retain set's part of H, had without its data: H is a statistic, and H_F = (1/N) Σ_F J_iᵀ ∇²ℓ_i J_i comes
    from the forget set. λ = ρ tr H / P. With ``factors="both"`` the forget set is taken out of each of the two factors: on
    classes of digits that goes less far astray than the matrix itself, which is almost flat where a whole class is taken out.

    Source: Guo et al. 2020 (arXiv 1911.03030); with a stored H, WIN-U (arXiv 2604.13438).
    """

    def solver(self, task: Task, model: nn.Module, request: Request) -> Preconditioner:
        """(H − H_F + λ)⁻¹."""
        held, forget = request.statistics.only(self.needs_statistics), request.forget
        if self.factors == "exact":
            mine = curvature_of(task, model, forget).matrix().cpu()
            left = held.part(MATRIX) - len(forget) / held.examples * mine
            return _by_matrix(left, self.rho * _mean(held.part(MATRIX)))
        mine, rows = means_of(gradients_of(task, model), forget, self.needs_statistics)
        return _by_factors(_without(held, mine, rows, self.rho))


class DampedBlock(NamedTuple):
    """One layer's block of a curvature, S ⊗ G, and what is added to it."""

    S: Tensor
    G: Tensor
    damping: float

    def solved(self, given: Tensor) -> Tensor:
        """(S ⊗ G + λ)⁻¹ of a (K, D) matrix."""
        return kronecker_inverse(self.G, self.S, self.damping)(given.to(self.S)).to(given)


def _without(held: Statistics, mine: Mapping[str, Tensor], rows: int, rho: float) -> dict[str, DampedBlock]:
    """What is left of each layer's factors without the forget set's rows, and of the whole set's damping.

    Both are means over the rows left, which are so many of all: by that share their product is smaller.
    """
    left, forget = held.rows - rows, dict(_blocks(mine))
    if left <= 0:
        raise ValueError(
            f"nothing is left of the {held.rows} rows of the statistic without the {rows} of the forget set"
        )
    found = {}
    for layer, whole in _blocks(held.parts):
        rest = {name: (held.rows * part - rows * forget[layer][name].cpu()) / left for name, part in whole.items()}
        found[layer] = DampedBlock(rest["S"], left / held.rows * rest["G"], _damping(whole, rho))
    return found


def _blocks(parts: Mapping[str, Tensor]) -> Iterable[tuple[str, Mapping[str, Tensor]]]:
    """S and G by the layer's name; of a readout that is one linear layer by none."""
    return (by_layer(parts) or {"": parts}).items()


def _mean(matrix: Tensor) -> float:
    """The mean eigenvalue."""
    return matrix.diagonal().mean().item()


def _damping(whole: Mapping[str, Tensor], rho: float) -> float:
    """λ of one layer's block, ρ times its mean eigenvalue."""
    return rho * _mean(whole["S"]) * _mean(whole["G"])


def _by_matrix(matrix: Tensor, damping: float) -> Preconditioner:
    factor, failed = torch.linalg.cholesky_ex(matrix + damping * torch.eye(len(matrix)).to(matrix))
    if failed:
        raise ValueError(f"the curvature plus λ={damping:.3g} is not positive definite; give a larger rho")
    return on_vectors(by_cholesky(factor))


def _by_factors(blocks: Mapping[str, DampedBlock]) -> Preconditioner:
    if "" in blocks:
        return lambda gradient: by_matrix(gradient, blocks[""].solved)
    return Layered(blocks, rest=0.0)
