"""Some rows of a data set exchanged for others: what tasks around tasks do to their forget samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..protocol import Batch, Examples, Positions


def replaced(examples: Examples, ids: Tensor, rows: Callable[[], Batch]) -> Examples:
    """The examples with new rows wherever their id is among ``ids``; nothing is copied until it is fetched.

    Args:
        ids: (m,) rising.
        rows: gives the m new rows, of tensors, in the order of ``ids``; asked for when the first is fetched.
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
        return Batch(
            batch.inputs.clone().index_put_((mine,), new.inputs[places]),
            batch.targets.clone().index_put_((mine,), new.targets[places]),
        )
