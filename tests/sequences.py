"""Small sequence tasks for tests: drawn from two or three tiny chains, trained in a moment."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks import Sequence
from imu_lab.tasks.sources import markov

QUICK = imu.tasks.Recipe(epochs=8, lr=1e-2, batch_size=16, optimizer="adamw")
OWNER = markov.owners(6, 3)
CHAINS = markov.chains(OWNER, 0.2)


def drawn(counts: tuple[int, ...] = (40, 20, 10), length: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sequences of three sources over six states, and the source of each."""
    generator = torch.Generator().manual_seed(seed)
    starts = markov.starts(OWNER, 0.2)
    rows = [markov.draw(CHAINS[s], starts[s], count, length, generator) for s, count in enumerate(counts)]
    return torch.cat(rows), torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def tiny(**request: Any) -> Sequence:
    """A task around such sequences: forget source 1, trained on sources 0 and 1 unless told otherwise."""
    given = dict(forget_sources=(1,), train_sources=(0, 1), recipe=QUICK) | request
    chains = given.pop("chains", CHAINS)
    return Sequence.from_data(drawn(), drawn((12, 9, 6), seed=1), chains=chains, **given)


@cache
def models() -> tuple[nn.Module, nn.Module]:
    """The original and the retrained model of the tiny task; nobody may change them."""
    return imu.train(tiny(), "train"), imu.train(tiny(), "retain")
