"""One vector for each example: what reaches its readout, averaged over positions where there are several."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..core.running import device_of
from ..tasks.evaluation import in_order, outputs
from ..tasks.outputs import counting, log_probabilities
from ..tasks.protocol import Batch, Task, offered
from .cache import ReadoutTask, view


def features(task: Task, model: nn.Module) -> np.ndarray:
    """(n, d) the inputs of a linear readout for each training example, averaged over positions where there are several.

    Where the readout is not one linear layer, the model's log-probabilities take their place.
    """
    return pooled(*view(task, model))


def pooled(task: Task, head: nn.Module) -> np.ndarray:
    """(n, d) the same for a task and model as :func:`imu_lab.features.view` gives them."""
    examples = task.split("train")
    lengths = None if examples.padding is None else examples.padding.lengths
    device = device_of(head)
    if isinstance(task, ReadoutTask):
        rows = ((at, batch.to(device), batch.inputs, head.weight.shape[0]) for at, batch in examples.batches())
    else:
        made = outputs(task, head, examples)
        rows = ((at, batch, log_probabilities(each), each.shape[-1]) for at, batch, each in made)
    parts = []
    for at, batch, values, classes in rows:
        counts = _counting(task, batch, values, classes, device) if lengths is None else _first(lengths[at], values)
        parts.append((at, _pooled(values.cpu().float(), counts.cpu())))
    return in_order(parts, len(examples)).numpy()


def _first(lengths: Tensor, values: Tensor) -> Tensor:
    """(n, T) whether each position is one of the first ``lengths`` (n,) of its example."""
    return torch.arange(values.shape[1]) < lengths[:, None]


def _counting(task: Task, batch: Batch, values: Tensor, classes: int, device: torch.device) -> Tensor:
    """(n, ...) whether each position of (n, ..., d) values enters its example's loss."""
    if values.ndim == 2 or not offered(task).probabilities:
        return torch.ones(values.shape[:-1], dtype=torch.bool)
    return counting(task, torch.zeros(*values.shape[:-1], classes, device=device), batch)


def _pooled(values: Tensor, counts: Tensor) -> Tensor:
    """(n, d) the mean of (n, ..., d) over the positions that count."""
    if values.ndim == 2 or counts.all():
        return values if values.ndim == 2 else values.flatten(1, -2).mean(1)
    values, counts = values.flatten(1, -2), counts.flatten(1)[..., None]
    return values.masked_fill(~counts, 0.0).sum(1) / counts.sum(1)
