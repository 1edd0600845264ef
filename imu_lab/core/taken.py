"""What a call takes, checked in one sentence: a run, several runs, or another record of the library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from .messages import kind_of
from .records import Run


def a_run(given: Any, call: str) -> Run:
    """The run itself.

    Raises:
        TypeError: it is something else; the message names ``call``.
    """
    return given if isinstance(given, Run) else _refused(given, call, "a run of imu.unlearn")


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


def a_record(given: Any, call: str, kind: type, words: str) -> Any:
    """A record of some kind; ``words`` say what it is and which call gives it.

    Raises:
        TypeError: it is something else; the message names ``call``.
    """
    return given if isinstance(given, kind) else _refused(given, call, words)


def _refused(given: Any, call: str, words: str) -> Any:
    inside = list(given.values()) if isinstance(given, Mapping) else []
    way = "; pass list(runs.values())" if inside and all(isinstance(run, Run) for run in inside) else ""
    raise TypeError(f"{call} takes {words}; got {kind_of(given)}{way}")
