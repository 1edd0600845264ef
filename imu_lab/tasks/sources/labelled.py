"""A labelled data set: what every source of data ends as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ...core.messages import warn
from ..protocol import Examples

SHOWN = 10  # classes named in a line


@dataclass(frozen=True)
class Level:
    """A second name for every sample, above or below its class.

    Attributes:
        kind: ``"superclass"`` or ``"subclass"``, as seen from the class.
        names: of each of its groups.
        train, test: (n,) int64, the number of each sample's group.
    """

    kind: str
    names: tuple[str, ...]
    train: Tensor
    test: Tensor


@dataclass(frozen=True, eq=False)
class Labelled:
    """A labelled data set with a training and a test part.

    Attributes:
        train, test: the examples; ids are positions in each part.
        train_labels, test_labels: (n,) int64 class numbers; what the loss takes, where there are no classes.
        classes: the name of each class; empty where targets are no classes.
        key: a digest of the content: equal data, equal key.
        pictures, test_pictures: from positions in either part to uint8 pictures (n, h, w, 3), or None where there are none.
        channels: of an image; 0 for inputs that are not images.
        about: one line: what the data were understood to be.
        files: where each training sample came from; None for data that are no files.
        level: a second name for every sample, or None.
        index: the names of the training rows, of data that came with an index of pandas; else None.
        hashes: (n,) of the content of each training input, by which copies are found; None for data that have none.
        held: what of the user's is kept by reference, and can be asked whether it is as it was.
    """

    train: Examples
    test: Examples
    train_labels: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    key: str
    pictures: Callable[[np.ndarray], np.ndarray] | None = None
    channels: int = 0
    about: str = ""
    files: Sequence[str] | None = None
    level: Level | None = None
    held: tuple[Any, ...] = field(default=())
    index: Any = None
    hashes: np.ndarray | None = None
    test_pictures: Callable[[np.ndarray], np.ndarray] | None = None

    def unchanged(self, thoroughly: bool = True) -> None:
        """Raise ValueError where the user's data were edited."""
        for each in self.held:
            each.unchanged(thoroughly)


def warn_of_shared(train: np.ndarray, test: np.ndarray) -> None:
    """Warn where samples of both parts have one content, by the hashes of each."""
    shared = len(np.intersect1d(train, test))
    if shared:
        warn(f"train and test share {shared} identical inputs: test figures will look too good")


def counted(classes: Sequence[str], labels: Tensor) -> str:
    """The classes in order, with their numbers of samples: ``3 classes: cat (20), cow (20), dog (19)``."""
    counts = labels.bincount(minlength=len(classes)).tolist()
    named = [f"{name} ({counts[k]:,})" for k, name in enumerate(classes[:SHOWN])]
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return f"{len(classes)} classes: {', '.join(named)}{more}"
