"""A sheet of training pictures in one line of a notebook."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from IPython.display import Image

from ..core.taken import several_examples
from ..tasks.protocol import Task, labels_of, pictures_of
from .base.gallery import tiled


def gallery(task: Task, examples: Iterable[int], *, columns: int = 8, size: int = 64) -> Image:
    """Training examples by index, as one picture, each with its index and label under it.

    Args:
        task: a task with ``pictures`` (and, for captions, ``labels``).
        examples: their indices in the training split, in the order to show.
        columns: pictures in a row.
        size: height of a picture, in pixels.

    Raises:
        TypeError: ``examples`` is no row of indices.
        ValueError: an index that is none of the training split's, the task's data are no pictures, or no example is given.
    """
    examples = np.array(several_examples(examples, "gallery"), dtype=int)
    count = len(task.split("train"))
    if beyond := [int(example) for example in examples if not 0 <= example < count]:
        raise ValueError(f"there is no training sample {beyond[0]}; they are numbered 0 to {count - 1}")
    pictures = pictures_of(task, examples) if len(examples) else None
    if pictures is None:
        raise ValueError(
            f"nothing to show: {len(examples)} examples of {type(task).__name__}; give indices of a task with pictures"
        )
    labelled = zip(examples, labels_of(task, examples))
    captions = [f"{example}: {label}" if label else str(example) for example, label in labelled]
    return Image(data=tiled(pictures, captions, columns=columns, size=size), format="png")
