"""What a call takes, checked in one sentence: a run, several runs, or another record of the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import pandas as pd

from .messages import kind_of, listed, shown
from .records import Run
from .running import checked_seed


def several_runs(given: Any, call: str) -> list[Run]:
    """One run or several, as a list.

    Raises:
        TypeError: there is something else among them; the message names ``call``.
    """
    if isinstance(given, Run):
        return [given]
    if isinstance(given, Iterable) and not isinstance(given, (str, Mapping, pd.DataFrame)):
        runs = list(given)
        if all(isinstance(run, Run) for run in runs):
            return runs
    return _refused(given, call, "runs of imu.unlearn, one or several")


def a_table(given: Any, call: str) -> pd.DataFrame:
    """A table of runs, as :func:`imu_lab.sweep`, :func:`imu_lab.trial` and :func:`imu_lab.compare` give it.

    Raises:
        TypeError: it is something else; the message names ``call``.
    """
    return given if isinstance(given, pd.DataFrame) else _refused(given, call, "a table, as imu.sweep gives it")


def a_record(given: Any, call: str, kind: type, words: str, columns: Iterable[str] = ()) -> Any:
    """A record of some kind; ``words`` say what it is and which call gives it, ``columns`` what a table must have.

    Raises:
        TypeError: it is something else; the message names ``call``.
    """
    if isinstance(given, kind) and (lacking := [name for name in columns if name not in given]):
        raise TypeError(f"{call} takes {words}; got a table without {listed(lacking)}")
    return given if isinstance(given, kind) else _refused(given, call, words)


def several_examples(given: Any, name: str) -> list[int]:
    """Samples by index, as whole numbers, in the order given.

    A mask is refused: read as numbers, True and False would be the samples 1 and 0.

    Raises:
        TypeError: it is no row of whole numbers; the message names the argument.
    """
    words = f"{name} takes samples by index, such as [108, 44]; got "
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise TypeError(words + kind_of(given))
    values = [each.item() if hasattr(each, "item") else each for each in given]
    if any(isinstance(each, bool) for each in values):
        raise TypeError(f"{words}True and False: of a mask give the samples themselves, as in table['example'][mask]")
    whole = [isinstance(each, Integral) or isinstance(each, float) and each.is_integer() for each in values]
    if not all(whole):
        raise TypeError(words + shown(values[whole.index(False)]))
    return [int(each) for each in values]


def seeds_of(given: Any, name: str, least: int = 1) -> list[int]:
    """Some seeds, each once.

    Raises:
        TypeError, ValueError: it is no row of seeds, one is there twice, or there are none.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is several seeds, such as range(3); got {kind_of(given)}")
    seeds = [checked_seed(seed) for seed in given]
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ValueError(f"{name} has {listed([str(seed) for seed in twice])} more than once; each seed is one run")
    if len(seeds) < least:
        raise ValueError(f"{name}= names no seed, so that there is nothing to run; say range(3)")
    return seeds


def _refused(given: Any, call: str, words: str) -> Any:
    inside = list(given.values()) if isinstance(given, Mapping) else []
    way = "; pass list(runs.values())" if inside and all(isinstance(run, Run) for run in inside) else ""
    raise TypeError(f"{call} takes {words}; got {kind_of(given)}{way}")
