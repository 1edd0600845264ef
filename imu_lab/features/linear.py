"""Per-example quantities of a readout that is one linear layer, in closed form.

Example i's gradient is δ_i ⊗ [h_i; 1], a product of what reaches the layer and of the loss's derivative at the logits,
so sums over examples are matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.running import edits
from ..tasks.evaluation import checked_losses, in_order, outputs
from ..tasks.outputs import derivative_of, with_derivative
from ..tasks.protocol import Batch, Examples, Positions, Task
from . import readout
from .layers import ROOM, Gradient, OfExamples, Outer

HELD = 2**26  # elements of the factors of padded examples that are held at once, 256 MB of floats


class Factors(NamedTuple):
    """The factors of the gradients of some examples.

    Attributes:
        at: their positions.
        delta: Δ (c, K) or (c, T, K).
        inputs: H (c, d) or (c, T, d).
    """

    at: Positions
    delta: Tensor
    inputs: Tensor


# The gradients that several ask for within :func:`shared`, each with what it was made of.
_SHARED: ContextVar[list[tuple[tuple, OfExamples]] | None] = ContextVar("shared", default=None)


@contextmanager
def shared() -> Iterator[None]:
    """Within it, whoever asks :meth:`LinearGradients.on` for the same examples at the same layer shares what was made of them.

    For two that look at one state of a model, such as an estimator and what is told beside it: a forward pass, the
    derivative of the loss and ḡ are then made once. Nothing is kept after it.
    """
    token = _SHARED.set([])
    try:
        yield
    finally:
        _SHARED.reset(token)


@dataclass(frozen=True, eq=False)
class LinearGradients:
    """Closed forms for one linear layer that produces the output; ``d`` inputs, ``K`` outputs.

    A sequence model applies the layer at each of T positions, a model that labels pixels at each of h · w; the
    per-example gradient is the sum over them.
    """

    task: Task
    model: nn.Module
    name: str

    def on(self, examples: Examples, factors: Sequence[Factors] | None = None) -> OfExamples:
        """The gradients of these examples alone: one forward pass serves every sum over them.

        Args:
            examples: where they do not fit in one chunk, each sum makes a pass of its own, so that nothing of their
                size is kept.
            factors: what is known of them already; then no pass is made.
        """
        known = _SHARED.get()
        if factors is None and known:
            for state, made in known:
                if made.examples is examples and made.way.task is self.task and state == self._state():
                    return made
        if factors is None and self._fits(examples):
            factors = list(self.factors(examples))
        if factors is None:
            return OfExamples(self, examples)
        held = [_one_axis(*each) for each in factors]
        made = OfExamples(_Known(self.task, self.model, self.name, held), examples)
        if known is not None:
            known.append((self._state(), made))
        return made

    def _state(self) -> tuple:
        """What tells the model's weights from others, and from themselves before they were moved in place."""
        weights = list(self.model.parameters())
        return self.model, self.name, [each.data_ptr() for each in weights], edits(*weights)

    def with_losses(self, examples: Examples) -> tuple[Tensor, OfExamples]:
        """(n,) the losses of these examples and their gradients, as :meth:`on` gives them; from one pass where they fit."""
        held, losses = [], []
        for at, batch, inputs, made in self.captured(examples):
            mine = self.task.example_loss(lambda _, made=made: made, batch)
            losses.append((at, checked_losses(self.task, mine, len(inputs))))
            if self._fits(examples):
                held.append(Factors(at, derivative(self.task, made, batch), inputs))
        return in_order(losses, len(examples)), self.on(examples, held or None)

    def _fits(self, examples: Examples) -> bool:
        """Whether the factors of all these examples may be held at once."""
        if examples.padding is None:
            return len(examples) <= self.chunk(examples)
        layer = self.model.get_submodule(self.name)
        return int(examples.padding.lengths.sum()) * max(layer.in_features, layer.out_features) <= HELD

    def factors(self, examples: Examples) -> Iterable[Factors]:
        """Δ and H, chunk by chunk.

        Δ is the derivative of each example's loss at its logits, of the task's own loss, so label smoothing, masks
        and means over tokens are in it; for cross-entropy it is p − e_y.
        """
        for at, batch, inputs, made in self.captured(examples):
            yield _one_axis(at, derivative(self.task, made, batch), inputs)

    def captured(self, examples: Examples) -> Iterator[tuple[Positions, Batch, Tensor, Tensor]]:
        """Batch by batch: its positions, the batch, what reaches the layer (c, ..., d), and the logits (c, ..., K)."""
        few = replace(examples, chunk=self.chunk(examples))
        for at, batch, (inputs, made) in outputs(
            self.task, self.model, few, lambda model, given: readout.capture(model, self.name, given), alike=True
        ):
            yield at, batch, in_full(inputs.detach()), in_full(made.detach())

    def chunk(self, examples: Examples) -> int:
        """How many examples go through the layer at once."""
        layer = self.model.get_submodule(self.name)
        width = max(layer.in_features, layer.out_features)
        return max(1, min(examples.chunk, ROOM // width))

    def _named(self, weight: Tensor, bias: Tensor) -> Gradient:
        prefix = f"{self.name}." if self.name else ""
        named = {f"{prefix}weight": weight}
        if self.model.get_submodule(self.name).bias is not None:
            named[f"{prefix}bias"] = bias
        return named

    def mean(self, examples: Examples, weights: Tensor | None = None) -> Gradient:
        """ḡ = (1/n) Σ w_i g_i, with (n,) weights or all of them 1."""
        if weights is None:
            return self._named(*self._averages(examples, _gradients))
        total, shift = 0.0, 0.0
        for at, delta, inputs in self.factors(examples):
            mine = weights[at].to(delta).view(-1, *[1] * (delta.ndim - 1))
            wide = (delta * mine).flatten(0, -2)
            total, shift = total + wide.T @ inputs.flatten(0, -2), shift + wide.sum(0)
        return self._named(total / len(examples), shift / len(examples))

    def moments(self, examples: Examples) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i, in one pass: ΔᵀA / n and (Δ²)ᵀ(A²) / n."""
        weight, bias, *squared = self._averages(examples, lambda *both: [*_gradients(*both), *_squares(*both)])
        return self._named(weight, bias), self._named(*squared)

    def _averages(self, examples: Examples, made: Callable[[Tensor, Tensor], list[Tensor]]) -> list[Tensor]:
        """The sums over all examples of what is made of Δ and H, divided by n."""
        totals: list[Tensor] = []
        for _, delta, inputs in self.factors(examples):
            found = made(delta, inputs)
            # In place, for nobody else holds these sums.
            totals = [total.add_(part) for total, part in zip(totals, found)] if totals else found
        return [total.div_(len(examples)) for total in totals]

    def along(self, examples: Examples, direction: Gradient) -> Tensor:
        """(n,) g_i · v for a direction v over the readout's parameters."""
        return self._each(
            examples, lambda delta, inputs: along_tokens(delta, inputs, direction).view(len(delta), -1).sum(1)
        )

    def norms(self, examples: Examples) -> Tensor:
        """(n,) ‖g_i‖, the bias included."""
        bias = float(self.model.get_submodule(self.name).bias is not None)

        def lengths(delta: Tensor, inputs: Tensor) -> Tensor:
            if delta.ndim == 2:
                # No n x d squares.
                squares = [torch.linalg.vector_norm(rows, dim=1).square() for rows in (delta, inputs)]
                return (squares[0] * (squares[1] + bias)).sqrt()
            gram = (delta @ delta.mT) * (inputs @ inputs.mT + bias)  # ‖Σ_t δ_t ⊗ a_t‖² = Σ_ts (δ_t·δ_s)(a_t·a_s)
            return gram.sum((1, 2)).clamp_min(0).sqrt()

        return self._each(examples, lengths)

    def quadratic(self, examples: Examples, diagonal: Gradient) -> Tensor:
        """(n,) g_iᵀ D g_i for a diagonal D over the readout's parameters."""
        weight, *bias = diagonal.values()

        def weighted(delta: Tensor, inputs: Tensor) -> Tensor:
            each = Outer(delta, inputs).weighted(weight)
            return each + (_over_positions(delta).square() @ bias[0] if bias else 0.0)

        return self._each(examples, weighted)

    def _each(self, examples: Examples, measure: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """(n,) what is measured of each example's Δ and H."""
        return in_order(((at, measure(*both)) for at, *both in self.factors(examples)), len(examples))


@dataclass(frozen=True, eq=False)
class _Known(LinearGradients):
    """Of some examples whose factors are at hand; only :meth:`LinearGradients.on` makes it, for those alone."""

    held: Sequence[Factors]
    known: list[Gradient] = field(default_factory=list)  # ḡ, once somebody asked

    def factors(self, examples: Examples) -> Iterable[Factors]:
        """What is held."""
        return self.held

    def mean(self, examples: Examples, weights: Tensor | None = None) -> Gradient:
        """ḡ, made once where no weights are given; each asker gets a copy."""
        if weights is not None:
            return super().mean(examples, weights)
        if not self.known:
            self.known.append(super().mean(examples))
        return {name: part.clone() for name, part in self.known[0].items()}

    def moments(self, examples: Examples) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i."""
        return self.mean(examples), self._named(*self._averages(examples, _squares))


def _gradients(delta: Tensor, inputs: Tensor) -> list[Tensor]:
    """(K, d) and (K,) the sums of some examples' gradients."""
    wide = delta.flatten(0, -2)
    return [wide.T @ inputs.flatten(0, -2), wide.sum(0)]


def _squares(delta: Tensor, inputs: Tensor) -> list[Tensor]:
    """(K, d) and (K,) the sums of their squares."""
    return [Outer(delta, inputs).squares(), _over_positions(delta).square().sum(0)]


def closed_form(
    task: Task, model: nn.Module, moving: Sequence[nn.Parameter]
) -> Callable[[Batch, Tensor], tuple[Tensor, list[Tensor]]] | None:
    """What gives Σ w_i ℓ_i of a batch and its gradient, ΔᵀH and the sum over Δ's rows, without autograd.

    Returns:
        A function of a batch and (n,) weights; None unless the model is one linear layer that moves whole, under a loss
        whose derivative is known.
    """
    known = with_derivative(task.example_loss)
    if known is None or not readout.is_bare(model) or [*map(id, moving)] != [*map(id, model.parameters())]:
        return None

    def weighted(batch: Batch, weights: Tensor) -> tuple[Tensor, list[Tensor]]:
        with torch.no_grad():
            losses, delta = known(in_full(model(batch.inputs)), batch)
            weights = weights.to(delta.dtype)
            delta = (delta * weights.view(-1, *[1] * (delta.ndim - 1))).flatten(0, -2)
            bias = [] if model.bias is None else [delta.sum(0)]
            found = [delta.T @ in_full(batch.inputs).flatten(0, -2), *bias]
            return weights @ losses, [part.to(batch.inputs.dtype) for part in found]

    return weighted


def in_full(values: Tensor) -> Tensor:
    """The same in single precision at least: sums over examples in half precision would lose most of them."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def derivative(task: Task, made: Tensor, batch: Batch) -> Tensor:
    """Δ, of the outputs' shape: each example's loss, differentiated at them; in closed form where the loss has one."""
    if (closed := derivative_of(task.example_loss)) is not None:
        return closed(made, batch)
    with torch.enable_grad():
        logits = made.requires_grad_()
        return torch.autograd.grad(task.example_loss(lambda _: logits, batch).sum(), logits)[0]


def along_tokens(delta: Tensor, inputs: Tensor, direction: Gradient) -> Tensor:
    """(c,) or (c, T) the part of g_i · v that each row of Δ adds."""
    weight, *bias = direction.values()
    return (delta * readout.product(inputs, weight, *bias)).sum(-1)  # the product: how the logits change along v


def _one_axis(at: Positions, delta: Tensor, inputs: Tensor) -> Factors:
    """Both with their positions in one axis T: those of a picture, (c, h, w, ·), become (c, h · w, ·)."""
    both = (delta.flatten(1, -2), inputs.flatten(1, -2)) if delta.ndim > 3 else (delta, inputs)
    return Factors(at, *both)


def _over_positions(delta: Tensor) -> Tensor:
    """(c, K) the bias's per-example gradients, from Δ (c, K) or (c, T, K)."""
    return delta if delta.ndim == 2 else delta.sum(1)
