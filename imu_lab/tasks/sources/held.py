"""A user's inputs, kept by reference: read a few rows at a time, cast where the model needs it, and watched for edits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.running import digest, edits, evenly, row_hashes
from ..protocol import Batch, Positions

CHUNK = 2**23  # bytes read at once
QUICK = 1e-2  # seconds that looking for edits may take each time; where it takes longer it is done more rarely
RARELY = 20  # times its own duration
FEW = 64  # rows that are always read again


@dataclass(eq=False)
class Array:
    """Rows of a tensor or of a NumPy array."""

    values: Tensor | np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def get(self, at: Positions) -> Tensor:
        """(m, ...) the rows at some positions; those of a slice of a tensor share its memory."""
        if isinstance(self.values, Tensor):
            return self.values.detach()[at]
        rows = self.values[at.numpy() if isinstance(at, Tensor) else at]
        return torch.from_numpy(np.array(rows, dtype=rows.dtype.newbyteorder("=")))  # a copy: theirs may be read-only

    def version(self) -> int:
        """A count of edits, where the values keep one."""
        return sum(edits(self.values))

    def hashed(self) -> np.ndarray:
        """(n,) a hash of each row."""
        return row_hashes(self.values)


@dataclass(eq=False)
class Frame:
    """Rows of a pandas frame of numbers, as float64 where its columns are of several types."""

    frame: Any

    def __len__(self) -> int:
        return len(self.frame)

    def get(self, at: Positions) -> Tensor:
        """(m, columns)."""
        rows = self.frame.iloc[at.numpy() if isinstance(at, Tensor) else at]
        kinds = {str(kind) for kind in rows.dtypes}
        plain = len(kinds) == 1 and isinstance(rows.dtypes.iloc[0], np.dtype)
        return torch.from_numpy(
            np.array(rows.to_numpy() if plain else rows.to_numpy(dtype=np.float64, na_value=np.nan))
        )

    def version(self) -> int:
        """Frames do not count edits."""
        return 0

    def hashed(self) -> np.ndarray:
        """(n,) a hash of each row."""
        return np.concatenate([row_hashes(self.get(at)) for at in slices(self)])


@dataclass(eq=False)
class Members:
    """Rows of several members by name, as models of Hugging Face take them."""

    members: dict[str, Any]

    def __len__(self) -> int:
        return min(map(len, self.members.values()))

    def get(self, at: Positions) -> dict[str, Tensor]:
        """{name: (m, ...)}."""
        return {name: rows.get(at) for name, rows in self.members.items()}

    def version(self) -> int:
        """The edits of all members."""
        return sum(rows.version() for rows in self.members.values())

    def hashed(self) -> np.ndarray:
        """(n,) a hash of each row over all members."""
        return row_hashes(np.stack([rows.hashed() for rows in self.members.values()], 1))


@dataclass(eq=False)
class Stream:
    """Samples of a map-style dataset, read one by one.

    Attributes:
        data: the dataset.
        member: from a sample to its input, a tensor or a dict of tensors.
        few: positions that are read again to find out whether the data set is still the same.
    """

    data: Any
    member: Callable[[Any, int], Any]
    few: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.data)

    def get(self, at: Positions) -> Any:
        """(m, ...) the inputs at some positions, or a dict of such."""
        return stacked([self.one(i) for i in torch.arange(len(self))[at].tolist()])

    def one(self, i: int) -> Any:
        """One sample's input."""
        return self.member(self.data[i], i)

    def version(self) -> int:
        """Datasets do not count edits."""
        return 0

    def hashed(self) -> np.ndarray:
        """(m,) hashes of the few rows that stand for all."""
        return hashes_of(stacked([self.one(i) for i in self.few]))


def stacked(rows: list[Any]) -> Any:
    """One batch of samples of one shape."""
    if isinstance(rows[0], dict):
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return torch.stack(rows)


def hashes_of(batch: Any) -> np.ndarray:
    """(m,) a hash of each row of a tensor, or of a dict of tensors."""
    if isinstance(batch, dict):
        return row_hashes(np.stack([row_hashes(each) for each in batch.values()], 1))
    return row_hashes(batch)


def slices(rows: Any) -> Iterator[slice]:
    """Positions, as many at once as :data:`CHUNK` bytes hold."""
    count = len(rows)
    first = rows.get(slice(0, 1)) if count else torch.empty(1)
    size = sum(each.nbytes for each in (first.values() if isinstance(first, dict) else [first]))
    few = max(1, CHUNK // max(1, size))
    for start in range(0, count, few):
        yield slice(start, min(start + few, count))


def read(rows: Any, where: str) -> np.ndarray:
    """(n,) a hash of each row, once all are found finite; nothing is kept of them.

    Raises:
        ValueError: NaN or infinite inputs, by position.
    """
    parts = []
    for at in slices(rows):
        batch = rows.get(at)
        finite(batch, at.start, where)
        parts.append(hashes_of(batch))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def finite(batch: Any, start: int, where: str) -> None:
    """Raise ValueError, by position, where inputs hold NaN or an infinity; the first of them is at ``start``."""
    for values in batch.values() if isinstance(batch, dict) else [batch]:
        if not (values.is_floating_point() or values.is_complex()) or not values.numel():
            continue
        ends = torch.aminmax(values) if not values.is_complex() else torch.view_as_real(values).aminmax()
        if not all(torch.isfinite(end) for end in ends):  # a NaN is both ends; no temporary of the data's size is made
            bad = start + int((~torch.isfinite(values)).reshape(len(values), -1).any(1).nonzero()[0])
            raise ValueError(f"{where} input {bad} holds NaN or infinite values; clean the data first")


@dataclass(eq=False)
class Kept:
    """Inputs or labels of a user's, by reference, and what their content was when the task was made.

    Attributes:
        rows: see above.
        what: they are, in words.
        content, sample: digests of all rows, and of a few.
        version: the edits counted by then.
        took: seconds that reading all of them took the last time.
        checked: when that was.
    """

    rows: Any
    what: str
    content: str
    sample: str
    version: int
    took: float
    checked: float

    @classmethod
    def of(cls, rows: Any, what: str, hashes: np.ndarray | None = None, took: float = 0.0) -> Kept:
        """Remember the content as it is now; ``hashes`` of all rows, and the seconds they took, where they are known."""
        started = time.perf_counter()
        hashes = rows.hashed() if hashes is None else hashes
        now = time.perf_counter()
        return cls(rows, what, digest(hashes), digest(_few(rows)), rows.version(), took or now - started, now)

    def unchanged(self, thoroughly: bool = True) -> None:
        """Look whether the content is the same.

        All rows are read again, at memory speed: a tensor counts the edits made through it, but not those of an array that
        shares its memory. Unless ``thoroughly``, and as long as no edit was counted, what takes long is read whole only
        from time to time, and in between in a few rows; an edit of others may then be seen later. Of datasets, which are
        slow to ask, a few samples stand for all.

        Raises:
            ValueError: it is not.
        """
        rarely = self.took > QUICK and time.perf_counter() - self.checked < RARELY * self.took
        if rarely and not thoroughly and self.rows.version() == self.version and digest(_few(self.rows)) == self.sample:
            return
        started = time.perf_counter()
        if digest(self.rows.hashed()) != self.content:
            raise ValueError(
                f"the {self.what} were edited after the task was made, and what was computed speaks of them as they were; "
                "make the task again"
            )
        self.version, self.checked = self.rows.version(), time.perf_counter()
        self.took = self.checked - started


def _few(rows: Any) -> np.ndarray:
    """Hashes of a few rows, evenly spread."""
    if isinstance(rows, Stream):
        return rows.hashed()
    at = evenly(FEW, len(rows))
    if isinstance(rows, Array):  # of any type, words too
        return row_hashes(rows.values[at if isinstance(rows.values, Tensor) else at.numpy()])
    return hashes_of(rows.get(at))


@dataclass(frozen=True, eq=False)
class Fetch:
    """Fetches a user's rows, cast to what the model computes in.

    Attributes:
        rows: the inputs.
        targets: (n, ...).
        dtype: what real-valued inputs are cast to, and whole numbers where ``whole`` says so; None leaves them.
        whole: what inputs of whole numbers are cast to; None leaves them.
        name: the name under which a model takes a single input by keyword; None hands it over as it is.
    """

    rows: Any
    targets: Any
    dtype: torch.dtype | None = None
    whole: torch.dtype | None = None
    name: str | None = None

    def __call__(self, at: Positions) -> Batch:
        return Batch(self.inputs(at), self.targets[at])

    def inputs(self, at: Positions) -> Any:
        """The inputs at some positions, ready for the model."""
        made = self.rows.get(at)
        if isinstance(made, dict):
            return {name: self._cast(each) for name, each in made.items()}
        return self._cast(made) if self.name is None else {self.name: self._cast(made)}

    def _cast(self, values: Tensor) -> Tensor:
        wanted = self.dtype if values.is_floating_point() else self.whole
        return values if wanted is None else values.to(wanted)
