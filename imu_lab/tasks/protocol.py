"""The one protocol: what anything must have for influence, unlearning and every view to work on it.

Anything with these members is a task: no base class. Data may be a tensor, a dict batch or a stream; only the feature
cache assumes that something fits in memory, and it says what it will need first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Positions = Tensor | slice


class Batch(NamedTuple):
    """A few examples, ready for the model.

    Attributes:
        inputs: what the model is called with, a tensor (n, ...) or whatever the task's ``example_loss`` hands it.
        targets: what the loss needs besides, such as labels (n,) or next tokens (n, T).
    """

    inputs: Any
    targets: Any

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(_moved(self.inputs, device), _moved(self.targets, device))

    def repeated(self, copies: int) -> Batch:
        """The same batch with its targets ``copies`` times over, for as many models' outputs one after the other."""
        return self if copies == 1 else self._replace(targets=_repeated(self.targets, copies))

    def in_precision(self, dtype: torch.dtype) -> Batch:
        """The same batch with real-valued inputs in this precision; targets as they are."""
        return self._replace(inputs=_precise(self.inputs, dtype))


def _repeated(value: Any, copies: int) -> Any:
    if isinstance(value, dict):
        return {key: _repeated(item, copies) for key, item in value.items()}
    return value.repeat(copies, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) else value


def _precise(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {key: _precise(item, dtype) for key, item in value.items()}
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


@dataclass(frozen=True, eq=False)
class Examples:
    """Some examples of a data set, in order, each with an id that never changes.

    Attributes:
        ids: (n,) int64, the index of each example in its source.
        fetch: from positions (LongTensor or slice) in this collection to a Batch.
        source: the data the ids count in, ``"train"`` or ``"test"``.
        chunk: how many to put through a model at once.
    """

    ids: Tensor
    fetch: Callable[[Positions], Batch]
    source: str = "train"
    chunk: int = 512

    @classmethod
    def of(
        cls, inputs: Any, targets: Any, ids: Tensor | None = None, source: str = "train", chunk: int = 512
    ) -> Examples:
        """Examples held in memory: tensors (or dicts of tensors) whose first dimension counts examples."""
        count = len(next(iter(targets.values())) if isinstance(targets, dict) else targets)
        ids = torch.arange(count) if ids is None else torch.as_tensor(ids, dtype=torch.int64)
        return cls(ids, _Held(inputs, targets), source, chunk)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, positions: Positions = slice(None)) -> Batch:
        """The examples at these positions (all by default)."""
        return self.fetch(positions)

    def batches(self, size: int | None = None) -> Iterator[tuple[slice, Batch]]:
        """All examples in order, a few at a time, each with the positions it covers."""
        size = size or self.chunk
        for start in range(0, len(self), size):
            positions = slice(start, min(start + size, len(self)))
            yield positions, self.fetch(positions)

    def in_precision(self, dtype: torch.dtype) -> Examples:
        """The same examples with real-valued inputs in this precision."""
        return replace(self, fetch=_InPrecision(self.fetch, dtype))

    def take(self, positions: Tensor) -> Examples:
        """The examples at these positions, as a collection of their own."""
        positions = torch.as_tensor(positions, dtype=torch.int64)
        return replace(self, ids=self.ids[positions], fetch=_Taken(self.fetch, positions))


# What fetches examples is an object and no closure, so that examples can be pickled and sent to another process.


@dataclass(frozen=True, eq=False)
class _Held:
    """Fetches from tensors in memory."""

    inputs: Any
    targets: Any

    def __call__(self, at: Positions) -> Batch:
        return Batch(_rows(self.inputs, at), _rows(self.targets, at))


@dataclass(frozen=True, eq=False)
class _Taken:
    """Fetches some of another's examples."""

    fetch: Callable[[Positions], Batch]
    positions: Tensor

    def __call__(self, at: Positions) -> Batch:
        return self.fetch(self.positions[at])


@dataclass(frozen=True, eq=False)
class _InPrecision:
    """Fetches another's examples in another precision."""

    fetch: Callable[[Positions], Batch]
    dtype: torch.dtype

    def __call__(self, at: Positions) -> Batch:
        return self.fetch(at).in_precision(self.dtype)


def _rows(value: Any, at: Positions) -> Any:
    return {key: item[at] for key, item in value.items()} if isinstance(value, dict) else value[at]


@runtime_checkable
class Task(Protocol):
    """A model to train, data to train it on, and a request to forget some of it.

    A task is a frozen dataclass: its fields are its settings and its equality is the memo key. Beyond these members a
    task may declare ``splits`` (the splits a run follows), ``recipe`` (how to train), ``data_key`` (a digest of its
    data, for the checkpoint cache), ``unlearning`` (its own defaults for a method's settings), ``forgotten_when`` (the
    metric that falls or rises when something is forgotten, and how: ``("accuracy", "<=")``), ``follows`` (registered
    metrics to record at every update, such as ``("kl-retrained",)``), ``example_margin(forward, batch)`` (n,), and
    ``example_metrics(forward, batch)`` {name: (n,)} with ``evaluate = averages`` where all its metrics are means of such.
    Where an example is several predictions it declares ``example_length(batch)`` (n,), their number, over which
    ``example_loss`` is a mean, and ``example_divergence(outputs, reference, batch)`` (n,), for outputs that are padded.
    ``labels(examples)`` and ``test_labels(examples)`` name the labels of training and of test samples, ``answers`` what each
    output of the model stands for; ``distinct = True`` says that its metrics compare samples with each other, so that none
    can be there twice.
    """

    readout: tuple[str, ...] | str | None

    def make_model(self, seed: int) -> nn.Module:
        """A fresh model; the same seed gives the same weights, and the global random state is left alone."""

    def split(self, name: str) -> Examples:
        """The examples of ``"train"``, ``"forget"``, ``"retain"`` or ``"test"``."""

    def example_loss(self, forward: Callable[[Any], Tensor], batch: Batch) -> Tensor:
        """(n,) the loss of each example, in nats; ``forward`` maps ``batch.inputs`` to the model's outputs.

        Where its derivative at the outputs is known in closed form it may be marked with it, by
        :func:`imu_lab.tasks.outputs.derived`; else autograd finds it.
        """

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The task's metrics of a model on a split, by name."""

    def card(self, example: int) -> str:
        """HTML of what a person looks at: a picture, a person, a sequence, a sentence."""


FORGOTTEN_WHEN = ("accuracy", "<=")


def forgotten_when(task: Task) -> tuple[str, str]:
    """The metric on the forget split that tells of forgetting, and the comparison that a bare number stands for."""
    return getattr(task, "forgotten_when", FORGOTTEN_WHEN)


LABELS = {"train": "labels", "test": "test_labels"}  # members of a task that name the labels of a source's examples


def labels_of(task: Any, examples: Any, source: str = "train") -> list[str]:
    """The labels of these samples of a source, by index; empty words where the task names none."""
    names = getattr(task, LABELS.get(source, ""), None)
    return [""] * len(examples) if names is None else list(names(examples))


def with_request(task: Task, examples: Iterable[int]) -> Task:
    """The same task with another request: to forget these training samples, by index.

    A task whose requests are single samples offers ``with_request(examples)``. What wraps a task does not hand on the one
    of the task inside, which would come back without its wrapper.

    Raises:
        ValueError: this task forgets no single samples.
    """
    offered = getattr(type(task), "with_request", None)
    if offered is None:
        raise ValueError(f"{type(task).__name__} forgets no single samples; make another task for another request")
    return offered(task, tuple(sorted(int(example) for example in examples)))


def evaluation_splits(task: Task) -> tuple[str, ...]:
    """The splits that a run follows, in the order in which they are drawn."""
    return getattr(task, "splits", ("forget", "retain", "test"))
