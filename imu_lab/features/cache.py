"""A task seen from its readout: what reaches the readout is computed once, and everything else works on that.

IMU moves only the readout, so the backbone's output per example is a constant. :func:`view` turns a task and a model into
the same task with the readout's inputs as examples, and the readout alone as the model. It follows the same protocol, so
every estimator, method and metric runs on it unchanged, hundreds of times faster.

What is kept is keyed by content: the tensors of the backbone and the data. Tensors alone do not tell what a model does (a
function that its ``forward`` calls may have been edited since), so every look puts a small probe through the model, and
what was kept is used only where the probe still gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..core.memo import Memo
from ..core.running import copied, device_of, evaluating, evenly, fingerprint, row_hashes, same, tensors_of
from ..tasks.around import Around, takes_examples, takes_whole
from ..tasks.evaluation import outputs, threads_of
from ..tasks.protocol import Batch, Examples, ExamplesOf, Task, check_unchanged, own_data_key, prepared, rows_at
from . import readout
from .readout import ALL, Readout

ROOM = 2**22  # numbers that reach the readout at once, and a quarter of those that it makes of them
CHECKED = 8  # examples that are read again before what was kept of them is used


def view(task: Task, model: nn.Module, cache: bool = True, scope: str = "readout") -> tuple[Task, nn.Module]:
    """The task and the model to work on: seen from the readout where that is one linear layer, else themselves.

    Args:
        cache: False gives the task and the model themselves.
        scope: what an estimator or a method acts on; only ``"readout"`` can be seen from the readout.

    Returns:
        The smaller task and a private copy of the readout, or ``task`` and ``model``.

    Raises:
        ValueError: data that a user holds were edited after the task was made.
    """
    check_unchanged(task)
    if not cache or scope != "readout":
        return task, model
    model = prepared(task, model)
    return seen_from(task, model, readout.examine(task, model))


def seen_from(task: Task, model: nn.Module, found: Readout) -> tuple[Task, nn.Module]:
    """:func:`view`, for a model that has been examined already."""
    if not found.linear:
        return task, model
    return ReadoutTask(task, model, found), copied(model.get_submodule(found.names[0]))


def as_seen_by(task: Task, examples: Examples) -> Examples:
    """Examples of the whole task, as ``task`` sees them: features where it is seen from its readout."""
    return task.features(examples) if isinstance(task, ReadoutTask) else examples


class ReadoutTask(Around):
    """A task seen from its linear readout: its examples are what reaches the readout, its model is the readout alone."""

    readout = (ALL,)
    prepared = None  # a readout is called as it is

    def __init__(self, task: Task, model: nn.Module, found: Readout, store: FeatureStore | None = None) -> None:
        self.task, self.name = task, found.names[0]
        self._model, self._probe = model, Probe(found.probe.inputs, found.reached)
        self._store = STORE if store is None else store
        self._backbone = fingerprint(*tensors_of(model, without=self.name))
        self._splits: dict[str, Examples] = {}

    def split(self, name: str) -> Examples:
        """The split's examples, their inputs replaced by what reaches the readout, and their targets untouched."""
        if name not in self._splits:
            examples, data = self.task.split(name), own_data_key(self.task)
            key = (self._backbone, device_of(self._model), data or self.task, examples.source)
            trusted = CHECKED if data else len(examples)
            self._splits[name] = self._seen(
                examples, lambda: self._store.rows(key, examples, self._computed, self._still_true, trusted)
            )
        return self._splits[name]

    def features(self, examples: Examples) -> Examples:
        """Examples that somebody hands over, as what reaches the readout: computed, for their ids may be anybody's."""
        return self._seen(examples, lambda: self._computed(examples))

    def _seen(self, examples: Examples, features: Callable[[], Features]) -> Examples:
        if not len(examples):
            return examples  # nothing reaches the readout
        kept = features()
        first = kept.values[0]
        made = first.numel() // first.shape[-1] * self._model.get_submodule(self.name).weight.shape[0]
        chunk = max(examples.chunk, min(ROOM // max(1, first.numel()), 4 * ROOM // max(1, made)))
        held, padding = Batch(kept.values, kept.targets), examples.padding
        held = held if padding is None else padding.cut(held)  # both as long as the longest of these
        return replace(Examples.of(*held, examples.ids, examples.source, chunk), padding=padding)

    def _computed(self, examples: Examples) -> Features:
        """What reaches the readout, in one pass through the backbone."""
        values, targets, hashes, order = torch.empty(0), [], [], examples.alike()
        for positions, batch, rows in outputs(self.task, self._model, examples, self._reaching(), alike=True):
            values = values if hashes else _room(len(examples), rows)
            if order is None:
                values[positions] = rows
            else:  # a padded example counts with its padding, whatever it stands beside
                values[positions, : rows.shape[1]] = rows
                values[positions, rows.shape[1] :] = 0
                batch = examples.fetch(positions).to(device_of(self._model))
            targets.append(batch.targets)
            hashes.append(content(batch))
        found = Features(examples.ids, values, concatenated(targets), np.concatenate(hashes), self._probe)
        return found if order is None else found.ordered(order.argsort())

    def _reaching(self) -> Callable[[nn.Module, Any], Tensor]:
        """From inputs to what reaches the readout. The first tell whether that has the outputs' shape: then the readout, which
        of a large vocabulary is much of the work, need not be computed for the others."""
        alike: list[bool] = []

        def reached(model: nn.Module, inputs: Any) -> Tensor:
            if alike and all(alike):
                return readout.reach(model, self.name, inputs)
            given, made = readout.as_given(model, self.name, inputs)
            alike.append(given.shape[:-1] == made.shape[:-1])
            return given.reshape(*made.shape[:-1], given.shape[-1])

        return reached

    def _still_true(self, kept: Features) -> bool:
        """Whether the backbone still does to the probe of some kept features what it did then."""
        if same(kept.probe.inputs, self._probe.inputs):
            return same(kept.probe.reached, self._probe.reached)
        # It was kept for another request, whose probe was of other samples.
        with threads_of(self.task), torch.no_grad(), evaluating(self._model):
            return same(kept.probe.reached, readout.capture(self._model, self.name, kept.probe.inputs)[0])

    def evaluate(self, model: nn.Module, split: str, examples_of: ExamplesOf | None = None) -> dict[str, float]:
        """The inner task's metrics: measured on features where it takes examples, else on the whole network."""
        if takes_examples(self.task):
            whole = {"whole": lambda: readout.graft(self._model, self.name, model)} if takes_whole(self.task) else {}
            return self.task.evaluate(model, split, examples_of=examples_of or self.split, **whole)
        return self.task.evaluate(readout.graft(self._model, self.name, model), split)


class Probe(NamedTuple):
    """A few inputs, and what reaches the readout for them."""

    inputs: Any
    reached: Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """What reaches the readout for some examples of one source.

    Attributes:
        ids: (n,) rising.
        values: (n, ..., d).
        targets: what the loss needs besides, row by row.
        hashes: (n,) of the content of each example, its input and its target.
        probe: what the backbone did when these were computed.
    """

    ids: Tensor
    values: Tensor
    targets: Any
    hashes: np.ndarray
    probe: Probe

    def take(self, positions: Tensor) -> Features:
        """Some rows, in this order."""
        return replace(self, ids=self.ids[positions], values=self.values[positions]).ordered(positions)

    def ordered(self, positions: Tensor) -> Features:
        """The same ids and values, with targets and hashes of these rows."""
        return replace(self, targets=rows_at(self.targets, positions), hashes=self.hashes[positions.numpy()])


class FeatureStore:
    """What reaches the readout, kept by content; the oldest entries go when ``limit`` bytes are exceeded.

    Only rows that are missing go through the model. An edited model or other data never get what was kept.
    """

    def __init__(self, limit: int = 4 * 2**30) -> None:
        self._kept: Memo[Features] = Memo(limit, lambda kept: kept.values.nbytes)

    @property
    def bytes(self) -> int:
        """What it holds now."""
        return self._kept.size

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def rows(
        self,
        key: tuple,
        examples: Examples,
        compute: Callable[[Examples], Features],
        still_true: Callable[[Features], bool],
        checked: int,
    ) -> Features:
        """The features of ``examples``, computing those that are missing.

        Args:
            key: the content of the backbone and of the data.
            compute: the features of some examples.
            still_true: whether the model still is the one that features were computed by.
            checked: how many of the examples are read again, to see that they are those that are kept under their ids.
        """
        if _repeated(examples.ids):
            return compute(examples)  # an id that two examples share tells neither of them
        ids, kept = examples.ids, self._kept.get(key)
        if kept is not None and not (still_true(kept) and _same_data(kept, examples, checked)):
            kept = None
        known = torch.isin(ids, kept.ids) if kept is not None else torch.zeros(len(ids), dtype=torch.bool)
        if not known.all():
            fresh = compute(examples if not known.any() else examples.take((~known).nonzero().flatten()))
            kept = fresh if kept is None else concatenated([kept, fresh])
            order = kept.ids.argsort(stable=True)
            kept = kept if bool((order.diff() == 1).all()) else kept.take(order)
            self._kept.put(key, kept)
        if len(ids) == len(kept.ids) and torch.equal(ids, kept.ids):
            return kept
        return kept.take(torch.searchsorted(kept.ids, ids))


STORE = FeatureStore()


def _repeated(ids: Tensor) -> bool:
    """Whether some id is there twice; of rising ones it is seen without sorting."""
    return bool((ids.diff() <= 0).any()) and bool((ids.sort().values.diff() == 0).any())


def content(batch: Batch) -> np.ndarray:
    """(n,) int64, a hash of each example's input and target."""

    def hashed(value: Any) -> list[np.ndarray]:
        if isinstance(value, Mapping):
            return [each for key in sorted(value) for each in hashed(value[key])]
        return [row_hashes(value)] if isinstance(value, Tensor) else []

    parts = hashed(batch.inputs) + hashed(batch.targets)
    return row_hashes(np.stack(parts, 1)) if parts else np.empty(0, np.int64)


def by_content(examples: Examples) -> Tensor:
    """(n,) positions in an order that the inputs alone decide: neither where they stand nor how classes are numbered."""
    whole = replace(examples, padding=None)  # a padded example counts with its padding, whatever it stands beside
    parts = [content(batch._replace(targets=None)) for _, batch in whole.batches()]
    return torch.from_numpy(np.argsort(np.concatenate(parts), kind="stable")) if parts else torch.empty(0).long()


def _same_data(kept: Features, examples: Examples, count: int) -> bool:
    """Whether some of the examples, evenly spread, are what was kept under their ids."""
    known = torch.isin(examples.ids, kept.ids).nonzero().flatten()
    if not len(known):
        return True
    wanted = known[evenly(count, len(known))]
    for positions in wanted.split(examples.chunk):
        rows = torch.searchsorted(kept.ids, examples.ids[positions])
        if not np.array_equal(content(examples.fetch(positions)), kept.hashes[rows.numpy()]):
            return False
    return True


def _room(count: int, rows: Tensor) -> Tensor:
    """An empty (count, ..., d) tensor, or a refusal that says how much it would take."""
    needed = count * rows[0].numel() * rows.element_size()
    try:
        return torch.empty(count, *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    except RuntimeError as error:
        raise MemoryError(
            f"the features of {count} examples need {needed / 2**30:.1f} GiB, more than this machine has; "
            "pass cache=False to stream them instead"
        ) from error


def concatenated(parts: list[Any]) -> Any:
    """Rows one after the other: of tensors, of dicts of them, of features."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {key: concatenated([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], Features):
        ids, targets = (concatenated([getattr(part, name) for part in parts]) for name in ("ids", "targets"))
        values = torch.cat(_of_one_length([part.values for part in parts]))
        return Features(ids, values, targets, np.concatenate([part.hashes for part in parts]), parts[0].probe)
    return torch.cat(parts)


def _of_one_length(parts: list[Tensor]) -> list[Tensor]:
    """Features of examples whose longest differ, padded to one length."""
    longest = max(part.shape[1] for part in parts)
    short = [longest - part.shape[1] for part in parts]
    return [nn.functional.pad(part, (0, 0, 0, more)) if more else part for part, more in zip(parts, short)]
