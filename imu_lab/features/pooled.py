"""One vector for each example: what reaches its readout, averaged over positions where there are several."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..tasks.evaluation import in_order, outputs
from ..tasks.outputs import log_probabilities
from ..tasks.protocol import Task
from .cache import ReadoutTask, view


def features(task: Task, model: nn.Module) -> np.ndarray:
    """(n, d) the inputs of a linear readout for each training example, averaged over positions where there are several.

    Where the readout is not one linear layer, the model's log-probabilities take their place.
    """
    return pooled(*view(task, model))


def pooled(task: Task, head: nn.Module) -> np.ndarray:
    """(n, d) the same for a task and model as :func:`imu_lab.features.view` gives them."""
    examples = task.split("train")
    if isinstance(task, ReadoutTask):
        rows = ((at, batch.inputs) for at, batch in examples.batches())
    else:
        rows = ((at, log_probabilities(made)) for at, _, made in outputs(task, head, examples))
    lengths = None if examples.padding is None else examples.padding.lengths
    parts = ((at, _pooled(part.cpu().float(), None if lengths is None else lengths[at])) for at, part in rows)
    return in_order(parts, len(examples)).numpy()


def _pooled(values: Tensor, lengths: Tensor | None) -> Tensor:
    """(n, d) the mean of (n, ..., d) over positions; of (n, T, d) over the first ``lengths`` of each, where they are given."""
    if lengths is None:
        return values if values.ndim == 2 else values.flatten(1, -2).mean(1)
    counts = (torch.arange(values.shape[1]) < lengths[:, None])[..., None]
    return (values * counts).sum(1) / lengths[:, None]
