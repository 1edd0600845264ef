"""The tasks, models and runs that several lessons' exercises ask about, made once."""

from __future__ import annotations

from typing import Any

from ..core.memo import remembered
from ..core.records import Run
from ..intensities import intensity
from ..lab.verbs import influence, unlearn
from ..tasks.checkpoints import train
from ..tasks.classification import Classification
from ..tasks.protocol import Task

BY_CLASS = Classification("digits", forget_class=3, seed=0)
AT_RANDOM = Classification("digits", forget_fraction=0.1, seed=0)


def model_of(task: Task, split: str = "train", seed: int = 0) -> Any:
    """The model of a lesson; trained once, then read from the checkpoints."""
    return train(task, split, seed=seed)


@remembered(4)
def weighted_run(task: Task, steps: int, stop_at: str | None = None) -> Run:
    """The run of most lessons: the paper's weights, with no retrained model beside it."""
    original = model_of(task)
    return unlearn(task, original, intensity(influence(task, original)), steps=steps, stop_at=stop_at)


def forgets(run: Run, task: Task) -> bool:
    """Whether a run was asked to forget the very samples of a task."""
    return set(run.samples["example"]) == set(task.split("forget").ids.tolist())


def near(given: float, true: float, within: float = 0.01) -> bool:
    """Whether a number is right to about two digits: within a hundredth of its size, or half a hundredth near zero."""
    return abs(given - true) <= max(within * abs(true), within / 2)
