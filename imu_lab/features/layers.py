"""Per-example gradients layer by layer: one backward pass gives every layer's, and none is kept.

At a layer, an example's gradient is a product of what went in and of the loss's derivative at what came out, summed
over the layer's positions: Σ_t δ_t ⊗ a_t for a linear layer, the same over image patches for a convolution. Hooks see
both factors during one ordinary backward pass, so sums over examples of squares cost a few matrix products per layer,
where differentiating each example apart costs 12 to 18 forward passes.

Source: Goodfellow 2015 (arXiv 1510.01799) for linear layers; Rochette et al. 2019 (arXiv 1912.06015) for convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.running import hooked
from ..tasks.protocol import Examples

Gradient = dict[str, Tensor]  # parameter name -> tensor of the parameter's shape

# Elements in the largest intermediate tensor: 16 M floats are 64 MB.
ROOM = 2**24
# Elements of per-example gradients multiplied out at once: what a processor's cache holds.
NEAR = 2**20
# Positions up to which pairs of them cost less than multiplying gradients out.
FEW_POSITIONS = 4


@dataclass(frozen=True, eq=False)
class OfExamples:
    """The per-example gradients g_i of certain examples: what :meth:`on` of either way to them gives.

    Attributes:
        way: a ``LinearGradients`` or ``GeneralGradients``.
        examples: n of them.
    """

    way: Any
    examples: Examples

    def mean(self, weights: Tensor | None = None) -> Gradient:
        """ḡ = (1/n) Σ w_i g_i, with (n,) weights or all of them 1."""
        return self.way.mean(self.examples, weights)

    def moments(self) -> tuple[Gradient, Gradient]:
        """ḡ and (1/n) Σ g_i∘g_i."""
        return self.way.moments(self.examples)

    def along(self, direction: Gradient) -> Tensor:
        """(n,) g_i · v for a direction v over the readout's parameters."""
        return self.way.along(self.examples, direction)

    def norms(self) -> Tensor:
        """(n,) ‖g_i‖."""
        return self.way.norms(self.examples)

    def quadratic(self, diagonal: Gradient) -> Tensor:
        """(n,) g_iᵀ D g_i for a diagonal D over the readout's parameters."""
        return self.way.quadratic(self.examples, diagonal)


class Outer(NamedTuple):
    """Per-example gradients Σ_t δ_t ⊗ a_t of a matrix, not multiplied out.

    Attributes:
        delta: (c, K) or (c, T, K), the loss's derivative at the layer's outputs.
        inputs: (c, d) or (c, T, d), what reaches the layer.
    """

    delta: Tensor
    inputs: Tensor

    def squares(self) -> Tensor:
        """(K, d) Σ_i g_i∘g_i: with positions the square of a sum, not a sum of squares."""
        if self.delta.ndim == 2:
            return sum(delta.square().T @ inputs.square() for delta, inputs in self.few())
        if self.delta.shape[1] <= FEW_POSITIONS:
            return self._pairs()
        total = self.delta.new_zeros(self.delta.shape[-1], self.inputs.shape[-1])
        for each in self.products():
            if len(each) == 1:
                total.addcmul_(each[0], each[0])
            else:
                total += each.square_().sum(0)
        return total

    def _pairs(self) -> Tensor:
        """Σ_i (Σ_t δ_t ⊗ a_t)² as Σ_i Σ_ts (δ_t δ_s) ⊗ (a_t a_s): one matrix product, nothing multiplied out."""
        first, second = torch.triu_indices(self.delta.shape[1], self.delta.shape[1], device=self.delta.device)
        times = (2.0 - (first == second).to(self.delta.dtype))[:, None]
        left = self.delta[:, first] * self.delta[:, second] * times  # (c, pairs, K)
        right = self.inputs[:, first] * self.inputs[:, second]  # (c, pairs, d)
        return (left.flatten(0, 1).T @ right.flatten(0, 1)).clamp_min(0)  # rounding can leave -1e-20

    def weighted(self, diagonal: Tensor) -> Tensor:
        """(c,) Σ_kj D_kj g_i,kj² of each example."""
        if self.delta.ndim == 2:
            return torch.cat([((d.square() @ diagonal) * inputs.square()).sum(1) for d, inputs in self.few()])
        return torch.cat([(each.square_() * diagonal).sum((1, 2)) for each in self.products()])

    def along(self, direction: Tensor) -> Tensor:
        """(c,) g_i · V, without multiplying out."""
        return (self.delta * (self.inputs @ direction.T)).flatten(1).sum(1)

    def few(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Both factors, as many examples at a time as a processor's cache holds."""
        rows = max(1, NEAR // max(self.delta.shape[-1], self.inputs.shape[-1]))
        return zip(self.delta.split(rows), self.inputs.split(rows))

    def products(self) -> Iterator[Tensor]:
        """(few, K, d) the gradients multiplied out, a few examples at a time."""
        few = max(1, NEAR // (self.delta.shape[-1] * self.inputs.shape[-1]))
        for delta, inputs in zip(self.delta.split(few), self.inputs.split(few)):
            yield delta.mT @ inputs


class Entries(NamedTuple):
    """Per-example gradients (c, *shape) written out: for parameters as small as a layer's width."""

    values: Tensor

    def squares(self) -> Tensor:
        """Σ_i g_i∘g_i, in the parameter's shape."""
        return self.values.square().sum(0)

    def weighted(self, diagonal: Tensor) -> Tensor:
        """(c,) Σ_p D_p g_ip² of each example."""
        return (self.values.square() * diagonal).flatten(1).sum(1)

    def along(self, direction: Tensor) -> Tensor:
        """(c,) g_i · v."""
        return (self.values * direction).flatten(1).sum(1)


Part = Outer | Entries


def _linear(layer: nn.Linear, inputs: Tensor, error: Tensor) -> dict[str, Part]:
    if error.ndim > 2:
        inputs, error = inputs.flatten(1, -2), error.flatten(1, -2)  # (c, T, ·)
    return {"weight": Outer(error, inputs), "bias": Entries(error if error.ndim == 2 else error.sum(1))}


def _convolution(layer: nn.Conv2d, inputs: Tensor, error: Tensor) -> dict[str, Part]:
    patches = nn.functional.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (c, d, T)
    return {"weight": Outer(error.flatten(2).mT, patches.mT), "bias": Entries(error.sum((2, 3)))}


def _batch_norm(layer: nn.BatchNorm2d, inputs: Tensor, error: Tensor) -> dict[str, Part]:
    plain = nn.functional.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)
    return _affine(plain, error, tuple(range(2, error.ndim)))


def _layer_norm(layer: nn.LayerNorm, inputs: Tensor, error: Tensor) -> dict[str, Part]:
    plain = nn.functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
    return _affine(plain, error, tuple(range(1, error.ndim - len(layer.normalized_shape))))


def _affine(plain: Tensor, error: Tensor, positions: tuple[int, ...]) -> dict[str, Part]:
    """Of y = x γ + β, x as normalised: Σ over positions of δ x and of δ."""
    scale, shift = error * plain, error
    return {
        "weight": Entries(scale.sum(positions) if positions else scale),
        "bias": Entries(shift.sum(positions) if positions else shift),
    }


# From a layer, what reaches it (c, ...) and the derivative at its outputs (c, ...), to its parameters' gradients.
FORMS: dict[type, Callable[..., dict[str, Part]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
}


def candidates(model: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """The layers with a product form all of whose own parameters are asked for, by name."""
    found = {}
    for name, layer in model.named_modules():
        asked = [joined(name, key) in parameters for key in own(layer)]
        if type(layer) in FORMS and asked and all(asked) and {*own(layer)} <= {"weight", "bias"} and _plain(layer):
            found[name] = layer
    return found


def own(layer: nn.Module) -> list[str]:
    """The names of the parameters that belong to this layer itself; where only some of them may move, of those."""
    values = dict(layer.named_parameters(recurse=False))
    return [key for key, value in values.items() if value.requires_grad] or list(values)


def joined(layer: str, parameter: str) -> str:
    """A parameter's full name in the model; the whole model's name is empty."""
    return f"{layer}.{parameter}" if layer else parameter


def _plain(layer: nn.Module) -> bool:
    """Whether this layer's settings are those that its form speaks of."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return getattr(layer, "track_running_stats", True)


@contextmanager
def watching(
    layers: Mapping[str, nn.Module], visit: Callable[[str, nn.Module, Tensor, Tensor], None]
) -> Iterator[None]:
    """Within it, each layer's backward pass calls ``visit(name, layer, inputs, error)`` and keeps nothing.

    A hook on the output sees the derivative at the value as the layer made it, even where an activation then works in
    place.
    """

    def follow(name: str) -> Callable:
        def made(layer: nn.Module, given: tuple, output: Tensor) -> None:
            inputs = given[0].detach()
            if output.requires_grad:
                output.register_hook(lambda error: visit(name, layer, inputs, error))

        return made

    with hooked((layer, follow(name)) for name, layer in layers.items()):
        yield


def parts(name: str, layer: nn.Module, inputs: Tensor, error: Tensor) -> Iterator[tuple[slice, dict[str, Part]]]:
    """The layer's per-example gradients by the full name of its parameters, a few examples at a time."""
    few = max(1, ROOM // _width(layer, inputs, error))
    for start in range(0, len(inputs), few):
        at = slice(start, min(start + few, len(inputs)))
        made = FORMS[type(layer)](layer, inputs[at], error[at])
        yield at, {joined(name, key): made[key] for key in own(layer)}


def _width(layer: nn.Module, inputs: Tensor, error: Tensor) -> int:
    """Elements per example of the layer's largest intermediate tensor."""
    patches = error[0, 0].numel() * layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else 0
    return max(patches, inputs[0].numel(), error[0].numel())
