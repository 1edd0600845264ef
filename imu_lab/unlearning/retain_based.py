"""Methods that use the retain set, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..registry import method
from ..tasks.protocol import Task
from ..tasks.training import Recipe, epochs
from .request import Request


@method("retrain")
@dataclass(frozen=True)
class Retrain:
    """The gold standard: forget everything, then train from fresh weights on the retain set. One update is one epoch.

    After the recipe's last epoch the model rests, and equals ``imu.train(task, "retain", seed)`` bit for bit.
    """

    needs_retain: ClassVar[bool] = True
    scope: ClassVar[str] = "all"

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[None]:
        """Retrain the private ``model``, yielding after each epoch."""
        model.load_state_dict(task.make_model(request.seed).state_dict())
        model.requires_grad_(True)
        for _ in epochs(task, model, request.retain, getattr(task, "recipe", Recipe()), request.seed):
            yield None
        while True:
            yield None
