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
                totals[2] = totals[2] + Outer(delta, inputs).squares()
                totals[3] = totals[3] + _over_positions(delta).square().sum(0)
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
            each = Outer(delta, inputs).weighted(weight)
            parts.append(each + (_over_positions(delta).square() @ bias[0] if bias else 0.0))
        return torch.cat(parts)


def _over_positions(delta: Tensor) -> Tensor:
    """(c, K) the bias's per-example gradients, from Δ (c, K) or (c, T, K)."""
    return delta if delta.ndim == 2 else delta.sum(1)


@dataclass(frozen=True, eq=False)
class GeneralGradients:
    """Any readout: several layers, attention weights, the whole network."""

    task: Task
    model: nn.Module
    names: tuple[str, ...]

    def parameters(self) -> dict[str, nn.Parameter]:
        """What the gradients are taken for, by name."""
        return readout.parameters(self.model, self.names)

    def _values(self) -> Gradient:
        return {name: value.detach() for name, value in self.parameters().items()}

    def _losses(self, batch: Batch) -> Callable[[Gradient], Tensor]:
        """From readout parameters to the (n,) losses of a batch."""

        def losses(values: Gradient) -> Tensor:
            return self.task.example_loss(lambda x: torch.func.functional_call(self.model, values, (x,)), batch)

        return losses

    def _batches(self, examples: Examples, size: int = BATCH) -> Iterator[tuple[slice, Batch]]:
        with evaluating(self.model):
            for positions, batch in examples.batches(min(size, examples.chunk)):
                yield positions, batch.to(device_of(self.model))

    def _summed(self, batch: Batch) -> Gradient:
        """Σ g_i of a batch, by one backward pass; zeros where a parameter plays no part."""
        values = {name: value.requires_grad_() for name, value in self._values().items()}
        with torch.enable_grad():
            loss = self._losses(batch)(values).sum()
            found = torch.autograd.grad(loss, list(values.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(values, found))

    def mean(self, examples: Examples) -> Gradient:
        """ḡ = (1/n) Σ g_i, by one backward pass."""
        return _divided(_added(self._summed(batch) for _, batch in self._batches(examples)), len(examples))

    def moments(self, examples: Examples) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i, in one forward and backward pass where every layer has a product form."""
        squares = {name: torch.zeros_like(value) for name, value in self._values().items()}

        def add(name: str, part: Part, _: slice) -> None:
            squares[name] += part.squares().view_as(squares[name])

        total = self._visit(examples, add)
        return _divided(total, len(examples)), _divided(squares, len(examples))

    def quadratic(self, examples: Examples, diagonal: Gradient) -> Tensor:
        """(n,) g_iᵀ D g_i for a diagonal D over the readout's parameters."""
        return self._collected(examples, lambda name, part: part.weighted(_matrix(part, diagonal[name])))

    def norms(self, examples: Examples) -> Tensor:
        """(n,) ‖g_i‖ over all readout parameters."""
        ones = {name: torch.ones_like(value) for name, value in self._values().items()}
        return self.quadratic(examples, ones).sqrt()

    def along(self, examples: Examples, direction: Gradient) -> Tensor:
        """(n,) g_i · v: the derivative of each loss along v, by one forward-mode pass.

        Warns:
            UserWarning: once per kind of model, that it has no forward mode; per-example gradients serve instead.
        """
        values, parts = self._values(), []
        try:
            with plain_attention(), torch.no_grad():
                for _, batch in self._batches(examples):
                    parts.append(torch.func.jvp(self._losses(batch), (values,), (direction,))[1])
            return torch.cat(parts)
        except NotImplementedError as error:
            _say_once(self.model, error)
        return self._collected(examples, lambda name, part: part.along(_matrix(part, direction[name])))

    def _collected(self, examples: Examples, measure: Callable[[str, Part], Tensor]) -> Tensor:
        """(n,) the sum over parameters of a measure of each example's gradient."""
        totals = torch.zeros(len(examples), dtype=next(iter(self._values().values())).dtype)
        totals = totals.to(device_of(self.model))

        def add(name: str, part: Part, positions: slice) -> None:
            totals[positions] += measure(name, part)

        self._visit(examples, add)
        return totals

    def _visit(self, examples: Examples, use: Callable[[str, Part, slice], None]) -> Gradient:
        """Show ``use`` each parameter's per-example gradients, a few examples at a time; returns Σ g_i.

        One backward pass serves all layers with a product form; what else there is, is differentiated one by one.
        """
        layers, total = self._layers, None
        served = {f"{name}.{key}" if name else key for name, layer in layers.items() for key in _own(layer)}
        rest = [name for name in self._values() if name not in served]
        for positions, batch in self._batches(examples):

            def visit(name: str, layer: nn.Module, inputs: Tensor, error: Tensor, start: int = positions.start) -> None:
                for at, made in parts(name, layer, inputs, error):
                    for key, part in made.items():
                        use(key, part, slice(start + at.start, start + at.stop))

            with watching(layers, visit):
                found = self._summed(batch)
            total = found if total is None else {name: total[name] + found[name] for name in found}
        if rest:
            for positions, batch in self._batches(examples, self._few(rest)):
                for key, each in self._each(batch, rest).items():
                    use(key, Entries(each), positions)
        return total

    @cached_property
    def _layers(self) -> dict[str, nn.Module]:
        """The layers whose product form holds, as seen on two examples: one call each, squares as differentiated.

        A layer that is called twice, whose weight is used elsewhere too, or whose rows are no examples, is not among
        them.
        """
        layers = candidates(self.model, self._values())
        probe = self.task.split("forget").batch(slice(0, 2)).to(device_of(self.model))
        seen: dict[str, list[dict[str, Tensor]]] = {name: [] for name in layers}

        def visit(name: str, layer: nn.Module, inputs: Tensor, error: Tensor) -> None:
            whole = len(inputs) == len(error) == count
            squares = [{key: part.squares() for key, part in made.items()} for _, made in parts(name, layer, inputs, error)]
            seen[name].append(_added(squares) if whole else {})

        with evaluating(self.model):
            truth = {name: each.square().sum(0) for name, each in self._loop(probe, list(self._values())).items()}
            count = len(next(iter(truth.values()))) 
            with watching(layers, visit):
                self._summed(probe)
        return {name: layer for name, layer in layers.items() if len(seen[name]) == 1 and _agree(seen[name][0], truth)}
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
