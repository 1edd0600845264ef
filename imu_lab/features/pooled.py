"""One vector for each example: what reaches its readout, averaged over positions where there are several."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..tasks.evaluation import outputs
from ..tasks.outputs import log_probabilities
from ..tasks.protocol import Task
from .cache import ReadoutTask, view


def features(task: Task, model: nn.Module, split: str = "train") -> np.ndarray:
    """(n, d) the inputs of a linear readout, averaged over positions where there are several.

    Where the readout is not one linear layer, the model's log-probabilities take their place.
    """
    return pooled(*view(task, model), split)


def pooled(task: Task, head: nn.Module, split: str = "train") -> np.ndarray:
    """(n, d) the same for a task and model as :func:`imu_lab.features.view` gives them."""
    examples = task.split(split)
    if isinstance(task, ReadoutTask):
        rows = [batch.inputs for _, batch in examples.batches()]
    else:
        rows = [log_probabilities(made) for _, _, made in outputs(task, head, examples)]
    return torch.cat([_pooled(part).cpu().float() for part in rows]).numpy()


def _pooled(values: Tensor) -> Tensor:
    return values if values.ndim == 2 else values.flatten(1, -2).mean(1)
