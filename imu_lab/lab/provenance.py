"""Where a record came from, as plain values that JSON can hold, and back again."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any

import pandas as pd
import torch

from .. import tasks
from ..core.knobs import plain
from ..core.messages import in_brief, warn
from ..core.records import Run
from ..core.version import VERSION
from ..tasks.around import own_samples_key
from ..tasks.protocol import Task, labels_of


def task_again(about: Mapping | None) -> Task | None:
    """The task that these settings made, or None where they cannot make it again."""
    if not about or not hasattr(tasks, about["kind"]):
        return None
    kind = getattr(tasks, about["kind"])
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in about["settings"].items()}
    if isinstance(given.get("recipe"), dict):
        given["recipe"] = tasks.Recipe(**given["recipe"])
    try:
        return kind(**given)
    except (FileNotFoundError, ValueError, TypeError, ImportError):
        return None  # the data moved, what reads them is missing, or the settings are another version's: the tables are good


def task_settings(task: Task) -> dict[str, Any] | None:
    """What makes the task again, or None where plain values cannot."""
    kind = type(task)
    if not is_dataclass(task) or getattr(tasks, kind.__name__, None) is not kind:
        return None
    values = plain(task)
    if any(isinstance(value, str) and value.startswith("<") for value in values.values()):
        return None
    return {"kind": kind.__name__, "settings": values}


def asked_of(run: Run, task: Task | None) -> Task:
    """The task by which a run is looked at: its own, or the one given.

    Raises:
        ValueError: it does not know its own, or the one given forgets other samples.

    Warns:
        UserWarning: the one given has other data or settings.
    """
    if task is None:
        return run.known_task()
    if task is not run.task:
        check_made_on(task, run.samples, run.settings, repr(run.label))
    return task


def check_made_on(task: Task, samples: pd.DataFrame, settings: Mapping[str, Any], which: str) -> None:
    """Make sure that a run was made on this task: whatever is asked of both would speak of other samples.

    Args:
        samples, settings: of the run.
        which: run it is, in words.

    Raises:
        ValueError: it forgets other samples.

    Warns:
        UserWarning: it has other settings or data, or calls the samples otherwise.
    """
    mine, asked = set(samples["example"].tolist()), set(task.split("forget").ids.tolist())
    if mine != asked:
        raise ValueError(
            f"the run {which} forgot {len(mine)} samples, and the task given forgets {len(asked)}, of which {len(mine & asked)} "
            "are the same; pass the task that the run was made on"
        )
    # Equal tasks may tell in other words what further lines tell of their data.
    made_on, given = (str(each).split("\n", 1)[0] for each in (settings.get("task"), repr(task)))
    if _other_settings(settings.get("task_settings"), task, made_on != given) or _other_labels(samples, task):
        warn(
            f"the run {which} was made on another task than the one given, and what is computed anew is of the latter: it was "
            f"made on {in_brief(made_on)}, and the task given is {in_brief(given)}"
        )
    else:
        beware_of_other_data(task, settings, which)


def beware_of_other_data(task: Task, settings: Mapping[str, Any], which: str) -> None:
    """Warn where a task has other samples than it had when a run was made on it, as of a folder whose files were changed since."""
    made_on, now = settings.get("data"), own_samples_key(task)
    if None not in (made_on, now) and made_on != now:
        warn(
            f"the run {which} was made on other data than {in_brief(repr(task))} has now, and what is computed anew is of the "
            "latter; bring the data back as they were, or make the run again"
        )


def _other_settings(made_on: Mapping[str, Any] | None, task: Task, otherwise: bool) -> bool:
    """Whether a task has other settings than a run's; ``otherwise`` where plain values do not tell.

    Where its data lie may have changed since.
    """
    mine = task_settings(task)
    if not made_on or not mine:
        return otherwise
    before, now = made_on["settings"], json.loads(json.dumps(mine["settings"]))
    data = [str(each.get("data")).replace("\\", "/") for each in (before, now)]
    moved = {"data"} if all("/" in each for each in data) else set()
    return made_on["kind"] != mine["kind"] or _differ(before, now, moved)


def _differ(before: Any, now: Any, without: Iterable[str] = ()) -> bool:
    """Whether settings differ: those that both have, for a later version may have more."""
    if isinstance(before, dict) and isinstance(now, dict):
        return any(_differ(before[name], now[name]) for name in (before.keys() & now) - {*without})
    return before != now


def _other_labels(samples: pd.DataFrame, task: Task) -> bool:
    """Whether the samples that a run forgot are called otherwise by a task."""
    known = [str(label) for label in samples["label"]] if "label" in samples else []
    return any(known) and known != labels_of(task, samples["example"])


def versions() -> dict[str, str]:
    """What ran."""
    return {"imu_lab": VERSION, "torch": torch.__version__, "python": platform.python_version()}
