"""Who lives near whom: each forget sample among the training samples, in the space that the readout reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.running import device_of, evaluating
from ..features import readout
from ..tasks.outputs import log_probabilities
from ..tasks.protocol import Task

NEAR = 0.25  # of the usual distance to the nearest sample: closer than that counts as a near-duplicate


def features(task: Task, model: nn.Module, split: str = "train") -> np.ndarray:
    """(n, d) what reaches a linear readout, a mean over positions where there are several.

    A readout that is not one linear layer has no such inputs: then the model's log-probabilities stand in.
    """
    return pooled(*readout.view(task, model), split)


def pooled(view: Task, head: nn.Module, split: str = "train") -> np.ndarray:
    """(n, d) the same, of a task and model as :func:`imu_lab.features.readout.view` gives them."""
    examples = view.split(split)
    if isinstance(view, readout.CachedTask):
        rows = [batch.inputs for _, batch in examples.batches()]
    else:
        with torch.no_grad(), evaluating(head):
            rows = [log_probabilities(head(batch.to(device_of(head)).inputs)) for _, batch in examples.batches()]
    return torch.cat([_pooled(part).cpu().float() for part in rows]).numpy()


def _pooled(values: Tensor) -> Tensor:
    return values if values.ndim == 2 else values.flatten(1, -2).mean(1)


def neighbours(task: Task, model: nn.Module, count: int = 10) -> pd.DataFrame:
    """The nearest training samples of each forget sample, itself left out, by Euclidean distance of features.

    Args:
        task, model: in whose feature space.
        count: how many neighbours.

    Returns:
        ``example``; ``neighbours`` and ``retain_neighbours``, tuples of ids, nearest first; ``nearest_distance``;
        ``retain_distance``, to the nearest retained sample; ``retain_share``, the share of neighbours that are retained
        (entanglement); ``class_overlap``, the share with another label (NaN without labels); ``duplicate``, whether one of
        them has the very same features; ``near_duplicate``, whether the nearest is no farther than a quarter of the median
        nearest distance.
    """
    ids = task.split("train").ids.numpy()
    space = features(task, model)
    mine = np.isin(ids, task.split("forget").ids.numpy())
    kept = np.isin(ids, task.split("retain").ids.numpy())
    distances, near = _nearest(space, np.flatnonzero(mine), np.arange(len(ids)), count)
    to_retain, near_retain = _nearest(space, np.flatnonzero(mine), np.flatnonzero(kept), count)
    labels = np.asarray(task.labels(ids)) if hasattr(task, "labels") else None
    overlap = np.nan if labels is None else (labels[near] != labels[mine][:, None]).mean(1)
    table = pd.DataFrame(
        {
            "example": ids[mine],
            "neighbours": [tuple(row.tolist()) for row in ids[near]],
            "retain_neighbours": [tuple(row.tolist()) for row in ids[near_retain]],
            "nearest_distance": distances[:, 0],
            "retain_distance": to_retain[:, 0],
            "retain_share": kept[near].mean(1),
            "class_overlap": overlap,
            "duplicate": (space[near] == space[mine][:, None]).all(2).any(1),
            "near_duplicate": distances[:, 0] <= NEAR * np.median(distances[:, 0]),
        }
    )
    return table.set_index("example").loc[task.split("forget").ids.numpy()].reset_index()


def _nearest(space: np.ndarray, of: np.ndarray, among: np.ndarray, count: int) -> tuple[Any, Any]:
    """(m, k) distances and positions of the nearest rows ``among``, for each row in ``of``, itself left out."""
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(np.setdiff1d(among, of[:1])))
    index = NearestNeighbors(n_neighbors=min(count + 1, len(among))).fit(space[among])
    distances, found = index.kneighbors(space[of])
    found = among[found]
    own = found == of[:, None]  # ties may put a duplicate before the sample itself
    own[~own.any(1), -1] = True  # where it is not among them, the farthest goes
    shape = (len(of), found.shape[1] - 1)
    return distances[~own].reshape(shape), found[~own].reshape(shape)
