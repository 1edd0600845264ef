"""Where a record came from, as plain values that JSON can hold, and back again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import torch

from . import registry, tasks
from .results import Intensity
from .tasks.protocol import Task


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
    except (FileNotFoundError, ValueError, TypeError):
        return None  # the data moved, or the settings are another version's: the tables are still good


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


def plain(thing: Any) -> dict[str, Any]:
    """A dataclass's settings as plain values that JSON can hold; anything else by its repr in angle brackets."""
    if not is_dataclass(thing):
        return {"repr": repr(thing)}

    def simple(value: Any) -> Any:
        if isinstance(value, tasks.Recipe):
            return asdict(value)
        if isinstance(value, (list, tuple)):
            return [simple(item) for item in value]
        if isinstance(value, np.generic):
            return value.item()
        return value if value is None or isinstance(value, (bool, int, float, str)) else f"<{value!r}>"

    return {name: simple(value) for name, value in registry.settings(thing).items()}


def versions() -> dict[str, str]:
    """What ran."""
    from . import __version__

    return {"imu_lab": __version__, "torch": torch.__version__, "python": platform.python_version()}


def weights_about(weights: Any) -> dict[str, Any]:
    """Where a run's weights came from."""
    if weights is None:
        return {"rule": "uniform"}
    return dict(weights.settings) if isinstance(weights, Intensity) else {"rule": "given"}
