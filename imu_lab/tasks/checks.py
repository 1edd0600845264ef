"""Does a task keep the protocol? Asked in words before anything is computed with it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from typing import Any

from .around import innermost
from .protocol import Task

MEMBERS = ("make_model", "split", "example_loss", "evaluate", "card")


def checked_task(task: Any) -> Task:
    """``task`` itself, once it is known that what is computed for it can be kept by its content.

    Raises:
        TypeError: it is no frozen dataclass, or a setting of it cannot be compared by value.
    """
    kind = type(innermost(task))
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or not parameters.eq:
        what = "is no dataclass" if parameters is None else "is not frozen" if not parameters.frozen else "has eq=False"
        raise TypeError(
            f"a task must be a frozen dataclass, so that what was computed for it can be told by its settings; "
            f"{kind.__name__} {what}. Write @dataclass(frozen=True) above the class, and its settings as fields"
        )
    wrong = [
        field.name for field in fields(innermost(task)) if field.compare and not _hashable(innermost(task), field.name)
    ]
    if wrong:
        raise TypeError(
            f"the settings of a task are compared by value, and {', '.join(wrong)} of {kind.__name__} cannot be hashed; give "
            "a tuple instead of a list, and keep tensors out of the comparison: dataclasses.field(compare=False) beside a "
            "data_key that is a digest of their content"
        )
    return task


def _hashable(task: Task, name: str) -> bool:
    value = getattr(task, name)
    if not isinstance(value, Hashable):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True
