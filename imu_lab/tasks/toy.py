"""Blobs in the plane: the smallest task there is, on which every registered thing is tested and drawn."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.messages import unknown
from ..core.running import digest, full_precision, seeded
from . import cross_entropy
from .evaluation import averages
from .protocol import Examples
from .training import Recipe


@dataclass(frozen=True)
class Toy:
    """Three Gaussian blobs, ``per_class`` training points each; forget one of them.

    Written against the protocol and nothing else: no base class, its own splits, its own loss. A user's task looks
    like this.
    """

    forget_blob: int = 0
    per_class: int = 40
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    recipe: ClassVar[Recipe] = Recipe(epochs=10, lr=0.1, batch_size=16)
    goal: ClassVar[tuple[str, str, float]] = ("accuracy", "<=", 0.0)
    unlearning: ClassVar[Mapping[str, Any]] = {"lr": 3e-2, "batch_size": 16}

    @full_precision()
    def __post_init__(self) -> None:
        if self.forget_blob not in range(3):
            raise ValueError(f"forget_blob must be 0, 1 or 2, got {self.forget_blob!r}")

    @property
    def data_key(self) -> str:
        """A digest of what the points are drawn from."""
        return digest("toy", self.per_class, self.seed)

    def _points(self, source: str) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(2 * self.seed + (source == "test"))
        labels = torch.arange(3).repeat_interleave(self.per_class)  # (n,)
        centres = torch.tensor([[0.0, 1.5], [1.3, -0.75], [-1.3, -0.75]])
        return centres[labels] + 0.7 * torch.randn(len(labels), 2, generator=generator), labels

    @full_precision()
    def split(self, name: str) -> Examples:
        """``"train"``, ``"forget"``, ``"retain"`` or ``"test"`` (the blobs that are kept)."""
        points, labels = self._points("test" if name == "test" else "train")
        parts = {
            "train": labels >= 0,
            "forget": labels == self.forget_blob,
            "retain": labels != self.forget_blob,
            "test": labels != self.forget_blob,
        }
        if name not in parts:
            raise unknown("split", name, parts)
        chosen = parts[name].nonzero().flatten()
        return Examples.of(points[chosen], labels[chosen], chosen, "test" if name == "test" else "train")

    def make_model(self, seed: int) -> nn.Module:
        """A two-layer network with 8 hidden units."""
        with seeded(seed):
            return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))

    example_loss = cross_entropy.example_loss
    example_margin = cross_entropy.example_margin
    example_metrics = cross_entropy.example_metrics
    evaluate = averages

    def card(self, example: int) -> str:
        """The point's coordinates."""
        points, labels = self._points("train")
        where = ", ".join(f"{value:.2f}" for value in points[example].tolist())
        return html.escape(f"point {int(example)} of blob {int(labels[example])} at ({where})")
