"""Some rows of a data set exchanged for others: what tasks around tasks do to their forget samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..protocol import Batch, Examples, Positions


def replaced(examples: Examples, ids: Tensor, rows: Callable[[], Batch]) -> Examples:
    """The examples with new rows wherever their id is among ``ids``; nothing is copied until it is fetched.

    Args:
        ids: (m,) rising.
        rows: gives the m new rows, of tensors, in the order of ``ids``; asked for when the first is fetched.
    """

    def fetch(at: Positions) -> Batch:
        batch, wanted = examples.fetch(at), examples.ids[at]
        mine = torch.isin(wanted, ids)
        if not mine.any():
            return batch
        new, places = rows(), torch.searchsorted(ids, wanted[mine])
        return Batch(
            batch.inputs.clone().index_put_((mine,), new.inputs[places]),
            batch.targets.clone().index_put_((mine,), new.targets[places]),
        )

    return replace(examples, fetch=fetch)
