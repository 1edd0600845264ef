"""What tells a user's function from another one, or from itself before it was edited: its code, and what that works with."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor, nn

from ...core.running import described, digest

PLAIN = (int, float, complex, str, bytes, bool, type(None))
# What may stand in a class and decides what it does; the rest is made by Python or by decorators.
CODE = (types.FunctionType, staticmethod, classmethod, property, type)
MEMBERS = (*PLAIN, *CODE, list, tuple, dict, set, frozenset, Tensor)


def code_of(function: Any) -> str:
    """A digest of a function's code, defaults, closure and of the globals that it names, as far as these are functions, classes
    written beside it with what they inherit from such, numbers, words, tensors, networks and collections of such; "" for None.

    Two functions written alike that work with alike values are the same. Of any other object its type counts and what numbers
    and words it holds: a function that reads a file, or calls another package, is not seen to change with them.
    """
    return "" if function is None else digest(*_parts(function, {}))


def own_code(kinds: Iterable[type]) -> tuple[str, ...]:
    """What those of these classes do now that were written where their user works, for the key of what is kept of them."""
    return tuple(code_of(kind) for kind in kinds if is_own(kind))


def _parts(value: Any, seen: dict[int, Any]) -> list[object]:
    """What a value is, piece by piece; one that refers to itself is told once, and held, for another could get its place."""
    if isinstance(value, (*PLAIN, Tensor, np.ndarray, np.generic)):
        return [value]
    if id(value) in seen:
        return ["again"]
    seen[id(value)] = value
    if isinstance(value, (list, tuple, set, frozenset)):
        each = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [type(value).__name__, *(part for item in each for part in _parts(item, seen))]
    if isinstance(value, dict):
        return ["dict", *(part for key, item in value.items() for part in [repr(key), *_parts(item, seen)])]
    if isinstance(value, functools.partial):
        return ["partial", *_parts((value.func, value.args, value.keywords), seen)]
    if isinstance(value, types.MethodType):
        return ["method", *_parts((value.__func__, value.__self__), seen)]
    if isinstance(value, types.FunctionType):
        return _of_function(value, seen)
    if isinstance(value, (staticmethod, classmethod)):
        return [type(value).__name__, *_parts(value.__func__, seen)]
    if isinstance(value, property):
        return ["property", *_parts((value.fget, value.fset), seen)]
    if isinstance(value, nn.Module):
        return [described(value), *(part for item in value.state_dict().items() for part in item)]
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    if isinstance(value, type):
        return [value.__qualname__, *_of_class(value, seen)]
    held = {name: each for name, each in getattr(value, "__dict__", {}).items() if isinstance(each, PLAIN)}
    return [*_parts(type(value), seen), *_parts(held, seen)]


def _of_function(function: types.FunctionType, seen: dict[int, Any]) -> list[object]:
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    known = function.__globals__
    named = {name: known[name] for name in _names(function.__code__) if name in known}
    beside = (function.__defaults__, function.__kwdefaults__, cells, named)
    return [*_of_code(function.__code__), *_parts(beside, seen)]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a variable that has no value yet
        return False


def _of_code(code: types.CodeType) -> list[object]:
    """Instructions, names and constants, those of functions within too; not where the code stands."""
    inner = [part for each in code.co_consts if isinstance(each, types.CodeType) for part in _of_code(each)]
    constants = [each for each in code.co_consts if not isinstance(each, types.CodeType)]
    return [code.co_code, code.co_names, code.co_varnames, code.co_freevars, *_parts(constants, {}), *inner]


def _names(code: types.CodeType) -> list[str]:
    inner = [name for each in code.co_consts if isinstance(each, types.CodeType) for name in _names(each)]
    return [*code.co_names, *inner]


def _of_class(kind: type, seen: dict[int, Any]) -> list[object]:
    """What stands in a class, and in those it inherits from, that was written where its user works and in no installed package."""
    known = {name: each for base in reversed(kind.__mro__) if is_own(base) for name, each in vars(base).items()}
    members = {name: each for name, each in known.items() if isinstance(each, MEMBERS) and not _says_where(name, each)}
    return [part for name in members for part in [name, *_parts(members[name], seen)]]


def _says_where(name: str, member: Any) -> bool:
    """Whether a member tells of where a class stands, or is documentation, and does not decide what it does."""
    return name.startswith("__") and not isinstance(member, types.FunctionType)


def is_own(kind: type) -> bool:
    """Whether a class was written where its user works, a notebook for instance, so that it can change from day to day."""
    if kind.__module__ == "__main__":  # whoever started Python may lie among the packages
        return True
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or kind.__module__.startswith("imu_lab."):
        return False
    return "site-packages" not in file and not file.startswith(sys.base_prefix)
