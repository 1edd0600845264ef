"""What a public call was handed, held against what its own annotations say, before any work starts.

Only slips are caught here that would end in a foreign error or be read as something else: another kind of thing in the place
of a task, a model, a record or a path, words in the place of True or False, and anything but a count where one is asked for: a
number of rows below zero means "all but so many" to pandas.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache, partial, wraps
from numbers import Integral
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from .knobs import check_count, check_flag, check_number
from .messages import kind_of, shown
from .running import checked_seed, full_precision

Call = TypeVar("Call", bound=Callable)
KINDS = {  # by the name of a class in an annotation
    "Task": 'a task, such as imu.tasks.Classification("digits", forget_class=3)',
    "Module": "a model (a torch.nn.Module), such as imu.train(task) gives",
    "Run": "a run of imu.unlearn",
    "Influence": "the scores that imu.influence(task, model) gives",
    "Intensity": "the record of imu.intensity(scores)",
    "InfluenceMatrix": "the record of imu.influence_matrix(task, model)",
    "Path": "a path",
    "Event": "a threading.Event",
}


def checked(call: Call) -> Call:
    """``call``, which refuses in one sentence what cannot be any of the things that its annotations name, and is made in full
    precision and with gradients, whatever holds around it.

    Raises:
        TypeError: when called, with something of another kind than one in :data:`KINDS`.
        ValueError: when called, with anything but True or False for what is annotated ``bool``, a whole number from 0 for
            ``int``, or a number for ``float``.
    """

    @cache  # made at the first call: all names in the annotations are there by then
    def known() -> tuple[inspect.Signature, dict[str, tuple[type, ...]]]:
        signature = inspect.signature(call, eval_str=True)
        return signature, {name: _kinds(each.annotation) for name, each in signature.parameters.items()}

    @wraps(call)
    def asked(*given: Any, **named: Any) -> Any:
        signature, takes = known()
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # one is missing or unknown: the call itself says which
            return call(*given, **named)
        whose = call.__qualname__.removesuffix(".__init__")
        for name, value in bound.arguments.items():
            bound.arguments[name] = _settled(whose, name, takes[name], value)
        with full_precision():
            return call(*bound.args, **bound.kwargs)

    return asked


def _kinds(hint: Any) -> tuple[type, ...]:
    """The classes that an argument may be of, where it is a plain one of those that are looked at, or None; else none."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    told = [kind for kind in kinds if getattr(kind, "__name__", "") in KINDS]
    whole = told and all(kind in (*told, NoneType, str, os.PathLike) for kind in kinds)
    return kinds if whole or kinds[0] in (bool, int, float) and set(kinds[1:]) <= {NoneType} else ()


def _settled(call: str, name: str, takes: tuple[type, ...], given: Any) -> Any:
    """An argument, a number in its own type."""
    if not takes or given is None and NoneType in takes:
        return given
    if takes[0] is bool:
        return check_flag(call, name, given)
    if takes[0] is int:
        return CHECKED.get(name, partial(check_count, name))(given)
    if takes[0] is float:
        return check_number(call, name, given)
    if not any(_is(kind, given) for kind in takes):
        words = " or ".join(KINDS[kind.__name__] for kind in takes if kind.__name__ in KINDS)
        raise TypeError(f"{call} takes {words}; got {kind_of(given)}{_way(takes, given)}")
    return given


def _check_index(given: Any) -> int:
    """A sample by its index; which there are, the call knows."""
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise ValueError(f"example {shown(given)} is not the index of a sample, which is a whole number")
    return int(given)


# By the names of arguments that are whole numbers, but no counts.
CHECKED = {"seed": checked_seed, "example": _check_index}


def _is(kind: type, value: Any) -> bool:
    """Whether a value is of a kind; a task is whatever can make a model and is no class."""
    if kind.__name__ == "Task":
        return hasattr(value, "make_model") and not isinstance(value, type)
    return isinstance(value, os.PathLike if kind is Path else kind)


def _way(takes: tuple[type, ...], given: Any) -> str:
    """How to come from what was handed over to what is taken, where that is plain."""
    if isinstance(given, (list, tuple)) and given and all(_is(kind, each) for kind in takes[:1] for each in given):
        return "; pick one of them, such as the first, [0]"
    if any(kind.__name__ == "Task" for kind in takes) and hasattr(given, "state_dict"):
        return "; arguments are (task, model, ...)"
    if isinstance(given, type) and any(kind.__name__ == "Task" for kind in takes) and hasattr(given, "make_model"):
        return f"; make one of it, as in {given.__name__}(...)"
    return ""
