"""Whose loss an influence speaks of: from what a user writes to the examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.messages import unknown
from ..core.taken import several_examples
from ..tasks.protocol import Examples, Task, offered
from ..tasks.sources.labels import class_number
from .cache import as_seen_by

Target = str | Examples | tuple[str, Any]  # what may be given for one: see target_examples


def target_examples(task: Task, target: Target, forget: Examples) -> Examples:
    """The examples that a target names.

    Args:
        task: possibly seen from its readout; the examples then are, too.
        target: a split's name; ``Examples``; ``("class", k)`` for all training examples of a class, by number or name;
            ``(split, positions)``, such as ``("test", 7)`` for one sample.
        forget: what ``"forget"`` stands for.

    Raises:
        TypeError: something else, or positions that are no whole numbers, such as a mask.
        ValueError: no examples, a class or a position that is not there.
    """
    if isinstance(target, str):
        examples = forget if target == "forget" else task.split(target)
    elif isinstance(target, Examples):
        examples = as_seen_by(task, target)
    elif isinstance(target, tuple) and len(target) == 2 and target[0] == "class":
        examples = _of_class(task, target[1])
    elif isinstance(target, tuple) and len(target) == 2:
        examples = _at(task.split(target[0]), target)
    else:
        raise TypeError(
            f"target must be a split's name, Examples or (split, positions); got {target!r}. A class is ('class', k)"
        )
    if not len(examples):
        raise ValueError(f"the target {target!r} holds no examples")
    return examples


def _at(examples: Examples, target: tuple) -> Examples:
    if isinstance(target[1], pd.Index):
        raise ValueError(
            f"target ({target[0]!r}, a pandas Index) could mean names or positions; of names give X.index.get_indexer(names), of "
            "positions a plain list"
        )
    given = [target[1]] if np.ndim(target[1]) == 0 and not isinstance(target[1], (str, set)) else target[1]
    positions = torch.tensor(several_examples(given, "a target (split, positions)"), dtype=torch.int64)
    outside = positions[(positions < 0) | (positions >= len(examples))]
    if len(outside):
        raise ValueError(f"target {target!r}: split {target[0]!r} has positions 0 to {len(examples) - 1}")
    return examples.take(positions)


def _of_class(task: Task, wanted: Any) -> Examples:
    train = task.split("train")
    names = offered(task).labels
    if names is not None:
        labels = [str(label) for label in names(train.ids)]
        known = offered(task).classes or tuple(dict.fromkeys(labels))
        number = isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool)
        wanted = known[class_number(wanted, known)] if number and (0 <= wanted < len(known)) else wanted
    else:
        labels = [str(label) for _, batch in train.batches() for label in np.asarray(batch.targets).tolist()]
        known = sorted(set(labels))
    if str(wanted) not in labels:
        raise unknown("class in the training set", wanted, known)
    return train.take(torch.tensor([k for k, label in enumerate(labels) if label == str(wanted)]))
