"""Streamed per-example quantities of a readout: mean gradient, Fisher diagonal, directional derivatives, norms.

Two ways, one answer. A linear readout has a closed form: example i's gradient is δ_i ⊗ [h_i; 1], a product of what
reaches the layer and of the loss's derivative at the logits, so sums over examples are matrix products. Any other
readout takes one backward pass for the mean, one forward-mode pass for directional derivatives, and chunks of
per-example gradients for the squares. Nothing of size examples x parameters is ever stored.

``explicit`` is the slow loop that checks both: one backward pass per example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from . import readout
from .tasks.compute import device_of, evaluating
from .tasks.protocol import Batch, Examples, Task

Gradient = dict[str, Tensor]  # parameter name -> tensor of the parameter's shape

# Elements in the largest intermediate tensor: 16 M floats are 64 MB.
ROOM = 2**24


def gradients_of(task: Task, model: nn.Module) -> LinearGradients | GeneralGradients:
    """The way to get at the per-example gradients of this task's readout: in closed form where it is linear."""
    names = readout.resolve(task, model)
    probe = task.split("forget").batch(slice(0, 2)).to(device_of(model)).inputs
    if readout.is_linear(model, names, probe):
        return LinearGradients(task, model, names[0])
    return GeneralGradients(task, model, names)


@dataclass(frozen=True, eq=False)
class LinearGradients:
    """Closed forms for one linear layer that produces the output; ``d`` inputs, ``K`` outputs.

    A sequence model applies the layer at each of T positions; its per-example gradient is the sum over them.
    """

    task: Task
    model: nn.Module
    name: str
    _once: dict = field(default_factory=dict, repr=False)

    def factors(self, examples: Examples) -> Iterable[tuple[Tensor, Tensor]]:
        """Δ (c, K) or (c, T, K) and H (c, d) or (c, T, d), chunk by chunk.

        Δ is the derivative of each example's loss at its logits, from the task's own loss, so label smoothing, masks
        and means over tokens are in it; for cross-entropy it is p − e_y. A set that fits in one chunk is computed once
        and serves every sum; a larger one is computed afresh for each, so that nothing of its size is kept.
        """
        if len(examples) > self._chunk(examples):
            return self._factors(examples)
        if id(examples) not in self._once:  # the examples are kept beside their factors, so the id stays theirs
            self._once[id(examples)] = (examples, list(self._factors(examples)))
        return self._once[id(examples)][1]

    def _factors(self, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        with evaluating(self.model):
            for _, batch in examples.batches(self._chunk(examples)):
                batch = batch.to(device_of(self.model))
                with torch.no_grad():
                    inputs, outputs = readout.capture(self.model, self.name, batch.inputs)
                with torch.enable_grad():
                    logits = outputs.detach().requires_grad_()
                    loss = self.task.example_loss(lambda _, logits=logits: logits, batch)
                    (delta,) = torch.autograd.grad(loss.sum(), logits)
                yield delta, inputs.detach()

    def _chunk(self, examples: Examples) -> int:
        layer = self.model.get_submodule(self.name)
        width = max(layer.in_features, layer.out_features)
        return max(1, min(examples.chunk, ROOM // width))

    def _named(self, weight: Tensor, bias: Tensor) -> Gradient:
        prefix = f"{self.name}." if self.name else ""
        named = {f"{prefix}weight": weight}
        if self.model.get_submodule(self.name).bias is not None:
            named[f"{prefix}bias"] = bias
        return named

    def mean(self, examples: Examples) -> Gradient:
        """ḡ = (1/n) Σ g_i."""
        return self.moments(examples, squares=False)[0]

    def moments(self, examples: Examples, squares: bool = True) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i, in one pass: ΔᵀA / n and (Δ²)ᵀ(A²) / n."""
        totals: list[Tensor | float] = [0.0, 0.0, 0.0, 0.0]
        for delta, inputs in self.factors(examples):
            wide, flat = delta.flatten(0, -2), inputs.flatten(0, -2)
            totals[0] = totals[0] + wide.T @ flat  # (K, d)
            totals[1] = totals[1] + wide.sum(0)  # (K,)
            if squares:
                square, bias = _squares(delta, inputs)
                totals[2], totals[3] = totals[2] + square, totals[3] + bias
        count = len(examples)
        mean = self._named(totals[0] / count, totals[1] / count)
        return mean, self._named(totals[2] / count, totals[3] / count) if squares else {}

    def along(self, examples: Examples, direction: Gradient) -> Tensor:
        """(n,) g_i · v for a direction v over the readout's parameters."""
        weight, *bias = direction.values()
        parts = []
        for delta, inputs in self.factors(examples):
            moved = inputs @ weight.T  # (c, ..., K): how the logits change along v
            moved = moved + bias[0] if bias else moved
            parts.append((delta * moved).flatten(1).sum(1))
        return torch.cat(parts)

    def norms(self, examples: Examples) -> Tensor:
        """(n,) ‖g_i‖, the bias included."""
        bias = float(self.model.get_submodule(self.name).bias is not None)
        parts = []
        for delta, inputs in self.factors(examples):
            if delta.ndim == 2:
                parts.append((delta.square().sum(1) * (inputs.square().sum(1) + bias)).sqrt())
            else:  # ‖Σ_t δ_t ⊗ a_t‖² = Σ_ts (δ_t·δ_s)(a_t·a_s)
                gram = (delta @ delta.mT) * (inputs @ inputs.mT + bias)
                parts.append(gram.sum((1, 2)).clamp_min(0).sqrt())
        return torch.cat(parts)

    def quadratic(self, examples: Examples, diagonal: Gradient) -> Tensor:
        """(n,) g_iᵀ D g_i for a diagonal D over the readout's parameters."""
        weight, *bias = diagonal.values()
        parts = []
        for delta, inputs in self.factors(examples):
            each = _weighted_squares(delta, inputs, weight)
            total = delta if delta.ndim == 2 else delta.sum(1)
            parts.append(each + (total.square() @ bias[0] if bias else 0.0))
        return torch.cat(parts)


def _weighted_squares(delta: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """(c,) Σ_kj D_kj (Σ_t δ_tk a_tj)² of a chunk."""
    if delta.ndim == 2:
        return ((delta.square() @ weight) * inputs.square()).sum(1)
    few = max(1, ROOM // weight.numel())
    parts = [((one.mT @ two).square() * weight).sum((1, 2)) for one, two in zip(delta.split(few), inputs.split(few))]
    return torch.cat(parts)


def _squares(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_i g_i∘g_i of a chunk, for weight (K, d) and bias (K,)."""
    if delta.ndim == 2:
        return delta.square().T @ inputs.square(), delta.square().sum(0)
    total: Tensor | float = 0.0
    per_example = delta.shape[-1] * inputs.shape[-1]
    for few_delta, few_inputs in zip(
        delta.split(max(1, ROOM // per_example)), inputs.split(max(1, ROOM // per_example))
    ):
        total = total + (few_delta.mT @ few_inputs).square().sum(
            0
        )  # the square of a sum over tokens, not a sum of squares
    return total, delta.sum(1).square().sum(0)


@dataclass(frozen=True, eq=False)
class GeneralGradients:
    """Any readout: several layers, attention weights, the whole network."""

    task: Task
    model: nn.Module
    names: tuple[str, ...]

    def parameters(self) -> dict[str, nn.Parameter]:
        """What the gradients are taken for, by name."""
        return readout.parameters(self.model, self.names)

    def _losses(self, batch: Batch) -> Callable[[Gradient], Tensor]:
        """From readout parameters to the (n,) losses of a batch."""

        def losses(values: Gradient) -> Tensor:
            return self.task.example_loss(lambda x: torch.func.functional_call(self.model, values, (x,)), batch)

        return losses

    def _batches(self, examples: Examples, size: int | None = None) -> Iterator[tuple[Gradient, Batch]]:
        values = {name: value.detach() for name, value in self.parameters().items()}
        with evaluating(self.model):
            for _, batch in examples.batches(size):
                yield values, batch.to(device_of(self.model))

    def mean(self, examples: Examples) -> Gradient:
        """ḡ = (1/n) Σ g_i, by one backward pass."""
        total: Gradient = {}
        for values, batch in self._batches(examples):
            part = torch.func.grad(lambda given, batch=batch: self._losses(batch)(given).sum())(values)
            total = {name: total.get(name, 0.0) + part[name] for name in part}
        return {name: value / len(examples) for name, value in total.items()}

    def moments(self, examples: Examples) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i, from per-example gradients in chunks."""
        mean: Gradient = {}
        square: Gradient = {}
        for values, batch in self._batches(examples, self._few()):
            each = self._each(values, batch)
            mean = {name: mean.get(name, 0.0) + part.sum(0) for name, part in each.items()}
            square = {name: square.get(name, 0.0) + part.square().sum(0) for name, part in each.items()}
        count = len(examples)
        return (
            {name: value / count for name, value in mean.items()},
            {name: value / count for name, value in square.items()},
        )

    def _each(self, values: Gradient, batch: Batch) -> Gradient:
        """Per-example gradients (c, *shape) of a chunk."""

        def loss(given: Gradient, inputs: Any, targets: Any) -> Tensor:
            return self._losses(Batch(_one(inputs), _one(targets)))(given).squeeze(0)

        return torch.func.vmap(torch.func.grad(loss), (None, 0, 0), randomness="different")(values, *batch)

    def along(self, examples: Examples, direction: Gradient) -> Tensor:
        """(n,) g_i · v: minus nothing but the derivative of each loss along v, by forward-mode differentiation."""
        parts = []
        with plain_attention():
            for values, batch in self._batches(examples):
                with torch.no_grad():
                    parts.append(torch.func.jvp(self._losses(batch), (values,), (direction,))[1])
        return torch.cat(parts)

    def norms(self, examples: Examples) -> Tensor:
        """(n,) ‖g_i‖ over all readout parameters."""
        return self.quadratic(
            examples, {name: torch.ones_like(value) for name, value in self.parameters().items()}
        ).sqrt()

    def quadratic(self, examples: Examples, diagonal: Gradient) -> Tensor:
        """(n,) g_iᵀ D g_i for a diagonal D over the readout's parameters."""
        parts = []
        for values, batch in self._batches(examples, self._few()):
            each = self._each(values, batch)
            parts.append(sum((each[name].square() * diagonal[name]).flatten(1).sum(1) for name in each))
        return torch.cat(parts)

    def _few(self) -> int:
        """How many per-example gradients may be held at once."""
        return max(1, min(64, 4 * ROOM // sum(value.numel() for value in self.parameters().values())))


def _one(value: Any) -> Any:
    """A batch of one, from one example under vmap."""
    return {key: item[None] for key, item in value.items()} if isinstance(value, dict) else value[None]


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention by plain matrix products: the fused kernels have no forward-mode derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def explicit(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    """(n, P) every example's own gradient, by one backward pass each: the oracle, for small cases only."""
    values = readout.parameters(model, readout.resolve(task, model))
    rows = []
    with evaluating(model), torch.enable_grad():
        for position in range(len(examples)):
            batch = examples.batch(slice(position, position + 1)).to(device_of(model))
            loss = task.example_loss(model, batch).sum()
            rows.append(flat(dict(zip(values, torch.autograd.grad(loss, list(values.values()))))))
    return torch.stack(rows)


def flat(gradient: Gradient) -> Tensor:
    """(P,) the parts of a gradient in one vector, in the model's order."""
    return torch.cat([part.flatten() for part in gradient.values()])
