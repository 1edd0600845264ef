"""Per-example quantities of any readout: several layers, attention weights, the whole network.

The mean takes one backward pass, directional derivatives one forward-mode pass. Squares come from the layers' product
forms (:mod:`imu_lab.features.layers`) in one more; what has none is differentiated example by example, in chunks.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..core.messages import reason
from ..core.running import device_of, evaluating, own_modules
from ..tasks.evaluation import in_order
from ..tasks.outputs import derivative_of
from ..tasks.protocol import Batch, Examples, Task
from . import readout
from .layers import ROOM, Entries, Gradient, OfExamples, Outer, Part, candidates, joined, own, parts, watching

BATCH = 128  # examples in one pass: what a whole network's activations leave room for
# Of padded ones, which are long: forward mode holds twice what a forward pass does, and this many stay within twice the memory
# of a training with batches of 8.
PADDED = 16

_FORWARD = threading.RLock()
_told: set[str] = set()  # the kinds of models whose lack of a forward mode has been spoken of


@dataclass(frozen=True, eq=False)
class GeneralGradients:
    """Any readout: several layers, attention weights, the whole network."""

    task: Task
    model: nn.Module
    names: tuple[str, ...]

    @cached_property
    def _own(self) -> nn.Module:
        return own_modules(self.model)

    def parameters(self) -> dict[str, nn.Parameter]:
        """What the gradients are taken for, by name."""
        return readout.parameters(self.model, self.names)

    @property
    def described(self) -> str:
        """The modules, and what in them is held still; for messages."""
        inside = tuple(f"{name}." for name in self.names)
        held = [
            key for key, _ in self.model.named_parameters() if key.startswith(inside) and key not in self.parameters()
        ]
        still = f", where {', '.join(held[:3])}{' and more' * (len(held) > 3)} may not move (requires_grad is False)"
        return (", ".join(self.names) or "all") + (still if held else "")

    def _values(self) -> Gradient:
        return {name: value.detach() for name, value in self.parameters().items()}

    def _surrogates(self, batch: Batch) -> Callable[[Gradient], Tensor]:
        """From readout parameters to (n,) numbers that change as the losses of a batch do.

        Where the losses' derivative δ at the outputs is known, the numbers are δ · outputs with δ held fixed: autograd's own
        p_y − 1 is lost to rounding where an example is fitted well.
        """
        known = derivative_of(self.task.example_loss)

        def surrogates(values: Gradient) -> Tensor:
            if known is None:
                return self.task.example_loss(lambda x: torch.func.functional_call(self._own, values, (x,)), batch)
            made = torch.func.functional_call(self._own, values, (batch.inputs,))
            return (made * known(made.detach(), batch)).flatten(1).sum(1)

        return surrogates

    def _batches(self, examples: Examples, size: int = BATCH) -> Iterator[tuple[Tensor, Batch]]:
        """Some positions and the examples there, those of like length together."""
        order = examples.alike()
        most = min(size, examples.chunk, BATCH if order is None else PADDED)
        order = torch.arange(len(examples)) if order is None else order
        with evaluating(self._own):
            for positions in order.split(most):
                yield positions, examples.batch(positions).to(device_of(self.model))

    def _summed(self, batch: Batch, weights: Tensor | None = None) -> Gradient:
        """Σ w_i g_i of a batch, by one backward pass; zeros where a parameter plays no part."""
        values = {name: value.requires_grad_() for name, value in self._values().items()}
        with torch.enable_grad():
            each = self._surrogates(batch)(values)
            whole = each.sum() if weights is None else (each * weights.to(each)).sum()
            found = torch.autograd.grad(whole, list(values.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(values, found))

    def on(self, examples: Examples) -> OfExamples:
        """The gradients of these examples alone."""
        return OfExamples(self, examples)

    def mean(self, examples: Examples, weights: Tensor | None = None) -> Gradient:
        """ḡ = (1/n) Σ w_i g_i, with (n,) weights or all of them 1, by one backward pass."""
        parts = (
            self._summed(batch, None if weights is None else weights[positions])
            for positions, batch in self._batches(examples)
        )
        return _divided(_added(parts), len(examples))

    def moments(self, examples: Examples) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i, in one forward and backward pass where every layer has a product form."""
        squares = {name: torch.zeros_like(value) for name, value in self._values().items()}

        def add(name: str, part: Part, _: Tensor) -> None:
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
            with forward_mode(), torch.no_grad():
                for at, batch in self._batches(examples):
                    parts.append((at, torch.func.jvp(self._surrogates(batch), (values,), (direction,))[1]))
            return in_order(parts, len(examples))
        except (NotImplementedError, RuntimeError) as error:  # the other way says what else is wrong
            _say_once(self.model, error)
        return self._collected(examples, lambda name, part: part.along(_matrix(part, direction[name])))

    def _collected(self, examples: Examples, measure: Callable[[str, Part], Tensor]) -> Tensor:
        """(n,) the sum over parameters of a measure of each example's gradient."""
        totals = torch.zeros(len(examples), dtype=next(iter(self._values().values())).dtype)
        totals = totals.to(device_of(self.model))

        def add(name: str, part: Part, positions: Tensor) -> None:
            totals[positions] += measure(name, part)

        self._visit(examples, add)
        return totals

    def graphs(self, examples: Examples) -> Iterator[tuple[Batch, Tensor, list[Tensor]]]:
        """Batch by batch: the batch, the model's outputs with their graph, and the readout's parameters that it leads to."""
        for _, batch in self._batches(examples):
            values = {name: value.requires_grad_() for name, value in self._values().items()}
            with torch.enable_grad():
                made = torch.func.functional_call(self._own, values, (batch.inputs,))
            yield batch, made, list(values.values())

    def _visit(self, examples: Examples, use: Callable[[str, Part, Tensor], None]) -> Gradient:
        """Show ``use`` each parameter's per-example gradients, a few examples at a time; returns Σ g_i.

        One backward pass serves all layers with a product form; what else there is, is differentiated one by one.
        """
        layers, total = self.layers, None
        served = {joined(name, key) for name, layer in layers.items() for key in own(layer)}
        rest = {name: value for name, value in self._values().items() if name not in served}
        for positions, batch in self._batches(examples):

            def visit(name: str, layer: nn.Module, inputs: Tensor, error: Tensor, mine: Tensor = positions) -> None:
                for at, made in parts(name, layer, inputs, error):
                    for key, part in made.items():
                        use(key, part, mine[at])

            with watching(layers, visit):
                found = self._summed(batch)
            total = found if total is None else {name: total[name] + found[name] for name in found}
        if rest:
            for positions, batch in self._batches(examples, self._few(rest)):
                for key, each in self._each(rest, batch).items():
                    use(key, Entries(each), positions)
        return total

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """The layers whose product form holds, as seen on two examples: one call each, squares as differentiated.

        Not so for a layer that is called twice, whose weight is used elsewhere, or whose rows are no examples.
        """
        layers, seen = candidates(self._own, self._values()), {}
        probe = self.task.split("forget").batch(slice(0, 2)).to(device_of(self.model))

        def visit(name: str, layer: nn.Module, inputs: Tensor, error: Tensor) -> None:
            again = name in seen or len(inputs) != len(error)
            seen[name] = None if again else _added(_squares(made) for _, made in parts(name, layer, inputs, error))

        with evaluating(self._own):
            truth = _squares({key: Entries(each) for key, each in self._loop(self._values(), probe).items()})
            with watching(layers, visit):
                self._summed(probe)
        return {name: layers[name] for name, found in seen.items() if found is not None and _agree(found, truth)}

    def _each(self, values: Gradient, batch: Batch) -> Gradient:
        """Per-example gradients (c, *shape) for these parameters, together where torch can, else one by one."""

        def loss(given: Gradient, inputs: Any, targets: Any) -> Tensor:
            return self._surrogates(Batch(_one(inputs), _one(targets)))(given).squeeze(0)

        try:
            with forward_mode():
                return torch.func.vmap(torch.func.grad(loss), (None, 0, 0), randomness="different")(values, *batch)
        except (NotImplementedError, RuntimeError):  # a layer that vmap does not know; the loop says what else is wrong
            return self._loop(values, batch)

    def _loop(self, values: Gradient, batch: Batch) -> Gradient:
        """Per-example gradients (c, *shape), by one backward pass each through a common forward pass."""
        values = {name: value.detach().requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            rows = [
                torch.autograd.grad(
                    one, list(values.values()), retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for one in self._surrogates(batch)(values)
            ]
        return {name: torch.stack(each) for name, each in zip(values, zip(*rows))}

    def _few(self, values: Gradient) -> int:
        """How many per-example gradients of these parameters may be held at once."""
        return max(1, min(64, 4 * ROOM // sum(value.numel() for value in values.values())))


def _added(terms: Iterable[Gradient]) -> Gradient:
    """The sum of gradients, name by name."""
    total: Gradient = {}
    for term in terms:
        total = {name: total[name] + part for name, part in term.items()} if total else term
    return total


def _divided(gradient: Gradient, count: int) -> Gradient:
    return {name: part / count for name, part in gradient.items()}


def _squares(made: dict[str, Part]) -> Gradient:
    return {name: part.squares() for name, part in made.items()}


def _matrix(part: Part, value: Tensor) -> Tensor:
    """A parameter's values in the shape that its part works in: a convolution's kernel as a matrix (K, d)."""
    return value.flatten(1) if isinstance(part, Outer) else value


def _agree(found: Gradient, truth: Gradient) -> bool:
    """Whether two ways to the same squares differ by rounding alone."""
    return all(
        (part.view_as(truth[name]) - truth[name]).abs().max()
        <= 3 * torch.finfo(part.dtype).eps ** 0.5 * truth[name].max()
        for name, part in found.items()
    )


def _say_once(model: nn.Module, error: Exception) -> None:
    kind = type(model).__name__
    if kind not in _told:
        _told.add(kind)
        warnings.warn(
            f"{kind} cannot be differentiated in forward mode ({reason(error)}); per-example gradients are used instead: the "
            "same numbers, several times slower",
            stacklevel=6,
        )


def _one(value: Any) -> Any:
    """A batch of one, from one example under vmap."""
    return {key: item[None] for key, item in value.items()} if isinstance(value, dict) else value[None]


@cache
def _load_forward_mode() -> None:
    """Load torch's forward mode once, without the warning that torch gives about itself while it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        import torch._decomp.decompositions_for_jvp  # noqa: F401


@contextmanager
def forward_mode() -> Iterator[None]:
    """Attention by plain matrix products, restored afterwards: the fused kernels have no forward-mode derivative.

    One thread at a time: torch keeps one level of tangents for the whole process, and whoever leaves it first takes the
    others' tangents away without a word.
    """
    with _FORWARD:
        _load_forward_mode()
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
