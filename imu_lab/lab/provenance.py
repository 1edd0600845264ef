"""Where a record came from, as plain values that JSON can hold, and back again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from .. import tasks
from ..core.knobs import plain
from ..tasks.protocol import Task


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
    return (
        None
        if any(isinstance(value, str) and value.startswith("<") for value in values.values())
        else {"kind": kind.__name__, "settings": values}
    )


def versions() -> dict[str, str]:
    """What ran."""
    return {"imu_lab": _installed(), "torch": torch.__version__, "python": platform.python_version()}


@cache  # reading the metadata takes as long as ten updates, and they do not change while a process runs
def _installed() -> str:
    return version("imu_lab")
