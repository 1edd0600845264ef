"""Some rows of a data set exchanged for others: what tasks around tasks do to their forget samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..protocol import Batch, Examples, Positions


def replaced(examples: Examples, ids: Tensor, rows: Callable[[], Batch]) -> Examples:
    """The examples with new rows wherever their id is among ``ids``; nothing is copied until it is fetched.

    Args:
        ids: (m,) rising.
        rows: gives the m new rows, in the order of ``ids``, as tensors or dicts of tensors; asked for when the first is
            fetched. Inputs or targets that are None there stay as they are, whatever they are.
    """
    return replace(examples, fetch=_Replaced(examples, ids, rows))


@dataclass(frozen=True, eq=False)
class _Replaced:
    """Fetches another's examples, some of them exchanged."""

    examples: Examples
    ids: Tensor
    rows: Callable[[], Batch]

    def __call__(self, at: Positions) -> Batch:
        batch, wanted = self.examples.fetch(at), self.examples.ids[at]
        mine = torch.isin(wanted, self.ids)
        if not mine.any():
            return batch
        new, places = self.rows(), torch.searchsorted(self.ids, wanted[mine])
        return Batch(*(_exchanged(old, mine, other, places) for old, other in zip(batch, new, strict=True)))


def _exchanged(old: Any, mine: Tensor, new: Any, places: Tensor) -> Any:
    """A copy of ``old`` with rows of ``new`` where ``mine``, member by member; ``old`` itself where there is no new."""
    if new is None:
        return old
    if isinstance(old, Mapping):
        return {name: _exchanged(each, mine, new[name], places) for name, each in old.items()}
    return old.clone().index_put_((mine,), new[places])
