"""What records were asked: which samples, of which data. Whoever puts several beside each other looks at that here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..core.records import Influence, Run
from ..core.running import digest
from ..features.cache import content
from ..tasks.around import innermost
from ..tasks.protocol import own_samples_key

Record = Run | Influence


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
            data = own_samples_key(innermost(task)) or digest(*forget)
        return cls(frozenset(table["example"] if "example" in table else ()), data)

    def other_data(self, other: Asked) -> bool:
        """Whether the two are known to speak of different data."""
        return None not in (self.data, other.data) and self.data != other.data


def requests_of(records: Iterable[Record]) -> list[int]:
    """Which request each record answers, from 1: those that speak of the same samples of the same data share a number."""
    known: list[Asked] = []
    numbers = []
    for mine in map(Asked.of, records):
        alike = [each.samples == mine.samples and not each.other_data(mine) for each in known]
        if not any(alike):
            known, alike = [*known, mine], [*alike, True]
        numbers.append(alike.index(True) + 1)
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
