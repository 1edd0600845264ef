"""A user's own sequences of different lengths, padded: how far they are padded may change nothing that is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import seeded

STATES = 7
_CHANCE = torch.Generator().manual_seed(0)
ROWS = [torch.randint(STATES, (int(torch.randint(3, 9, (), generator=_CHANCE)),), generator=_CHANCE) for _ in range(45)]


class Recurrent(nn.Module):
    """What it says at a place depends on the places up to it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(STATES + 1, 6), nn.GRU(6, 6, batch_first=True)
        self.head = nn.Linear(6, STATES)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, T, K) logits."""
        return self.head(self.body(self.embedding(tokens + 1))[0])


@dataclass(frozen=True)
class Padded:
    """Predict the next of 3 to 8 tokens; −1 is padding, of which there may be more than is needed."""

    more: int = 0
    readout: str | None = None
    recipe: imu.tasks.Recipe = imu.tasks.Recipe(epochs=3, lr=0.05, batch_size=8)
    forgotten_when: ClassVar[tuple[str, str]] = ("loss", ">=")

    def make_model(self, seed: int) -> nn.Module:
        """A fresh recurrent network."""
        with seeded(seed):
            return Recurrent()

    def split(self, name: str) -> imu.tasks.Examples:
        """Twelve to forget, twenty-one to keep, twelve unseen."""
        first, end = {"train": (0, 33), "forget": (0, 12), "retain": (12, 33), "test": (33, 45)}[name]
        longest = 8 + self.more
        tokens = torch.stack([nn.functional.pad(row, (0, longest - len(row)), value=-1) for row in ROWS[first:end]])
        source, ids = ("test", range(end - first)) if name == "test" else ("train", range(first, end))
        return imu.tasks.Examples.of(tokens[:, :-1], tokens[:, 1:], torch.tensor(ids), source)

    def token_losses(self, forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        """(n, T) 0 at padding."""
        truth = batch.targets
        return nn.functional.cross_entropy(forward(batch.inputs).mT, truth.clamp_min(0), reduction="none") * (
            truth >= 0
        )

    def example_length(self, batch: imu.tasks.Batch) -> Tensor:
        """(n,) predicted tokens."""
        return (batch.targets >= 0).sum(1)

    def example_loss(self, forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        """(n,) the mean over a sequence's own tokens."""
        return self.token_losses(forward, batch).sum(1) / self.example_length(batch)

    def example_metrics(self, forward: Callable, batch: imu.tasks.Batch) -> dict[str, Tensor]:
        """The loss."""
        return {"loss": self.example_loss(forward, batch)}

    evaluate = imu.tasks.averages

    def card(self, example: int) -> str:
        """The tokens."""
        return str(ROWS[example].tolist())
