"""What goes with each data set: a network, how to train it, and settings at which its forgetting can be watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .training import Recipe


@dataclass(frozen=True)
class Preset:
    """A network by its name, a recipe, and defaults for a method's settings."""

    architecture: str
    recipe: Recipe
    unlearning: Mapping[str, Any] = field(default_factory=dict)


_PICTURES = Preset("resnet-20", Recipe(epochs=8, lr=0.2, batch_size=128, augment=True, one_thread=False), {"lr": 1e-3})
_FIGURES = Preset("small-cnn", Recipe(epochs=4, lr=0.1, batch_size=128, one_thread=False), {"lr": 1e-3})
PRESETS = {
    "digits": Preset("small-cnn", Recipe(epochs=12, lr=0.05, weight_decay=5e-3), {"lr": 1e-3, "batch_size": 64}),
    "mnist": _FIGURES,
    "fashion-mnist": _FIGURES,
    # A mirrored digit is another sign.
    "svhn": Preset("resnet-20", Recipe(epochs=8, lr=0.2, batch_size=128, one_thread=False), {"lr": 1e-3}),
    "cifar10": _PICTURES,
    "cifar100": _PICTURES,
    "folder": replace(_PICTURES, unlearning={}),  # of a stranger's pictures the learning rate is found
}
ENOUGH = 150  # updates, without which a network learns little however often it sees each example
SMALLEST = 16  # examples per update


def preset(data: str) -> Preset:
    """What goes with a data set by name, or with a folder."""
    return PRESETS.get(data, PRESETS["folder"])


def fitted(recipe: Recipe, count: int) -> Recipe:
    """A default recipe for so many examples: of few, smaller batches make enough updates, and then more epochs.

    The learning rate goes with the size of the batch (Goyal et al. 2017, arXiv 1706.02677). Few examples are not augmented:
    that takes many more epochs.
    """
    size = recipe.batch_size
    while size > SMALLEST and recipe.epochs * -(-count // size) < ENOUGH:
        size = max(SMALLEST, size // 2)
    epochs = max(recipe.epochs, -(-ENOUGH // -(-count // size)))
    rate, augment = recipe.lr * size / recipe.batch_size, recipe.augment and size == recipe.batch_size
    return replace(recipe, batch_size=size, lr=rate, epochs=epochs, augment=augment)
