"""What captum needs to see of a task: its examples as a loader, its loss as an object, its model as a copy.

captum.influence works on ``(inputs, label)`` pairs, moves the weights of the model it is given, leaves its mode alone
and seeds the global generator. Here it gets a copy in eval mode, a whole batch as the "label", so that a task's loss
sees all it wants, and the random state is put back.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..core.running import device_of, seeded
from ..tasks.protocol import Batch, Examples, Task


class Loss(nn.Module):
    """A task's loss as captum wants it: called with outputs and label, with a ``reduction`` that says how it sums."""

    def __init__(self, task: Task, reduction: str) -> None:
        super().__init__()
        self.task, self.reduction = task, reduction

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(n,) the losses, or their sum."""
        losses = self.task.example_loss(lambda _: outputs, batch)
        return losses.sum() if self.reduction == "sum" else losses


class _Pairs(Dataset):
    """Examples whose "label" is the whole batch, on a device and in a precision."""

    def __init__(self, examples: Examples, model: nn.Module) -> None:
        self.examples, self.device = examples.in_precision(next(model.parameters()).dtype), device_of(model)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, positions: list[int]) -> tuple[Any, Batch]:
        batch = self.examples.batch(torch.tensor(positions)).to(self.device)
        return batch.inputs, batch


def loader(examples: Examples, model: nn.Module) -> DataLoader:
    """The examples in order, a chunk at a time."""
    return DataLoader(_Pairs(examples, model), batch_size=examples.chunk, collate_fn=lambda pair: pair)


def private(model: nn.Module) -> nn.Module:
    """A copy in eval mode and double precision: captum's eigenvectors lose their way in single."""
    return copy.deepcopy(model).eval().double().requires_grad_(True)


@contextmanager
def undisturbed(seed: int = 0) -> Iterator[None]:
    """captum seeds the global generator, which is put back afterwards, and warns about its own use of torch."""
    with seeded(seed), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        yield
