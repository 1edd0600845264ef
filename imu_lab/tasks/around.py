"""A task around another task: the same problem with other examples. What it does not say itself, the inner task says."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from inspect import signature
from typing import Any

import torch
from torch import nn

from .protocol import Abilities, Examples, ExamplesOf, Task, offered, own_data_key


class Around:
    """The base of tasks around ``task``; one that has other examples writes a ``split`` of its own.

    The inner task's methods run on the inner task. They get the examples that they speak of as arguments; the one that
    speaks of a split by its name, ``evaluate``, is handed the outer splits.
    """

    task: Task
    with_request = None  # the inner task's would come back without the task around it

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getattr__(self, member: str) -> Any:
        if member.startswith("__") or member == "task":
            raise AttributeError(member)  # copying and pickling look for such before there is a task inside
        if hasattr(Abilities, member):
            return getattr(self.task, member, getattr(Abilities, member))
        return getattr(self.task, member)

    @property
    def training_loss(self) -> Any:
        """The inner task's, which stands for its own losses: not where examples have another one here."""
        own = any("example_loss" in vars(kind) for kind in type(self).__mro__)
        return None if own else getattr(self.task, "training_loss", None)

    def split(self, name: str) -> Examples:
        """The inner task's examples."""
        return self.task.split(name)

    def heard(self, listen: Callable[[str], None]) -> Around:
        """One of the same class, by which a task seen from its readout is told: see the function :func:`heard`."""

        def split(name: str) -> Examples:
            listen(name)
            return self.split(name)

        seen = copy(self)
        vars(seen)["split"] = split
        return seen

    def evaluate(
        self,
        model: nn.Module,
        split: str,
        examples_of: ExamplesOf | None = None,
        whole: Callable[[], nn.Module] | None = None,
    ) -> dict[str, float]:
        """The inner task's metrics of a model on a split, measured on the outer task's examples.

        Raises:
            TypeError: there are others than the inner task's, which reads its data by itself and would measure its own.
        """
        also = {"whole": whole} if takes_whole(self.task) else {}
        if takes_examples(self.task):
            return self.task.evaluate(model, split, examples_of=examples_of or self.split, **also)
        if examples_of is None and type(self).split is Around.split:  # the examples are those that the inner task reads
            self.split(split)  # for whoever listens
            return self.task.evaluate(model, split, **also)
        raise TypeError(
            f"{type(self).__name__} has other examples than the {type(innermost(self)).__name__} inside, whose "
            "evaluate(model, split) reads its own. Let it take them: evaluate(self, model, split, examples_of=None), "
            "or write evaluate = imu.tasks.averages beside example_metrics"
        )


def heard(task: Task, listen: Callable[[str], None]) -> Task:
    """The task, of which ``listen`` is told the name of each split that others ask for, before they are given it.

    What the task does by itself it does unheard.
    """
    return (task if isinstance(task, Around) else Around(task)).heard(listen)


def restricted(task: Task, who: str) -> Task:
    """The task as one is handed it who works from the forget set alone.

    Raises:
        ValueError: from then on, where another split is asked for.
    """

    def refuse(split: str) -> None:
        if split not in ("forget", offered(task).declined):
            raise ValueError(
                f"{who} asked for the {split!r} split, and sees the forget set alone by what its class declares; for retain "
                "data write `needs_retain: ClassVar[bool] = True` there"
            )

    return heard(task, refuse)


class InDoublePrecision(Around):
    """The same task with real-valued inputs in float64: where a change of 1e-7 nats is measured, float32 has none."""

    def split(self, name: str) -> Examples:
        """The split's examples, in double precision."""
        return self.task.split(name).in_precision(torch.float64)


def takes_examples(task: Task) -> bool:
    """Whether a task's ``evaluate`` can be handed the examples to measure; one that cannot reads them by itself."""
    return "examples_of" in signature(innermost(task).evaluate).parameters


def takes_whole(task: Task) -> bool:
    """Whether a task's ``evaluate`` asks for the whole model beside its readout, as one that lets a model write does."""
    return "whole" in signature(innermost(task).evaluate).parameters


def innermost(task: Task) -> Task:
    """The task that all those around it are about."""
    while isinstance(task, Around):
        task = task.task
    return task


def own_samples_key(task: Task) -> str | None:
    """The digest of what a task's samples are before variants of them were made, whatever a loss or a model makes of them; None
    where it tells none."""
    inside = innermost(task)
    return own_data_key(inside, "samples_key") or own_data_key(inside)
