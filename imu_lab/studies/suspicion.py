"""Whose label is doubtful: what heads say of each sample that were fitted without it, on features that stay as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from torch import nn

from ..core.running import full_precision
from ..tasks.protocol import Task, labels_of, offered
from .beforehand import features

PENALTIES = np.logspace(-2, 6, 17)  # of which the one serves that predicts best what it has not seen


@full_precision()
def suspects(task: Task, model: nn.Module, split: str = "forget") -> pd.DataFrame:
    """The samples of a split by how doubtful their labels are, the most doubtful first; nothing is trained.

    A linear head on the model's frozen features is fitted to all training samples but one, and asked about that one: for
    heads by ridge regression to the labels that takes one decomposition for all samples. The features themselves have seen
    the sample: of a model that has learned it by heart they say little. :func:`imu_lab.explain_resistance` trains whole
    models without it instead.

    >>> imu.resistance(run).merge(imu.suspects(task, original), on=["example", "label"])

    Args:
        task, model: whose training samples, seen by which model.
        split: whose samples are told of: ``"forget"``, ``"retain"`` or ``"train"``.

    Returns:
        ``example, label, likelier`` (the other label that the head finds likeliest), ``label_suspicion``: (1 − margin) / 2
        of the held-out head, above one half where another label is likelier; and ``file``, where samples were files.

    Raises:
        ValueError: the task's samples have no labels, or all of them one.
        UnknownName: no such split.
    """
    train, wanted = task.split("train"), task.split(split).ids.numpy()
    names = np.asarray(labels_of(task, train.ids))
    known, numbers = np.unique(names, return_inverse=True)
    if offered(task).labels is None or len(known) < 2:
        raise ValueError("suspects compares labels, and the samples of this task have none, or one for all")
    held_out = left_out(features(task, model), np.eye(len(known))[numbers])  # (n, K)
    rows = np.arange(len(names))
    own = held_out[rows, numbers]
    held_out[rows, numbers] = -np.inf
    table = pd.DataFrame(
        {
            "example": train.ids.numpy(),
            "label": names,
            "likelier": known[held_out.argmax(1)],
            "label_suspicion": (1 - (own - held_out.max(1))) / 2,
        }
    )
    if offered(task).files is not None and any(files := offered(task).files(table["example"])):
        table["file"] = files
    table = table[table["example"].isin(wanted)]
    return table.sort_values("label_suspicion", ascending=False, kind="stable", ignore_index=True)


def left_out(values: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n, K) what ridge regression predicts for each sample when it is fitted to all others.

    With the hat matrix P, the prediction without sample i is (ŷ_i − P_ii y_i) / (1 − P_ii) (Allen 1974). The penalty is the
    one of a few with the smallest error on what was left out.

    Args:
        values: (n, d), which are standardised.
        targets: (n, K).
    """
    values = values.astype(float) - values.mean(0)
    values /= np.where((spread := values.std(0)) > 0, spread, 1.0)
    mean, count = targets.mean(0), len(values)
    if values.shape[1] <= count:
        sizes, axes = np.linalg.eigh(values.T @ values)
        scores = values @ axes  # (n, d), orthogonal columns of squared length ``sizes``
        scores /= np.sqrt(np.maximum(sizes, 1e-12 * sizes.max(initial=1.0)))
    else:
        sizes, scores = np.linalg.eigh(values @ values.T)
    sizes, along = np.maximum(sizes, 0), scores.T @ (targets - mean)
    best, least = targets, np.inf
    for penalty in PENALTIES:
        kept = sizes / (sizes + penalty)
        lever = (scores**2 @ kept + 1 / count)[:, None]
        predicted = mean + scores @ (kept[:, None] * along)
        found = (predicted - lever * targets) / np.maximum(1 - lever, 1e-9)
        error = np.square(found - targets).mean()
        if error < least:
            best, least = found, error
    return best
