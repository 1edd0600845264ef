"""A task in double precision: where a difference of 1e-7 nats is to be measured, single precision has none."""

from __future__ import annotations

from typing import Any

import torch

from ..protocol import Examples, Task
from .delegation import delegated


class PreciseTask:
    """The same task with real-valued inputs in float64; everything else is the task's own."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getattr__(self, member: str) -> Any:
        return delegated(self, member)

    def split(self, name: str) -> Examples:
        """The split's examples, in double precision."""
        return self.task.split(name).in_precision(torch.float64)
