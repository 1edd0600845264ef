"""Work that trains models says so first: how many, about how long each takes, and how to do without; then model by model.

The time is measured, by a few updates of a model that is thrown away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice

from torch import nn
from tqdm.auto import tqdm

from ..core.running import copied
from . import checkpoints
from .protocol import Examples, Task
from .training import Recipe, Training, recipe_of

TRIED = 3  # updates that are measured, after a first one that is slow
LONG_ENOUGH = 1.0  # seconds after which no more are

log = logging.getLogger(__name__)


class Row:
    """Models that are trained one after the other, under one bar.

    Args:
        count: how many.
        way_out: how to do without them, such as ``"training=False leaves them out"``.
    """

    def __init__(self, count: int, way_out: str = "") -> None:
        self.count, self.way_out, self.begun = count, way_out, 0
        self._bar: tqdm | None = None

    def epochs(
        self, task: Task, model: nn.Module, examples: Examples, recipe: Recipe, seed: int
    ) -> Iterator[nn.Module]:
        """:func:`imu_lab.tasks.training.epochs` of the next model."""
        made = Training(task, model, examples, recipe, seed)
        bar = self._next(lambda: Training(task, copied(model), examples, recipe, seed))
        for updates in made:
            bar.update()
            if updates % made.per_epoch == 0:
                yield model

    def train(self, task: Task, split: str = "train", seed: int = 0) -> nn.Module:
        """:func:`imu_lab.train` of the next model, which counts only where it is not on disk."""
        if checkpoints.is_known(task, split, seed):
            return checkpoints.train(task, split, seed)
        bar = self._next(lambda: Training(task, task.make_model(seed), task.split(split), recipe_of(task), seed))
        start = bar.n
        return checkpoints.train(task, split, seed, progress=lambda made, total: bar.update(start + made - bar.n))

    def _next(self, one_like_it: Callable[[], Training]) -> tqdm:
        """The bar, which says which model is the next; the first is announced."""
        self.begun += 1
        if self._bar is None:
            each, updates = measured(one_like_it())
            self._words = announcement(self.count, each, self.way_out)
            log.info(self._words)
            self._bar = tqdm(total=self.count * updates, desc=self._words, unit="update", leave=False)
            self._each = f"about {duration(each)} each" if self.count > 1 else f"about {duration(each)}"
        if self.begun > 1 or self.count == 1:
            self._bar.set_description(f"model {self.begun} of {self.count}, {self._each}")
        return self._bar

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.total = self._bar.n  # a notebook keeps a bar that is not full, and in red
            self._bar.close()


_ROW: ContextVar[Row | None] = ContextVar("row", default=None)


@contextmanager
def announced(count: int, way_out: str = "") -> Iterator[Row]:
    """Train so many models within; work of the same kind inside it counts among them."""
    if (outer := _ROW.get()) is not None:
        yield outer
        return
    row = Row(count, way_out)
    token = _ROW.set(row)
    try:
        yield row
    finally:
        _ROW.reset(token)
        row.close()


def announcement(count: int, each: float, way_out: str = "") -> str:
    """``"trains 4 models, about 100 s each; training=False leaves them out"``."""
    models = f"{count} models, about {duration(each)} each" if count > 1 else f"1 model, about {duration(each)}"
    return f"trains {models}" + (f"; {way_out}" if way_out else "")


def duration(length: float) -> str:
    """Seconds in two figures, minutes from five of them on."""
    if length >= 300:
        return f"{length / 60:.0f} min"
    return f"{float(f'{length:.2g}'):g} s"


def measured(training: Training) -> tuple[float, int]:
    """How many seconds a training will take, from a few of its updates, and how many updates there are in all."""
    taken: list[float] = []
    started = time.perf_counter()
    for _ in islice(training, 1 + TRIED):
        taken.append(time.perf_counter() - started)
        if taken[-1] > LONG_ENOUGH and len(taken) > 1:
            break
    each = taken[0] if len(taken) == 1 else (taken[-1] - taken[0]) / (len(taken) - 1)
    return taken[0] + each * (training.updates - 1), training.updates
