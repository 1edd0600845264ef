"""What the layers of a network make of examples, and how alike two networks' layers are: linear CKA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from ..core.messages import DoesNotApply, listed
from ..core.running import evaluating, hooked
from ..features import readout
from ..tasks.evaluation import outputs, threads_of
from ..tasks.protocol import Examples, Task, prepared

FEW, MOST = 4, 8  # layers: blocks are opened below, and a part is taken above
BIAS = 5  # samples per feature, below which CKA is biased upwards


def layers(task: Task, model: nn.Module) -> dict[str, str]:
    """{name of a layer: name of the module whose output ends it}, in the order of the forward pass, 8 at most.

    A layer begins with a module that has a weight matrix and goes on through what has none, such as normalisation and ReLU.
    Blocks of several stand for one layer, unless there are fewer than four; the last one gives the model's outputs.
    """
    model = prepared(task, model)
    inputs, called = readout.probe(task, model).inputs, []
    count = min(readout.PROBE, len(task.split("forget")))

    def note(name: str) -> Any:  # positions, of which there is one row for all, are no layer
        return lambda _, __, made: called.append(name) if _of_examples(made, count) else None

    named = {name: module for name, module in model.named_modules() if name}
    with threads_of(task), hooked((m, note(name)) for name, m in named.items()), torch.no_grad(), evaluating(model):
        model(inputs)
    order = list(dict.fromkeys(called))
    chosen = _outermost(order, "")
    while len(found := _grouped(named, order, chosen)) < FEW:
        blocks = [name for name in chosen if _outermost(order, name)]
        if not blocks:
            break
        largest = max(blocks, key=lambda name: sum(value.numel() for value in named[name].parameters()))
        chosen = (chosen - {largest}) | _outermost(order, largest)
    names = list(found)
    kept = np.linspace(0, len(names) - 1, min(MOST, len(names))).round().astype(int)
    return {names[at]: found[names[at]] for at in kept}


def _of_examples(made: Any, count: int) -> bool:
    """Whether a module gave one row per example."""
    return isinstance(made, Tensor) and made.ndim >= 2 and len(made) == count


def _outermost(order: list[str], inside: str) -> set[str]:
    """The called modules inside another (or the model, ``""``) that are in no further one that was called."""
    inner = [name for name in order if name != inside and name.startswith(f"{inside}." if inside else "")]
    return {name for name in inner if not any(name.startswith(f"{other}.") for other in inner)}


def _grouped(named: dict[str, nn.Module], order: list[str], chosen: set[str]) -> dict[str, str]:
    """The layers that begin among the chosen modules, each with the module that ends it."""
    found: dict[str, str] = {}
    for name in (name for name in order if name in chosen):
        if any(value.ndim >= 2 for value in named[name].parameters()):
            found[name] = name
        elif found:
            found[next(reversed(found))] = name
    return found


def layer_features(task: Task, model: nn.Module, examples: Examples, wanted: dict[str, str]) -> dict[str, np.ndarray]:
    """{layer: (n, d)} what each layer makes of each example, in double precision; the mean over places and tokens.

    Raises:
        DoesNotApply: the model lacks a layer of these, or the examples are padded.
    """
    if lacking := [end for end in wanted.values() if end not in dict(model.named_modules())]:
        raise DoesNotApply(f"{type(model).__name__} has no module {listed(lacking)}, so its layers are others")
    if examples.padding is not None:
        raise DoesNotApply(
            "these examples are padded, and a mean over positions would tell their lengths; layers are not compared"
        )
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}

    def call(asked: nn.Module, inputs: Any) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        count = len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
        before: list[tuple[nn.Module, int]] = []  # the module with weights that was called last, and its output's axes

        def weighted(module: nn.Module, _: Any, out: Any) -> None:
            before[:] = [(module, out.ndim)] if isinstance(out, Tensor) else []

        def first(name: str) -> Callable[..., None]:  # a module that is called again ends the layer that it ended first
            def keep(_: nn.Module, __: Any, out: Any) -> None:
                if name not in made and _of_examples(out, count):
                    made[name] = _pooled(out.detach(), channel_axis(out.shape, *before))

            return keep

        modules = dict(asked.named_modules())
        owning = [(each, weighted) for each in modules.values() if isinstance(getattr(each, "weight", None), Tensor)]
        with hooked([*owning, *((modules[end], first(name)) for name, end in wanted.items())]):
            asked(inputs)
        return made

    for _, _, made in outputs(task, model, examples, call):
        for name, values in made.items():
            parts[name].append(values)
    return {name: np.concatenate(rows) for name, rows in parts.items()}


def channel_axis(shape: Sequence[int], before: tuple[nn.Module, int] | None = None) -> int:
    """Which axis of a layer's output holds its features; the others are examples and places.

    Convolutions have them in the second and attention in the last, whether it looks at tokens (n, t, d) or at pictures
    (n, h, w, d), which some networks turn back.

    Args:
        before: the module with weights that was called last, and how many axes its output has.
    """
    usual = 1 if len(shape) > 3 else len(shape) - 1
    if before is None:
        return usual
    module, axes = before
    if isinstance(module, (_ConvNd, _NormBase, nn.GroupNorm)):
        return 1 if axes == len(shape) else usual
    width = module.weight.shape[-1 if isinstance(module, nn.Embedding) else 0]
    return next((axis for axis in (len(shape) - 1, 1) if shape[axis] == width), usual)


def _pooled(values: Tensor, axis: int) -> np.ndarray:
    """(n, d) the mean over all places, in double precision."""
    values = values.double()
    if values.ndim > 2:
        values = values.movedim(axis, 1).flatten(2).mean(2)
    return values.cpu().numpy()


def gram(features: np.ndarray) -> np.ndarray:
    """(n, n) the products of rows (n, d) after their mean was taken out."""
    centred = features - features.mean(0)
    return centred @ centred.T


def cka(first: np.ndarray, second: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Linear CKA of two sets of features of the same n examples, ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) of centred X and Y, from (n, n) grams.

    Between 0 and 1; no rotation and no scale of either changes it. NaN where one side is constant. Below five samples per
    feature it is biased upwards.

    Source: Kornblith et al. 2019 (arXiv 1905.00414).

    Args:
        counts: (n,) how often each example counts, as in a resampling; None for once.
    """
    weights = np.ones(len(first)) if counts is None else counts.astype(float)
    one, other = (_centred(each, weights) for each in (first, second))
    crossed = weights @ (one * other) @ weights
    scale = np.sqrt((weights @ (one * one) @ weights) * (weights @ (other * other) @ weights))
    return float(crossed / scale) if scale > 0 else float("nan")


def _centred(products: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Products of rows, as if the weighted mean had been taken out of the rows first."""
    means = products @ weights / weights.sum()
    return products - means[:, None] - means[None, :] + means @ weights / weights.sum()
