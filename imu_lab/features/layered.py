"""Kronecker factors of a readout of several layers: S and G of each linear layer or convolution, by backward passes.

At a layer, G = mean Jᵀ (diag p − ppᵀ) J, J the derivative of the answers at the layer's outputs. As diag p − ppᵀ is
Σ_k p_k (p − e_k)(p − e_k)ᵀ, K backward passes give it exactly, and the layers' hooks see what comes by
(:mod:`imu_lab.features.layers`). The patches that a convolution sees are rows of their own; positions of the answer, as in a
sequence, get a random sign each, so that on average nothing is left of the products between them. S of a linear layer is the
mean over its rows, without those of positions that enter no loss where its positions are those of the answer; of a convolution
it is the sum over patches and G their mean. So S ⊗ G is the layer's block of the curvature as far as rows are independent.

Source: Martens & Grosse 2015 (arXiv 1503.05671); for convolutions Grosse & Martens 2016 (arXiv 1602.01407).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.messages import listed
from ..tasks.protocol import Examples
from .general import GeneralGradients
from .kronecker import Unserved, by_matrix, counted, probabilities, refuse, scales, with_ones
from .layers import Gradient, joined, own, parts, watching

OF = " of "  # "S of layer4.0.conv1"


def layer_moments(
    gradients: GeneralGradients, examples: Examples, names: Iterable[str] = ("S", "G")
) -> tuple[dict[str, Tensor], int]:
    """``"S of <layer>"`` and ``"G of <layer>"`` of each linear layer and convolution whose weight moves; and how many rows.

    Raises:
        Unserved: there is no such layer, another part is asked, or the loss is no cross-entropy.

    Warns:
        UserWarning: a weight has no factors, by name.
    """
    names, count = tuple(names), 0
    kinds = (nn.Linear, nn.Conv2d)
    layers = {k: each for k, each in gradients.layers.items() if isinstance(each, kinds) and "weight" in own(each)}
    if not layers or set(names) - {"S", "G"}:
        raise Unserved(
            f"{' and '.join(names)} cannot be had of the readout {gradients.described}: S and G are known of one "
            "linear layer that produces the output, and of each linear layer and convolution that is called once in a forward "
            "pass, and no more",
            *(f'factors="{known}"' for known in (("both", "inputs", "exact") if layers else ("exact",))),
        )
    refuse(names, gradients, examples)
    _say_what_is_left_out(gradients, layers)
    sums, generator = Sums(names), torch.Generator().manual_seed(0)
    with watching(layers, sums.visit):
        for batch, made, values in gradients.graphs(examples):
            answers = made.detach()
            sums.counted, sums.fresh = counted(gradients.task, answers, batch), set(layers)
            count += sums.counted.sum().item()
            scale = scales(gradients.task, answers, batch, sums.counted) if "G" in names else sums.counted
            for direction in _roots(answers, scale, generator, every="G" in names):
                torch.autograd.grad(made, values, direction, retain_graph=True, allow_unused=True)
    return {name: total / sums.rows.get(name, count) for name, total in sums.totals.items()}, count


def _say_what_is_left_out(gradients: GeneralGradients, layers: Mapping[str, nn.Module]) -> None:
    """Warn of weights of two dimensions or more without factors; the scales of a normalisation have none as a rule."""
    served = {joined(name, key) for name in layers for key in ("weight", "bias")}
    left = [name for name, value in gradients.parameters().items() if value.ndim > 1 and name not in served]
    if left:
        warnings.warn(
            f"the curvature leaves out {listed(left)}: factors are known of a linear layer or plain convolution that is called "
            "once in a forward pass and whose weight is used nowhere else; curvature-ascent follows the plain gradient there, "
            "and a one-shot step leaves it as it is",
            stacklevel=2,
        )


def _roots(made: Tensor, scale: Tensor, generator: torch.Generator, every: bool) -> Iterator[Tensor]:
    """Vectors (n, ..., K) whose outer products add up to each row's ``scale`` times diag p − ppᵀ; one unless ``every``."""
    likely, count = probabilities(made), made.shape[-1]
    scale = scale.to(made.dtype).sqrt()[..., None]
    if made.ndim > 2:
        signs = torch.randint(2, made.shape[:-1], generator=generator, device="cpu").to(made)
        scale = scale * (2 * signs - 1)[..., None]
    if count == 1:
        yield scale * (likely - likely.square()).sqrt()
        return
    for k in range(count if every else 1):
        away = likely.clone()
        away[..., k] -= 1
        yield scale * likely[..., k : k + 1].sqrt() * away


@dataclass
class Sums:
    """What hooks add up during backward passes.

    Attributes:
        names: ``"S"``, ``"G"`` or both.
        totals: by name and layer, in double precision.
        rows: of how many rows they are the sums, where that is not the answers' number.
        counted: (n, ...) which rows of this batch's answers enter the loss.
        fresh: the layers whose inputs have not been seen in this batch.
    """

    names: tuple[str, ...]
    totals: dict[str, Tensor] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    counted: Tensor = field(default_factory=lambda: torch.ones(0, dtype=torch.bool))
    fresh: set[str] = field(default_factory=set)

    def visit(self, name: str, layer: nn.Module, inputs: Tensor, error: Tensor) -> None:
        """Add a layer's inputs, once a batch, and the derivative at its outputs."""
        of_answers = isinstance(layer, nn.Linear) and inputs.shape[:-1] == self.counted.shape
        for at, made in parts(name, layer, inputs, error):
            outer = made[joined(name, "weight")]
            # A convolution's block is S ⊗ G / T, as if its T patches had nothing to do with each other.
            if "G" in self.names:
                patches = outer.delta.shape[1] if isinstance(layer, nn.Conv2d) else 1
                self._add(f"G{OF}{name}", outer.delta.flatten(0, -2).double() / patches**0.5)
            if "S" in self.names and name in self.fresh:
                rows = outer.inputs.flatten(0, -2).double()
                rows = rows[self.counted[at].flatten()] if of_answers else rows
                self._add(f"S{OF}{name}", with_ones(rows, "bias" in own(layer)))
                if isinstance(layer, nn.Linear):
                    self.rows[f"S{OF}{name}"] = self.rows.get(f"S{OF}{name}", 0) + len(rows)
        self.fresh.discard(name)

    def _add(self, key: str, rows: Tensor) -> None:
        found = rows.T @ rows
        self.totals[key] = self.totals[key].add_(found) if key in self.totals else found


def by_layer(held: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """From ``"S of a"``, ``"G of a"``, ... to the parts of each layer; empty where they are of one linear layer alone."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in held.items():
        name, of, layer = key.partition(OF)
        if of:
            found.setdefault(layer, {})[name] = value
    return found


@dataclass(frozen=True, eq=False)
class Layered:
    """From a gradient to what each layer's own preconditioner makes of its part.

    Attributes:
        layers: by the layer's name in the model; each has ``solved``, a map of (K, D) matrices.
        rest: by what the parts of other layers are multiplied: 1 leaves them as they are.
    """

    layers: Mapping[str, Any]
    rest: float = 1.0

    def __call__(self, gradient: Gradient) -> Gradient:
        """The direction, part by part."""
        turned = {name: self.rest * part for name, part in gradient.items()}
        for name, precondition in self.layers.items():
            keys = [joined(name, key) for key in ("weight", "bias") if joined(name, key) in gradient]
            weight, *bias = (gradient[key] for key in keys)
            made = by_matrix(dict(zip(keys, [weight.flatten(1), *bias])), precondition.solved)
            turned |= {key: value.view_as(gradient[key]) for key, value in made.items()}
        return turned

    def like(self, given: Tensor) -> Layered:
        """The same in the precision and on the device of ``given``."""
        return replace(self, layers={name: each.like(given) for name, each in self.layers.items()})
