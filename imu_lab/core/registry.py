"""A dict that explains itself: how new estimators, rules, methods and metrics join the toolkit.

A registered thing is a frozen dataclass with ``__call__``. Its fields are its settings, its repr is its provenance, its
equality is its memo key. ``knob`` writes a field that knows its valid values, its slider and its help, so an error
message, a widget and a saved run all read the same definition.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

SHOWN = 100  # names in a message; a run that follows transition matrices knows hundreds


class UnknownName(KeyError, ValueError):
    """A name that is not there. Both a KeyError (a look-up failed) and a ValueError (an argument was wrong)."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return self.args[0]


def unknown(kind: str, given: object, known: Mapping | list | tuple) -> UnknownName:
    """The error for a name that is not there: what was given, the nearest name, and all that exist."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return UnknownName(f"no {kind} {given!r}.{hint} Known: {', '.join(names[:SHOWN]) or 'none'}{more}.")


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Quoted names in a row, for messages."""
    return ", ".join(repr(name) for name in names) or "none"


@dataclass(frozen=True)
class Knob:
    """What a settings field knows about itself.

    Attributes:
        help: one line for a person who moves it.
        valid: the numbers allowed, as an interval such as ``"(0, 1]"``; empty for anything.
        range: the ends of its slider, inside ``valid``.
        scale: ``"linear"`` or ``"log"``, how the slider moves.
        choices: the allowed values where they are few; a callable when they come from a registry.
        optional: whether None is allowed too (the setting is then off).
    """

    help: str
    valid: str = ""
    range: tuple[float, float] | None = None
    scale: str = "linear"
    choices: tuple | Callable[[], tuple] | None = None
    optional: bool = False

    def options(self) -> tuple | None:
        """The allowed values, asked at this moment, or None where any value in the interval is allowed."""
        return self.choices() if callable(self.choices) else self.choices

    def check(self, owner: str, name: str, value: Any) -> None:
        """Raise ValueError unless ``value`` is allowed."""
        if value is None and self.optional:
            return
        options = self.options()
        if options is not None and value not in options:
            raise unknown(f"{name} for {owner}", value, options)
        if self.valid and not _inside(value, self.valid):
            raise ValueError(f"{owner} needs {name} in {self.valid}, got {value!r}. {self.help}")


def knob(default: Any = MISSING, **about: Any) -> Any:
    """A dataclass field that knows its range, scale and help (see :class:`Knob`)."""
    return field(default=default, metadata={"knob": Knob(**about)})


def knobs(thing: Any) -> dict[str, Knob]:
    """The knobs of a settings dataclass (class or instance), by field name, in order."""
    return {f.name: f.metadata["knob"] for f in fields(thing) if "knob" in f.metadata}


def settings(thing: Any) -> dict[str, Any]:
    """The settings of a registered instance, by field name: provenance that can be given back to its class."""
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


def plain(thing: Any) -> dict[str, Any]:
    """A dataclass's settings as plain values that JSON can hold; anything else by its repr in angle brackets."""
    if not is_dataclass(thing):
        return {"repr": repr(thing)}

    def simple(value: Any) -> Any:
        if is_dataclass(value) and knobs(value):  # settings within settings, such as a task's recipe
            return plain(value)
        if isinstance(value, (list, tuple)):
            return [simple(item) for item in value]
        if isinstance(value, np.generic):
            return value.item()
        return value if value is None or isinstance(value, (bool, int, float, str)) else f"<{value!r}>"

    return {name: simple(value) for name, value in settings(thing).items()}


class Registry(Mapping):
    """Names to dataclasses. Registering a name again replaces it: running a notebook cell twice is normal."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, type] = {}

    def __getitem__(self, name: str) -> type:
        if name not in self._items:
            raise unknown(self.kind, name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __repr__(self) -> str:
        return f"<{self.kind}: {', '.join(self)}>"

    def register(self, name: str) -> Callable[[type], type]:
        """A decorator that makes a frozen dataclass with ``__call__`` known under ``name``."""

        def keep(item: type) -> type:
            item.name = name
            self._items[name] = item
            return item

        return keep

    def create(self, name: Any, **given: Any) -> Any:
        """The registered dataclass under ``name`` with these settings; an instance is checked and passed through.

        Raises:
            UnknownName: no such name.
            TypeError: a setting that this item does not have.
            ValueError: a setting outside its valid values.
        """
        if not isinstance(name, str):
            if given:
                raise TypeError(f"{name!r} already has its settings; got {listed(list(given))} beside it")
            return check(name)
        item = self[name]
        known = [f.name for f in fields(item)]
        for wrong in [key for key in given if key not in known]:
            near = difflib.get_close_matches(wrong, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"{self.kind} {name!r} has no setting {wrong!r}.{hint} It has: {', '.join(known) or 'none'}."
            )
        return check(item(**given))


def check(thing: Any) -> Any:
    """``thing`` itself, once each of its knobs holds an allowed value."""
    owner = getattr(type(thing), "name", type(thing).__name__)
    for name, about in knobs(thing).items():
        about.check(owner, name, getattr(thing, name))
    for f in fields(thing):
        value = getattr(thing, f.name)
        if f.type in (int, "int") and isinstance(value, float) and not value.is_integer():
            raise ValueError(f"{owner} needs a whole number for {f.name}, got {value!r}")
    return thing


def _inside(value: Any, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    return above and below and not math.isnan(number)


estimators = Registry("estimator")
intensity_rules = Registry("intensity rule")
methods = Registry("method")
metrics = Registry("metric")

estimator = estimators.register
intensity_rule = intensity_rules.register
method = methods.register
metric = metrics.register
