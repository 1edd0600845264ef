"""Whose label is doubtful: what heads say of each sample that were fitted without it, on features that stay as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..features import readout, view
from ..features.pooled import pooled
from ..tasks.evaluation import outputs
from ..tasks.protocol import Examples, Task, labels_of, offered, prepared

LOOKS = 20_000  # shifted pictures that are looked at, at most: a minute of a small network
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
COPIES = [(*by, number % 2 == 1) for number, by in enumerate(DIRECTIONS)]  # down, right, mirrored
PENALTIES = np.logspace(-2, 6, 17)  # of which the one serves that predicts best what it has not seen


def suspects(task: Task, model: nn.Module, split: str = "forget") -> pd.DataFrame:
    """The samples of a split by how doubtful their labels are, the most doubtful first; nothing is trained.

    A linear head on the model's frozen features is fitted to all training samples but one, and asked about that one: for
    heads by ridge regression to the labels that takes one decomposition for all samples. The features themselves have seen
    the sample, and may know it by heart. Of pictures it is their pixels that are known so: features are means over copies
    that are shifted by an eighth, every other one mirrored, where that takes no more than 20,000 looks.
    :func:`imu_lab.explain_resistance` trains whole models without the sample instead.

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
    held_out = left_out(_features(task, model, train), np.eye(len(known))[numbers])  # (n, K)
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


def _features(task: Task, model: nn.Module, examples: Examples) -> np.ndarray:
    """(n, d) the inputs of a linear readout, of pictures as means over shifted copies; else the log-probabilities."""
    seen, head = view(task, model)
    inputs = examples.batch(slice(0, 1)).inputs
    pictures = isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.is_floating_point()
    copies = min(len(COPIES), LOOKS // max(1, len(examples)))
    if seen is task or not pictures or not copies:
        return pooled(seen, head)
    (name,) = readout.resolve(task, prepared(task, model))

    def reached(asked: nn.Module, given: Tensor) -> Tensor:
        return sum(readout.capture(asked, name, moved(given, *by))[0] for by in COPIES[:copies]) / copies

    parts = [made.flatten(1) for *_, made in outputs(task, model, examples, reached)]
    return torch.cat(parts).cpu().float().numpy()


def moved(pictures: Tensor, down: int, right: int, flip: bool) -> Tensor:
    """(n, c, h, w) pictures moved by an eighth of their shorter side in these directions, and mirrored; 0 comes in."""
    height, width = pictures.shape[-2:]
    far = max(1, min(height, width) // 8)
    padded = nn.functional.pad(pictures, [far] * 4)
    top, left = far - down * far, far - right * far
    shifted = padded[..., top : top + height, left : left + width]
    return shifted.flip(-1) if flip else shifted


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
