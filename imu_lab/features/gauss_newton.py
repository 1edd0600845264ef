"""The Gauss-Newton matrix of a task's loss over its readout, H = (1/n) Σ J_iᵀ ∇²ℓ_i J_i: as products, and as a matrix.

Of one linear layer it has a closed form: J_i v = V a_i, so a product with a vector is two matrix products with what
reaches the layer, around the loss's second derivative at the logits. Any other readout takes passes through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.messages import reason
from ..core.running import device_of, evaluating, own_modules
from ..tasks.outputs import cross_entropy_derivative, derivative_of, log_probabilities
from ..tasks.protocol import Batch, Examples, Task
from . import readout
from .gradients import Gradient, LinearGradients, flat, forward_mode, gradients_of
from .kronecker import kronecker_inverse, second_derivative, with_ones
from .layers import ROOM

DENSE_LIMIT = 6_000  # parameters: a matrix of 288 MB in double precision
SIGNS = 16  # random vectors for a trace
COLUMNS = 32  # of the matrix, computed together
WORTH = 100  # products that may be paid for a likeness of the inverse: it saves more of them where there are many

Map = Callable[[Tensor], Tensor]  # of vectors (P,), one entry per readout parameter, in the order of ``flat``


def curvature_of(task: Task, model: nn.Module, examples: Examples) -> HeadCurvature | NetworkCurvature:
    """H over these examples: in closed form where the readout is linear."""
    gradients = gradients_of(task, model)
    if isinstance(gradients, LinearGradients):
        return HeadCurvature(gradients, examples)
    return NetworkCurvature(task, model, examples)


def dense(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(P, P) H, in double precision."""
    return curvature_of(task, model, examples).matrix()


class Rows(NamedTuple):
    """Some examples as a linear layer sees them.

    Attributes:
        inputs: (c, ..., d) what reaches it.
        bend: from a change of the logits (c, ..., K) to ∇²ℓ times it, of the same shape.
        probabilities: (c, K) where ∇²ℓ = diag(p) − ppᵀ is known in closed form, else None.
    """

    inputs: Tensor
    bend: Map
    probabilities: Tensor | None


@dataclass(frozen=True, eq=False)
class HeadCurvature:
    """H = (1/n) Σ S_i ⊗ a_i a_iᵀ of one linear layer that produces the output, S_i = ∇²ℓ_i at the logits, a_i = [h_i; 1].

    Examples that fit in one chunk go through the model once and are held; of more, each product makes a pass.
    """

    gradients: LinearGradients
    examples: Examples

    precise = True  # products can be had in double precision, whatever the model's own

    @property
    def forming(self) -> float:
        """How many products cost about as much as forming and factoring the matrix."""
        return self.size / 4 * (1 + self.size / (3 * len(self.examples)))

    def times(self, vector: Tensor) -> Tensor:
        """(P,) H v, in the precision of v."""
        weight, *bias = self._split(vector)
        total: Tensor | float = 0.0
        for inputs, bend, _ in self._rows(vector.dtype):
            bent = bend(readout.product(inputs, weight, *bias)).flatten(0, -2)
            sums = [(bent.T @ inputs.flatten(0, -2)).flatten(), *([bent.sum(0)] if bias else [])]
            total = total + torch.cat(sums)
        return total / len(self.examples)

    def matrix(self) -> Tensor:
        """(P, P) H, in double precision."""
        count = self._layer.out_features
        whole = self._layer.weight.new_zeros(self.size, self.size, dtype=torch.float64)
        for inputs, bend, probabilities in self._rows(torch.float64):
            if inputs.ndim > 2:  # a loss may bind positions together
                return _by_columns(self.times, whole[0])
            second = _second(bend, probabilities, count, inputs)
            few = max(1, ROOM // (4 * self.size))
            for part, rows in zip(second.split(few), self._wide(inputs).split(few)):
                _add_blocks(whole, part, rows)
        return self._in_order(_mirrored(whole, count).div_(len(self.examples)))

    def likeness(self, damping: float) -> Map | None:
        """About (H + λ)⁻¹: with mean S ⊗ mean a aᵀ for H, a aᵀ weighted by the trace of S; None where that is not cheap.

        It is the inverse itself where S_i and a_i say nothing of each other.
        """
        count, width = self._layer.out_features, self.size // self._layer.out_features
        if 10 * (count**3 + width**3) > WORTH * 4 * len(self.examples) * self.size:
            return None
        errors, inputs, total = 0.0, 0.0, 0.0
        for given, _, probabilities in self._rows(self._layer.weight.dtype):
            if probabilities is None:
                return None
            rows, trace = self._wide(given), 1 - probabilities.square().sum(1)
            errors = errors + torch.diag(probabilities.sum(0)) - probabilities.T @ probabilities
            inputs, total = inputs + (rows * trace[:, None]).T @ rows, total + trace.sum()
        inverse = kronecker_inverse(errors / len(self.examples), inputs / total.clamp_min(1e-30), damping)
        return lambda vector: self._flat(inverse(self._joined(vector)))

    @property
    def _layer(self) -> nn.Linear:
        return self.gradients.model.get_submodule(self.gradients.name)

    @property
    def values(self) -> Gradient:
        """What H is over, by name."""
        return dict(self._layer.named_parameters())

    @property
    def size(self) -> int:
        """P, how many parameters."""
        return sum(value.numel() for value in self.values.values())

    def _split(self, vector: Tensor) -> list[Tensor]:
        """[weight (K, d), bias (K,) if there is one] from (P,)."""
        weight = self._layer.weight
        return [vector[: weight.numel()].view_as(weight), *([vector[weight.numel() :]] if self._bias else [])]

    @property
    def _bias(self) -> bool:
        return self._layer.bias is not None

    def _joined(self, vector: Tensor) -> Tensor:
        """(K, d+1) from (P,), the bias as one more column; (K, d) without one."""
        weight, *bias = self._split(vector)
        return torch.cat([weight, bias[0][:, None]], 1) if bias else weight

    def _flat(self, joined: Tensor) -> Tensor:
        return torch.cat([joined[:, :-1].flatten(), joined[:, -1]]) if self._bias else joined.flatten()

    def _wide(self, inputs: Tensor) -> Tensor:
        """(c, d+1) the rows a_i."""
        return with_ones(inputs, self._bias)

    def _in_order(self, matrix: Tensor) -> Tensor:
        """From the order of ``_joined`` to that of ``flat``."""
        order = self._flat(torch.arange(self.size, device=matrix.device).view(self._layer.out_features, -1))
        return matrix[order[:, None], order] if self._bias else matrix

    def _rows(self, dtype: torch.dtype) -> Iterable[Rows]:
        if self._held is not None and dtype is self._layer.weight.dtype:
            return self._held
        return (self._seen(inputs, batch, dtype) for inputs, batch in self._captured or self._pass())

    @cached_property
    def _held(self) -> list[Rows] | None:
        if self._captured is None:
            return None
        return [self._seen(inputs, batch, inputs.dtype) for inputs, batch in self._captured]

    @cached_property
    def _captured(self) -> list[tuple[Tensor, Batch]] | None:
        return list(self._pass()) if len(self.examples) <= self.gradients.chunk(self.examples) else None

    def _pass(self) -> Iterator[tuple[Tensor, Batch]]:
        """What reaches the layer, and the batch that it came from."""
        return ((inputs, batch) for _, batch, inputs, _ in self.gradients.captured(self.examples))

    def _seen(self, inputs: Tensor, batch: Batch, dtype: torch.dtype) -> Rows:
        inputs = inputs.to(dtype)
        outputs = readout.product(inputs, *(value.detach().to(dtype) for value in self._layer.parameters()))
        return Rows(inputs, *_bending(self.gradients.task, outputs, batch))


def trace_of(curvature: HeadCurvature | NetworkCurvature) -> float:
    """About tr H, by the products with a few random signs (Hutchinson 1990): for an H too large to be formed."""
    generator = torch.Generator().manual_seed(0)
    like, total = flat(curvature.values), 0.0
    for _ in range(SIGNS):
        signs = (2 * torch.randint(2, like.shape, generator=generator) - 1).to(like)
        total += signs.dot(curvature.times(signs)).item()
    return total / SIGNS


def _bending(task: Task, outputs: Tensor, batch: Batch) -> tuple[Map, Tensor | None]:
    """How ∇²ℓ acts on a change of the logits; and p, where it is that of cross-entropy."""
    if derivative_of(task.example_loss) is cross_entropy_derivative and outputs.shape[-1] > 1:
        likely = log_probabilities(outputs).exp_()
        return lambda change: likely * (change - (likely * change).sum(-1, keepdim=True)), likely

    def loss(made: Tensor) -> Tensor:
        return task.example_loss(lambda _: made, batch).sum()

    def bend(change: Tensor) -> Tensor:
        try:
            with forward_mode():
                return torch.func.jvp(torch.func.grad(loss), (outputs,), (change,))[1]
        except (NotImplementedError, RuntimeError):  # a loss that forward mode does not know
            return _bent_backward(task, outputs, batch, change)

    return bend, None


def _bent_backward(task: Task, outputs: Tensor, batch: Batch, change: Tensor) -> Tensor:
    """∇²ℓ times a change of the logits, by two backward passes.

    Raises:
        ValueError: the loss has no second derivative there.
    """
    try:
        return second_derivative(task, outputs, batch, change)
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(
            "the Gauss-Newton matrix is made of the loss's second derivatives at the outputs, and torch knows none of the loss "
            f'of this task ({reason(error)}); use what needs S alone, such as factors="inputs" or the estimator '
            "'fisher-diagonal'"
        ) from None


def _second(bend: Map, probabilities: Tensor | None, count: int, inputs: Tensor) -> Tensor:
    """(c, K, K) ∇²ℓ_i."""
    if probabilities is not None:
        return torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]
    units = torch.eye(count, dtype=inputs.dtype, device=inputs.device)
    return torch.stack([bend(unit.expand(len(inputs), -1)) for unit in units], 2)


def _add_blocks(whole: Tensor, second: Tensor, rows: Tensor) -> None:
    """Add Σ S_i ⊗ a_i a_iᵀ to ``whole``: the blocks of each output with itself and with those after it."""
    width = rows.shape[1]
    for k in range(second.shape[1]):
        wide = (second[:, k, k:, None] * rows[:, None, :]).flatten(1)  # (c, (K - k) D)
        whole[k * width : (k + 1) * width, k * width :].addmm_(rows.T, wide)


def _mirrored(whole: Tensor, count: int) -> Tensor:
    """The blocks below the diagonal filled in from those above it."""
    width = len(whole) // count
    for k in range(count):
        here, after = slice(k * width, (k + 1) * width), slice((k + 1) * width, None)
        whole[after, here] = whole[here, after].T
    return whole


@dataclass(frozen=True, eq=False)
class NetworkCurvature:
    """H of any readout.

    One forward-mode pass gives J v, the loss's own second derivative acts on it, one backward pass gives Jᵀ.
    """

    task: Task
    model: nn.Module
    examples: Examples

    precise = False

    @cached_property
    def _own(self) -> nn.Module:
        return own_modules(self.model)

    @cached_property
    def values(self) -> Gradient:
        """What H is over, by name."""
        names = readout.resolve(self.task, self.model)
        return {name: value.detach() for name, value in readout.parameters(self.model, names).items()}

    @property
    def size(self) -> int:
        """P, how many parameters."""
        return sum(value.numel() for value in self.values.values())

    @property
    def forming(self) -> float:
        """How many products cost about as much as forming and factoring the matrix."""
        return float(self.size)

    def times(self, vector: Tensor) -> Tensor:
        """(P,) H v, in the model's precision."""
        direction: Gradient = unflat(vector, self.values)
        total: Tensor | float = 0.0
        with evaluating(self._own), forward_mode(), torch.no_grad():
            for _, batch in self.examples.batches():
                moved = flat(self._batch_times(direction, batch.to(device_of(self.model))))
                total = total + moved.detach()  # the backbone's parameters are no part of it
        return total / len(self.examples)

    def _batch_times(self, direction: Gradient, batch: Batch) -> Gradient:
        def outputs(given: Gradient) -> Tensor:
            return torch.func.functional_call(self._own, given, (batch.inputs,))

        try:
            made, moved = torch.func.jvp(outputs, (self.values,), (direction,))
        except (NotImplementedError, RuntimeError) as error:
            raise NotImplementedError(
                f"{type(self.model).__name__} has no forward mode, which its curvature needs "
                f"({reason(error)}); use fisher-diagonal, which falls back to per-example gradients"
            ) from error
        bend, _ = _bending(self.task, made, batch)
        return torch.func.vjp(outputs, self.values)[1](bend(moved))[0]

    def matrix(self) -> Tensor:
        """(P, P) H, in double precision."""
        return _by_columns(self.times, flat(self.values))

    def likeness(self, damping: float) -> None:
        """None: nothing cheap is known."""


def _by_columns(times: Map, like: Tensor) -> Tensor:
    """(P, P) a matrix from its products with unit vectors of the kind of ``like`` (P,), some together."""
    units = torch.eye(len(like), dtype=like.dtype, device=like.device)
    columns = [torch.func.vmap(times, chunk_size=COLUMNS)(few) for few in units.split(8 * COLUMNS)]
    matrix = torch.cat(columns).double()
    return (matrix + matrix.T) / 2  # rounding leaves it slightly unsymmetric


def unflat(vector: Tensor, like: Gradient) -> Gradient:
    """A (P,) vector as parts of the same names and shapes as ``like``."""
    parts = vector.split([part.numel() for part in like.values()])
    return {name: part.view_as(shape) for (name, shape), part in zip(like.items(), parts)}
