"""The one protocol: what anything must have for influence, unlearning and every view to work on it.

Anything with these members is a task: no base class. Data may be a tensor, a dict batch or a stream; only the feature
cache assumes that something fits in memory, and it says what it will need first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import getattr_static, signature
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..core.memo import clear_caches
from ..core.running import edits
from ..core.taken import several_examples

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

    def in_precision(self, dtype: torch.dtype) -> Batch:
        """The same batch with real-valued inputs in this precision; targets as they are."""
        return self._replace(inputs=_precise(self.inputs, dtype))


def _precise(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {key: _precise(item, dtype) for key, item in value.items()}
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


class Padding(NamedTuple):
    """How long examples are that are padded to one length, and how a batch of them is cut to what its longest needs.

    Attributes:
        lengths: (n,) how many places of a model's outputs count for each, the first ones.
        beside: (n,) numbers that order examples of one length, such as how much else of them there is.
        cut: from a batch to the same batch without the places that are padding in all of it. What is left of a model's
            outputs must be their first places.
    """

    lengths: Tensor
    beside: Tensor
    cut: Callable[[Batch], Batch]

    def take(self, positions: Tensor) -> Padding:
        """That of some of the examples."""
        return Padding(self.lengths[positions], self.beside[positions], self.cut)


@dataclass(frozen=True, eq=False)
class Examples:
    """Some examples of a data set, in order, each with an id that never changes.

    Attributes:
        ids: (n,) int64, the index of each example in its source.
        fetch: from positions (LongTensor or slice) in this collection to a Batch.
        source: the data the ids count in, ``"train"`` or ``"test"``.
        chunk: how many to put through a model at once.
        padding: of examples of different lengths, what tells them; a batch is then as long as its longest example, and
            what ``fetch`` gives is as long as the longest of all.
    """

    ids: Tensor
    fetch: Callable[[Positions], Batch]
    source: str = "train"
    chunk: int = 512
    padding: Padding | None = None

    @classmethod
    def of(
        cls, inputs: Any, targets: Any, ids: Tensor | None = None, source: str = "train", chunk: int = 512
    ) -> Examples:
        """Examples held in memory: tensors (or dicts of tensors) whose first dimension counts examples."""
        count = len(next(iter(targets.values())) if isinstance(targets, dict) else targets)
        ids = torch.arange(count) if ids is None else torch.as_tensor(ids, dtype=torch.int64)
        return cls(ids, _Held(inputs, targets), source, chunk)

    def __len__(self) -> int:
        return self.ids.shape[0]  # the length of a tensor takes torch ten times as long

    def batch(self, positions: Positions = slice(None)) -> Batch:
        """The examples at these positions (all by default)."""
        fetched = self.fetch(positions)
        return fetched if self.padding is None else self.padding.cut(fetched)

    def alike(self) -> Tensor | None:
        """(n,) all positions, so that examples of like length follow each other, the longest first; None without padding."""
        if self.padding is None or not len(self):
            return None
        lengths, beside, _ = self.padding
        return (lengths * (1 + beside.max()) + beside).argsort(descending=True, stable=True)

    def batches(self, size: int | None = None) -> Iterator[tuple[slice, Batch]]:
        """All examples in order, a few at a time, each with the positions it covers."""
        size = size or self.chunk
        for start in range(0, len(self), size):
            positions = slice(start, min(start + size, len(self)))
            yield positions, self.batch(positions)

    def in_precision(self, dtype: torch.dtype) -> Examples:
        """The same examples with real-valued inputs in this precision."""
        return replace(self, fetch=_InPrecision(self.fetch, dtype))

    def take(self, positions: Tensor) -> Examples:
        """The examples at these positions, as a collection of their own."""
        positions = torch.as_tensor(positions, dtype=torch.int64)
        padding = self.padding and self.padding.take(positions)
        return replace(self, ids=self.ids[positions], fetch=_Taken(self.fetch, positions), padding=padding)


# What fetches examples is an object and no closure, so that examples can be pickled and sent to another process.


@dataclass(frozen=True, eq=False)
class _Held:
    """Fetches from tensors in memory. What it gives may share their memory, so somebody who writes into a batch changes the
    data of everybody: that is noticed at the next batch."""

    inputs: Any
    targets: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "_edits", edits(self.inputs, self.targets))

    def __reduce__(self) -> tuple:
        return _Held, (self.inputs, self.targets)  # a copy counts its own edits

    def __call__(self, at: Positions) -> Batch:
        if edits(self.inputs, self.targets) != self._edits:
            clear_caches()
            raise ValueError(
                "these examples were written into since they were made, by a model, a loss, a method or an estimator that they "
                "were handed to, or by hand; write into a copy, such as x = x.clone(), and make the task again"
            )
        return Batch(rows_at(self.inputs, at), rows_at(self.targets, at))


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


def rows_at(value: Any, at: Positions) -> Any:
    """Some rows of a tensor, or of each of several by name."""
    return {key: item[at] for key, item in value.items()} if isinstance(value, dict) else value[at]


@runtime_checkable
class Task(Protocol):
    """A model to train, data to train it on, and a request to forget some of it.

    A task is a frozen dataclass: its fields are its settings and its equality is the memo key. These members are all that
    it must have; what else it may offer stands in :class:`Abilities`.
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
        """The task's metrics of a model on a split, by name.

        Measured so, a run puts every split through the whole network at each recorded update. A task that takes a third
        argument, ``examples_of`` (from a split's name to its examples, or None for the task's own), is handed what reaches
        the readout instead, and altered samples where a study alters some. ``evaluate = averages`` does all of that where
        the metrics are means over examples (see :func:`imu_lab.tasks.evaluation.averages`).
        A fourth argument, ``whole``, is then a function that gives the whole model, for metrics that the readout alone
        cannot tell, such as what a language model writes.
        """

    def card(self, example: int) -> str:
        """HTML of what a person looks at: a picture, a person, a sequence, a sentence."""


ExamplesOf = Callable[[str], Examples]  # from a split's name to its examples


class Abilities:
    """What a task may offer beyond :class:`Task`, each with what stands where it offers nothing.

    No task has to inherit from this class. Code asks ``offered(task).recipe`` and gets the task's own or the default here.

    Attributes:
        splits: the splits that a run follows, in the order in which they are drawn.
        recipe: how to train, a :class:`imu_lab.tasks.Recipe`.
        data_key: a digest of the data, for the caches of checkpoints and features. Without it the task itself is the key
            of features, and no checkpoint is kept.
        samples_key: a digest of the samples alone, where ``data_key`` tells of more, such as a loss or where training starts.
        code: a digest of the functions that a user gave it, as they are now, for what is kept of its runs; "" where it has none.
        unlearning: the task's own defaults for a method's settings, by name; under a method's name, those of it alone.
        forgotten_when: the metric on the forget split that tells of forgetting, and how: ``("accuracy", "<=")``.
        goal: when the request counts as forgotten, where that needs no retrained model: a metric on the forget split, a
            comparison and a value, such as ``("accuracy", "<=", 0.0)`` for a class. ``stop_at="forgotten"`` stands for it.
        follows: names of registered metrics to record at every update, such as ``("kl-retrained",)``.
        declined: the split that holds what is to be forgotten with answers that decline, under the same ids.
        answers: what each output of the model stands for; ``classes`` the labels there are, by number.
        probabilities: whether outputs are logits of probabilities, which those of a regression are not.
        distinct: whether the metrics compare samples with each other, or know each by its id, so that none can be there twice.
        example_margin: ``(forward, batch)`` to (n,) the true logit minus the largest other.
        example_metrics: ``(forward, batch)`` to {name: (n,)}, of which ``evaluate = averages`` takes the means.
        example_length: ``(batch)`` to (n,), the number of predictions that an example's loss is the mean of.
        example_divergence: ``(outputs, reference, batch)`` to (n,) KL(reference ‖ model), for outputs that are no logits.
        token_losses: ``(forward, batch)`` to (n, T), the loss of each prediction of an example; the tokens themselves are
            ``batch.targets["tokens"][:, 1:]``, negative where there is none.
        spelled: from tokens to what each is in writing.
        labels, test_labels: from ids to the names of the labels of training and of test samples.
        pictures: from ids of training samples to uint8 (n, h, w, 3), or None where there are none; one that takes a second
            argument, ``source``, is asked for those of test samples, too (see :func:`pictures_of`).
        columns: from ids of training samples to further names of each, by column, such as ``{"superclass": [...]}``.
        originals: from ids to the ids of what those samples are copies of.
        files: from ids of training samples to where each came from; empty words for samples that were no files.
        unchanged: raises where data that a user holds were edited after the task was made.
        prepared: from a model to that model as the task calls it, such as without the wrappers of torch.compile.
        training_loss: ``(model, batch)`` to the one number that training minimises, where that is not the mean of the examples'
            losses: samples of a batch are compared with each other. Part of ``data_key``, then, or of the task's equality.
        training_order: ``(examples, generator)`` to the positions of all examples, in the order of an epoch.
        trained: ``(split, seed)`` to a model that needs no training of ours, or None.
        with_request: from ids of training samples to the same task with these to be forgotten.
        ranked: ``(model, split)`` to the whole gallery ranked for each query, a few of them at a time, in order.
    """

    splits: tuple[str, ...] = ("forget", "retain", "test")
    recipe: Any = None
    data_key: str | None = None
    samples_key: str | None = None
    code: str = ""
    unlearning: Mapping[str, Any] = MappingProxyType({})
    forgotten_when: tuple[str, str] = ("accuracy", "<=")
    goal: tuple[str, str, float] | None = None
    follows: tuple[str, ...] = ()
    declined: str | None = None
    answers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    probabilities: bool = True
    distinct: bool = False
    example_margin: Callable[[Callable, Batch], Tensor] | None = None
    example_metrics: Callable[[Callable, Batch], dict[str, Tensor]] | None = None
    example_length: Callable[[Batch], Tensor] | None = None
    example_divergence: Callable[[Any, Any, Batch], Tensor] | None = None
    token_losses: Callable[[Callable, Batch], Tensor] | None = None
    spelled: Callable[[Any], list[str]] | None = None
    labels: Callable[[Any], list[str]] | None = None
    test_labels: Callable[[Any], list[str]] | None = None
    pictures: Callable[[Any], Any] | None = None
    columns: Callable[[Any], dict[str, list[str]]] | None = None
    originals: Callable[[Any], Any] | None = None
    files: Callable[[Any], list[str]] | None = None
    unchanged: Callable[[], None] | None = None
    prepared: Callable[[nn.Module], nn.Module] | None = None
    training_loss: Callable[[nn.Module, Batch], Tensor] | None = None
    training_order: Callable[[Examples, torch.Generator], Tensor] | None = None
    trained: Callable[[str, int], nn.Module | None] | None = None
    with_request: Callable[[Any], Any] | None = None
    ranked: Callable[[nn.Module, str], Any] | None = None


class _Offered:
    """A task's own members, and the defaults of :class:`Abilities` in place of those that it does not have."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        default = getattr(Abilities, name)  # no such ability: an AttributeError that says so
        try:
            return getattr(self._task, name)
        except AttributeError:
            if getattr_static(self._task, name, None) is not None:
                raise  # the task has it, and something in it went wrong
            return default


def offered(task: Any) -> Abilities:
    """What a task offers beyond the protocol. Nothing else in the library asks whether a task has a member."""
    return _Offered(task)  # type: ignore[return-value]


def own_data_key(task: Any, name: str = "data_key") -> str | None:
    """The digest of a task's data, where it is of the data that the task gives: a subclass with a ``split`` of its own and
    the ``data_key`` of the class above has none."""
    for kind in type(task).__mro__:
        if name in vars(kind) or name in getattr(kind, "__annotations__", {}):
            return getattr(offered(task), name)
        if "split" in vars(kind):
            return None
    return None


def labels_of(task: Any, examples: Any, source: str = "train") -> list[str]:
    """The labels of these samples of a source, by index; empty words where the task names none."""
    names = {"train": offered(task).labels, "test": offered(task).test_labels}.get(source)
    return [""] * len(examples) if names is None else list(names(examples))


def names_of(task: Any, examples: Examples) -> list[str]:
    """The labels of these examples; empty words where the task names none."""
    return labels_of(task, examples.ids, examples.source)


def pictures_of(task: Any, examples: Any, source: str = "train") -> Any:
    """uint8 (n, h, w, 3) of these samples of a source, by index; None where the task shows none of it."""
    own = offered(task).pictures
    if own is None:
        return None
    if "source" in signature(own).parameters:
        return own(examples, source=source)
    return own(examples) if source == "train" else None


def check_unchanged(task: Any) -> None:
    """Read the data that a user holds once more, where the task holds any: a ValueError says that they were edited since."""
    if (unchanged := offered(task).unchanged) is not None:
        unchanged()


def prepared(task: Task, model: nn.Module) -> nn.Module:
    """The model as this task calls it: itself, where nothing has to change."""
    own = offered(task).prepared
    return model if own is None else own(model)


def with_request(task: Task, examples: Iterable[int]) -> Task:
    """The same task with another request: to forget these training samples, by index.

    Raises:
        ValueError: this task forgets no single samples.
    """
    asked = offered(task).with_request
    if asked is None:
        raise ValueError(f"{type(task).__name__} forgets no single samples; make another task for another request")
    return asked(tuple(sorted(several_examples(examples, "a request"))))


def original_ids(task: Any, ids: Tensor) -> Tensor:
    """The ids with those of copies exchanged for those of what they are copies of; few tasks have copies."""
    found = offered(task).originals
    return ids if found is None else torch.as_tensor(found(ids.numpy()))
