"""What can be registered: a frozen dataclass that can be called as its contract says.

The contracts themselves stand in the rooms that use them: :class:`imu_lab.Estimator`, :class:`imu_lab.IntensityRule`,
:class:`imu_lab.Method` and :class:`imu_lab.Metric`.
"""

from __future__ import annotations

import difflib
import inspect
from dataclasses import fields, is_dataclass
from typing import Any


def check_contract(kind: str, name: Any, item: Any, contract: type | None) -> None:
    """Refuse what cannot be registered as this ``kind`` of thing under this ``name``.

    Args:
        contract: the class whose ``__call__`` has the arguments that are handed over; None where none is known.

    Raises:
        TypeError: it is no frozen dataclass, or cannot be called as its contract says; one sentence tells what was
            given, what is expected and what to write.
    """
    decorator = f"@imu.{kind.replace(' ', '_')}"
    if not isinstance(name, str) or not name:
        raise TypeError(f'{decorator} takes a name, got {name!r}; write {decorator}("my-name") above the class')
    fault = _no_dataclass(item) or (_no_call(contract, item) or _wrong_word(contract, item) if contract else "")
    if fault:
        raise TypeError(f'{decorator}("{name}") takes a frozen dataclass with __call__, but {fault}')


def _no_dataclass(item: Any) -> str:
    """Why it is no frozen dataclass of its own, and what to write; empty where it is one."""
    if not isinstance(item, type):
        return (
            f"{item!r} is no class; write a class whose fields are the settings, with @dataclass(frozen=True) above it"
        )
    called = item.__name__
    if "__dataclass_params__" not in vars(item):
        what = "inherits from a dataclass without being one" if is_dataclass(item) else "is no dataclass"
        return f"{called} {what}; write @dataclass(frozen=True) between the decorator and the class"
    if not item.__dataclass_params__.frozen:
        return f"{called} is not frozen; write @dataclass(frozen=True) above it"
    if not item.__dataclass_params__.eq:
        return f"{called} is compared by identity; leave eq=False out, so that equal settings are known to be equal"
    if "name" in {field.name for field in fields(item)}:
        return f"{called} has a setting called 'name', which is what it is registered under; call the setting otherwise"
    return ""


def _no_call(contract: type, item: type) -> str:
    """Why it cannot be called with what its contract hands over, and what to write; empty where it can."""
    asked = inspect.signature(contract.__call__).parameters
    expected = f"def __call__({', '.join(asked)})"
    if not any("__call__" in vars(base) for base in item.__mro__):
        return f"{item.__name__} has no __call__; write {expected}"
    try:
        given = inspect.signature(item.__call__)
        given.bind(*asked)
    except TypeError:
        return f"{item.__name__}.__call__{given} does not take these arguments; write {expected}"
    except ValueError:  # a callable without a signature is taken on trust
        return ""
    return ""


SCOPES = ("readout", "all")


def _wrong_word(contract: type, item: type) -> str:
    """What it declares beside its settings that its contract does not know or allow; empty where all is well."""
    known, settings = list(contract.__annotations__), {field.name for field in fields(item)}
    for name, value in vars(item).items():
        if name.startswith("_") or name in settings or callable(value) or isinstance(value, property):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if near and name not in known:
            return f"{item.__name__} declares {name!r}; did you mean {near[0]!r}?"
        if name == "scope" and value not in SCOPES:
            return f"{item.__name__} declares the scope {value!r}; it is one of {', '.join(map(repr, SCOPES))}"
        if name in known and isinstance(getattr(contract, name), bool) and not isinstance(value, bool):
            return f"{item.__name__} declares {name} = {value!r}; write True or False"
    return ""
