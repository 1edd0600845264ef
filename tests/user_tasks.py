"""Tasks as users write them, from the public names alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cases
import torch
from torch import Tensor, nn

from imu_lab.tasks import Batch, Examples


@dataclass(frozen=True)
class Own:
    """A task that follows the protocol and measures from its own tensors."""

    shift: float = 0.0
    readout: tuple[str, ...] | str | None = None

    def data(self) -> tuple[Tensor, Tensor]:
        """Forty points of three classes."""
        inputs, labels = cases.images(40, 3)
        return inputs + self.shift, labels

    def make_model(self, seed: int) -> nn.Module:
        """A fresh network."""
        return cases.conv_net(seed)

    def split(self, name: str) -> Examples:
        """The first ten are to be forgotten."""
        inputs, labels = self.data()
        rows = {"forget": torch.arange(10), "retain": torch.arange(10, 40)}.get(name, torch.arange(40))
        return Examples.of(inputs[rows], labels[rows], rows)

    def example_loss(self, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        """(n,) cross-entropy."""
        return nn.functional.cross_entropy(forward(batch.inputs), batch.targets, reduction="none")

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Accuracy, by this task's own loop over its own tensors."""
        inputs, labels = self.data()
        rows = self.split(split).ids
        with torch.no_grad():
            return {"accuracy": (model(inputs[rows]).argmax(1) == labels[rows]).double().mean().item()}

    def card(self, example: int) -> str:
        """A word."""
        return f"point {example}"


@dataclass(frozen=True)
class Composed:
    """An ordinary composition: another task with other metrics, asked as any object is."""

    task: Own = field(default_factory=Own)
    readout: tuple[str, ...] | str | None = None

    def make_model(self, seed: int) -> nn.Module:
        return self.task.make_model(seed)

    def split(self, name: str) -> Examples:
        return self.task.split(name)

    def example_loss(self, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        return self.task.example_loss(forward, batch)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        return {name: 1 - value for name, value in self.task.evaluate(model, split).items()}

    def card(self, example: int) -> str:
        return self.task.card(example)


def not_frozen() -> object:
    """A dataclass whose settings can change after something was computed for them."""
    members = {name: getattr(Own, name) for name in ("data", "make_model", "split", "example_loss", "evaluate", "card")}
    return dataclass(
        type("Loose", (), {**members, "shift": 0.0, "readout": None, "__annotations__": {"shift": float}})
    )()
