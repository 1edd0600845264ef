"""What records were asked: which samples, of which data, of which model. Whoever puts several beside each other looks at that
here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ..core.records import Influence, Run
from ..core.running import digest
from ..features.cache import content
from ..tasks.around import innermost, own_samples_key

Record = Run | Influence
Kind = TypeVar("Kind")


class Asked(NamedTuple):
    """What a record speaks of.

    Attributes:
        samples: by index; none where it has no table of them.
        data: a digest, before variants of their samples were made; None where neither the record nor its task tells, as of a
            run that an earlier version saved.
    """

    samples: frozenset[int]
    data: str | None

    @classmethod
    def of(cls, record: Record) -> Asked:
        """A run's, or that of influences."""
        table, task = (record.samples, record.task) if isinstance(record, Run) else (record.frame, None)
        data = record.settings.get("data")
        if data is None and task is not None:
            forget = (content(batch) for _, batch in innermost(task).split("forget").batches())
            data = own_samples_key(task) or digest(*forget)
        return cls(frozenset(table["example"] if "example" in table else ()), data)

    def other_data(self, other: Asked) -> bool:
        """Whether the two are known to speak of different data."""
        return None not in (self.data, other.data) and self.data != other.data


def requests_of(records: Iterable[Record]) -> list[int]:
    """Which request each record answers, from 1: those that speak of the same samples of the same data share a number."""
    return _numbered(
        map(Asked.of, records), lambda one, other: one.samples == other.samples and not one.other_data(other)
    )


def originals_of(runs: Iterable[Run]) -> list[int]:
    """Which model each run began with, from 1: runs of which nothing is known that was another before the first update share
    a number. What moved in both is looked at."""

    def alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return all(torch.equal(one[name], other[name]) for name in one.keys() & other.keys())

    return _numbered(({} if run.snapshots is None else run.snapshots.kept.get(0, {}) for run in runs), alike)


def _numbered(given: Iterable[Kind], alike: Callable[[Kind, Kind], bool]) -> list[int]:
    """The number of each kind, from 1, in the order in which they come."""
    known: list[Kind] = []
    numbers = []
    for mine in given:
        at = next((number for number, each in enumerate(known, 1) if alike(each, mine)), None)
        known += [mine] * (at is None)
        numbers.append(at or len(known))
    return numbers


def check_one_request(records: Iterable[Record], call: str) -> None:
    """Make sure that records answer one request.

    Raises:
        ValueError: they speak of different data, or of other samples; the message names ``call``.
    """
    records = list(records)
    check_same_data(records, call)
    if len({Asked.of(record).samples for record in records}) > 1:
        raise ValueError(
            f"these runs answer two requests: they forget other samples; {call} takes runs that forget the same samples"
        )


def check_same_data(records: Iterable[Record], call: str) -> None:
    """Make sure that a sample's index means the same sample in all of these records.

    Raises:
        ValueError: they speak of different data; the message names ``call``.
    """
    records = list(records)
    known = {mine.data for mine in map(Asked.of, records)} - {None}
    if len(known) > 1:
        what = "runs" if isinstance(records[0], Run) else "influences"
        raise ValueError(
            f"these {what} answer two requests: they were made on {len(known)} different data sets, in which a sample's index "
            f"means another sample; {call} takes those of one data set"
        )
