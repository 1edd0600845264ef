"""Which member of a sample is its label, and which the model takes; one part of a data set as it was understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.messages import listed, unknown, with_article
from . import labels as naming
from .held import Array, Kept, Members

LABELS = ("label", "labels", "target", "targets", "y")  # names under which a member is the label without being asked


@dataclass(frozen=True, eq=False)
class Side:
    """One part of a data set as it was understood.

    Attributes:
        rows: the inputs, see :mod:`imu_lab.tasks.sources.held`.
        labels: (n, ...) as given.
        said: which member is the label, in words.
        classes: names that the data bring along for numbers, or None.
        files: where each sample came from, or None.
        kept: what can be asked whether the user's data are as they were.
        hashes: (n,) of the content of each row; None until the rows are read.
        index: the names of the rows, of data that came with an index of pandas; else None.
        seen: a digest of some rows as a transform leaves them, where ``hashes`` are of rows before it; else empty.
    """

    rows: Any
    labels: np.ndarray
    said: str
    classes: Sequence[str] | None = None
    files: Sequence[str] | None = None
    kept: tuple[Kept, ...] = ()
    hashes: np.ndarray | None = None
    seen: str = ""
    index: Any = None

    def __len__(self) -> int:
        return len(self.labels)


def label_of(members: Sequence[Any], given: Any, where: str) -> Any:
    """The position or the name of the member that is the label."""
    named = isinstance(members[0], str)
    if given is not None:
        if not named and isinstance(given, (int, np.integer)) and -len(members) <= given < len(members):
            return int(given) % len(members)
        if named and given in members:
            return given
        raise unknown(f"member of a {where} sample for label=", given, list(members))
    if not named and len(members) == 2:
        return 1
    known = [name for name in members if named and name in LABELS]
    if len(known) == 1:
        return known[0]
    raise ValueError(
        f"a {where} sample has {len(members)} member(s): {', '.join(map(str, members))}; "
        f"say which one is the label with label=, such as label={members[-1]!r}"
    )


def chosen(members: dict, where: str, accepts: Sequence[str]) -> dict:
    """Those members that the model takes by name, or the only one that can be an input."""
    taken = {name: value for name, value in members.items() if name in accepts}
    if taken:
        return taken
    if len(members) == 1:
        return members
    raise ValueError(
        f"a {where} sample has the members {listed(list(map(str, members)))} beside its label, and the model takes "
        f"{listed(list(accepts)[:8])}; hand over pairs (input, label)"
    )


def checked(rows: Any, given: Any, where: str, said: str, **also: Any) -> Side:
    """One side, once inputs and labels are of one length."""
    found, categories = naming.raw(given, where)
    if isinstance(rows, Members) and len({len(each) for each in rows.members.values()}) > 1:
        counts = {name: len(each) for name, each in rows.members.items()}
        raise ValueError(f"the members of the {where} part differ in length: {counts}")
    if len(rows) != len(found):
        raise ValueError(f"the {where} part has {len(rows)} inputs and {len(found)} labels; give one label each")
    if not len(rows):
        raise ValueError(f"the {where} part is empty")
    watched = isinstance(given, Tensor) or isinstance(given, np.ndarray) and given.dtype.kind != "O"
    labels = (Kept.of(Array(given), f"{where} labels"),) if watched else ()
    also.setdefault("index", index_of(given))
    return Side(rows, np.array(found), said, classes=categories, kept=labels, **also)


BY_NAME = (
    'several inputs go as a dict by the names that the model\'s forward has, such as {"x": padded, "lengths": lengths}'
)
PADDED = f"pad sequences, as torch.nn.utils.rnn.pad_sequence does; {BY_NAME}"


def index_of(*given: Any) -> Any:
    """The names of the rows, from the first of these that has an index of pandas; else None."""
    found = (getattr(each, "index", None) for each in given)
    return next((each for each in found if hasattr(each, "get_indexer")), None)


def numbers(inputs: Any, where: str) -> Any:
    """Anything like an array, as one of numbers."""
    try:
        if isinstance(inputs, (list, tuple)) and inputs and all(isinstance(each, Tensor) for each in inputs):
            return torch.stack(list(inputs))
        values = np.asarray(inputs)
    except (TypeError, ValueError, RuntimeError):
        several = isinstance(inputs, tuple) and len({len(each) for each in inputs if hasattr(each, "__len__")}) == 1
        remedy = BY_NAME if several else f"give each sample the same shape: {PADDED}"
        raise ValueError(f"{where} inputs are rows of different shapes; {remedy}") from None
    if values.dtype.kind not in "biufc":
        raise ValueError(
            f"{where} inputs must be numbers, got {with_article(type(inputs).__name__)} of {values.dtype.name}; "
            "encode words as numbers first"
        )
    return values.astype(np.float64) if values.dtype.itemsize > 8 and values.dtype.kind == "f" else values
