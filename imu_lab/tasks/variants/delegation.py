"""Tasks around tasks: what the outer one does not define is the inner one's code, run on the outer one."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any


def delegated(wrapper: Any, member: str) -> Any:
    """A member of the innermost task that ``wrapper.task`` leads to.

    Its methods run with ``wrapper`` as ``self``, so what they ask of ``split`` they get from the wrapper. Meant for a
    ``__getattr__``.

    Raises:
        AttributeError: nothing in the row has it; also for dunders, which copying and pickling look for early.
    """
    if member.startswith("__") or member == "task":
        raise AttributeError(member)
    task = wrapper.task
    while not hasattr(type(task), member) and "task" in getattr(task, "__dict__", {}):
        if member in getattr(type(task), "by_example", ()):
            return getattr(task, member)  # it knows whose copies its examples are
        task = task.task
    function = inspect.getattr_static(type(task), member, None)
    if isinstance(function, FunctionType):  # not a property, a static or a class method: those do not ask ``self``
        return function.__get__(wrapper)
    return getattr(task, member)
