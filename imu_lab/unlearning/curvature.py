"""Ascent along a direction that curvature allows: the forget set's loss rises where other answers change least."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.knobs import knob
from ..core.registry import method
from ..features import readout
from ..features.gradients import Preconditioner
from ..features.kronecker import Preconditioned
from ..features.layered import Layered
from ..influences.curvature import CURVATURE, Curved
from ..tasks.protocol import Task
from .ascent import Weighted, ascend
from .objectives import Turn, moving_parameters
from .request import Request, Update


@method("curvature-ascent")
@dataclass(frozen=True)
class CurvatureAscent(Curved, Weighted):
    """Weighted ascent, preconditioned: W ← W + η Ĝ⁻¹ ∇ℓ̄_F Ŝ⁻¹, the gradient refreshed at each update, the factors not.

    Ŝ and Ĝ are the damped factors of the original's curvature (:mod:`imu_lab.features.kronecker`), so a step goes where the
    answers to other samples change least. As ρ grows it is gradient ascent. With ``curvature="train"`` they come from a
    statistic of the training set (:func:`imu_lab.statistics`), with ``"forget"`` from the forget set alone. Weight decay and
    momentum act as everywhere.

    Source: K-FAC (Martens & Grosse 2015, arXiv 1503.05671); as ascent, K-FADE (arXiv 2602.10568).
    """

    follows_losses: ClassVar[bool] = False
    plain_steps: ClassVar[bool] = False

    curvature: str = knob("train", **CURVATURE)

    @property
    def needs_statistics(self) -> tuple[str, ...]:
        """What this works from beside the forget set."""
        return self.parts if self.curvature == "train" else ()

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        turned = turn(self.direction(task, model, request), task, model)
        return ascend(self, task, model, moving_parameters(task, model), request, turned)

    def direction(self, task: Task, model: nn.Module, request: Request) -> Preconditioner:
        """From a gradient to the direction followed in its place."""
        if self.curvature == "train":
            return self.of_statistic(request.statistics)
        return self.of_examples(task, model, request.forget)


ALIGNED = 16  # numbers; where a matrix has rows of a multiple of it, a product with it takes a tenth less


def turn(precondition: Preconditioner, task: Task, model: nn.Module) -> Turn:
    """A preconditioner of named gradients, for :func:`descend`."""
    values = readout.parameters(model, readout.resolve(task, model))
    if isinstance(precondition, (Preconditioned, Layered)):
        precondition = precondition.like(next(iter(values.values())))
    if isinstance(precondition, Preconditioned) and precondition.right is not None:
        return _turn_of_one_layer(precondition)

    def turned(gradient: list[Tensor | None]) -> Sequence[Tensor | None]:
        whole = (torch.zeros_like(value) if part is None else part for value, part in zip(values.values(), gradient))
        made = precondition(dict(zip(values, whole))).values()
        return [None if part is None else after for part, after in zip(gradient, made)]

    return turned


def _turn_of_one_layer(precondition: Preconditioned) -> Turn:
    """The same of one linear layer by its factors, in a buffer that is made once: an update is little more than a product."""
    size, left = len(precondition.right), precondition.left
    wide = -(-size // ALIGNED) * ALIGNED
    right = precondition.right.new_zeros(wide, wide)
    right[:size, :size] = precondition.right
    held: list[Tensor] = []

    def turned(gradient: list[Tensor | None]) -> Sequence[Tensor | None]:
        weight, *bias = gradient
        if weight is None:  # the loss depends on nothing here
            return gradient
        held[:] = held or [weight.new_zeros(len(weight), wide)]
        inputs = weight.shape[1]
        held[0][:, :inputs] = weight
        for part in bias:
            held[0][:, inputs] = part
        whole = held[0] @ right if left is None else left @ (held[0] @ right)
        return [whole[:, :inputs], *(whole[:, inputs] for _ in bias)]

    return turned
