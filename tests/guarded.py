"""What a method or an estimator may not touch, and how it is seen that it did not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cases
import numpy as np
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks.protocol import Examples, Task
from imu_lab.unlearning import Request


@contextmanager
def nothing_else_changes(model: nn.Module) -> Iterator[None]:
    """The model, the global random states and the number of threads are what they were."""
    threads = torch.get_num_threads()
    before, states = cases.frozen(model), (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    grad, fast = torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()
    yield
    assert cases.same(before, model), "the original was changed"
    assert torch.equal(states[0], torch.get_rng_state()), "torch's global random state moved"
    assert np.array_equal(states[1], np.random.get_state()[1]), "numpy's global random state moved"
    assert states[2] == random.getstate(), "python's global random state moved"
    assert torch.get_num_threads() == threads, "the number of threads was not restored"
    assert (grad, fast) == (torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled())


class Guarded:
    """A task whose retain set may not be touched, and nothing that contains it."""

    def __init__(self, task: Any, allowed: tuple[str, ...] = ("forget",)) -> None:
        self._task, self._allowed = task, allowed

    def __getattr__(self, member: str) -> Any:
        if member.startswith("__"):
            raise AttributeError(member)
        return getattr(self._task, member)

    def split(self, name: str) -> Examples:
        """The forget set alone."""
        if name not in self._allowed:
            raise AssertionError(f"the {name} split was touched")
        return self._task.split(name)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Measuring is not the method's business."""
        raise AssertionError(f"the {split} split was evaluated")


def request(task: Task, retain: Examples | None, statistics: imu.Statistics | None = None) -> Request:
    """A request with even weights."""
    forget = task.split("forget")
    even = torch.full((len(forget),), 1 / len(forget), dtype=torch.float64)
    return Request(forget, even, retain, 0, statistics)


def statistics(task: Task, model: nn.Module, how: Any) -> imu.Statistics | None:
    """The parts that a method declares."""
    parts = imu.methods.declared(how, "needs_statistics")
    return imu.statistics(task, model, parts) if parts else None
