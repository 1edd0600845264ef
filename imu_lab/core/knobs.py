"""Settings that explain themselves: the fields of a frozen dataclass.

``knob`` writes a field that knows its valid values, its slider and its help, so that an error message, a widget and a
saved run all read the same definition.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from .messages import shown, unknown

NUMBER = r"\s*-?(?:inf|\d+\.?\d*(?:e[+-]?\d+)?)\s*"
INTERVAL = re.compile(rf"[\[(]{NUMBER},{NUMBER}[\])]")
SCALES = ("linear", "log")


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

    Raises:
        ValueError: it contradicts itself.
    """

    help: str
    valid: str = ""
    range: tuple[float, float] | None = None
    scale: str = "linear"
    choices: tuple | Callable[[], tuple] | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if self.valid and not INTERVAL.fullmatch(self.valid):
            raise ValueError(f'valid is an interval such as "(0, 1]" or "[0, inf)", got {self.valid!r}')
        if self.scale not in SCALES:
            raise unknown("scale of a knob", self.scale, SCALES)
        if self.range is None:
            return
        low, high = self.range
        if not low < high or (self.scale == "log" and low <= 0):
            raise ValueError(f"range goes from a lower to a higher number, above 0 on a log scale; got {self.range!r}")
        if self.valid and not all(_inside(end, self.valid) for end in self.range):
            raise ValueError(f"range {self.range!r} leaves the valid values {self.valid}")

    def options(self) -> tuple | None:
        """The allowed values, asked at this moment, or None where any value in the interval is allowed."""
        return self.choices() if callable(self.choices) else self.choices

    def check(self, owner: str, name: str, value: Any) -> None:
        """Raise ValueError unless ``value`` is allowed."""
        if value is None and self.optional:
            return
        options = self.options()
        if options is not None and getattr(value, "ndim", 0):  # compared, it would give an array
            raise unknown(f"value for `{name}` of {owner}", value, options)
        if options is not None and value not in options and name_of(value) not in options:  # a rule, say, by itself
            raise unknown(f"value for `{name}` of {owner}", value, options)
        if self.valid and not _inside(value, self.valid):
            raise ValueError(f"{owner} needs {name} in {self.valid}, got {value!r}. {self.help}")


def knob(
    default: Any = MISSING,
    *,
    help: str,
    valid: str = "",
    range: tuple[float, float] | None = None,
    scale: str = "linear",
    choices: tuple | Callable[[], tuple] | None = None,
    optional: bool = False,
) -> Any:
    """A dataclass field that knows its valid values, its slider and its help.

    ::

        share: float = imu.knob(0.2, help="Press this share of the samples.", valid="(0, 1]", range=(0.05, 1))
        shape: str = imu.knob("round", help="Which of the two.", choices=("round", "square"))

    Args:
        default: the value where none is given; left out, one has to be given.
        help: one line for a person who moves it.
        valid: the numbers allowed, as an interval such as ``"(0, 1]"`` or ``"[0, inf)"``; left out, anything.
        range: the ends of its slider, inside ``valid``.
        scale: ``"linear"`` or ``"log"``, how the slider moves.
        choices: the allowed values where they are few, or a function that gives them.
        optional: whether None is allowed too: the setting is then off.

    Raises:
        ValueError: the knob contradicts itself, or its default is not allowed.
    """
    about = Knob(help, valid, range, scale, choices, optional)
    if default is not MISSING and not callable(choices):  # what a registry holds is not known yet
        about.check("a knob", "default", default)
    return field(default=default, metadata={"knob": about})


def knobs(thing: Any) -> dict[str, Knob]:
    """The knobs of a settings dataclass (class or instance), by field name, in order."""
    return {f.name: f.metadata["knob"] for f in fields(thing) if "knob" in f.metadata}


def described(thing: Any) -> str:
    """A line for each knob of a settings dataclass: its name, its default, what it means and what it may be."""
    lines = []
    for name, about in knobs(thing).items():
        default = next(f.default for f in fields(thing) if f.name == name)
        first = name if default is MISSING else f"{name} ({default!r})"
        allowed = f" In {about.valid}." if about.valid else ""
        if isinstance(about.choices, tuple):  # what a registry holds is not known yet
            allowed = f" One of {', '.join(map(repr, about.choices))}."
        lines.append(f"    {first}: {about.help}{allowed}")
    return "\n".join(lines)


def settings(thing: Any) -> dict[str, Any]:
    """The settings of a registered instance, by field name: provenance that can be given back to its class."""
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


def plain(thing: Any) -> dict[str, Any]:
    """A dataclass's settings as plain values that JSON can hold; anything else by its repr in angle brackets."""
    if not is_dataclass(thing):
        return {"repr": repr(thing)}

    def simple(value: Any) -> Any:
        if type(value) in (bool, int, float, str):  # a request may name many thousand samples
            return value
        if is_dataclass(value) and knobs(value):  # settings within settings, such as a task's recipe
            return plain(value)
        if isinstance(value, (list, tuple)):
            return [simple(item) for item in value]
        if isinstance(value, np.generic):
            return value.item()
        return value if value is None or isinstance(value, (bool, int, float, str)) else f"<{value!r}>"

    return {name: simple(value) for name, value in settings(thing).items()}


def check_count(name: str, given: Any, least: int = 0) -> int:
    """A setting that counts something, as a whole number.

    Raises:
        ValueError: it is none, or below ``least``.
    """
    try:
        whole = int(given) == given and not isinstance(given, bool)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or given < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {given!r}")
    return int(given)


def check_number(owner: str, name: str, given: Any) -> float:
    """A setting that is any number, which True and words are not.

    Raises:
        ValueError: it is none.
    """
    given = given.item() if getattr(given, "ndim", None) == 0 else given
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ValueError(f"{owner} needs a number for {name}, got {shown(given)}")
    return given


def check_flag(owner: str, name: str, given: Any) -> bool:
    """What is on or off, as True or False. Words are always on, also "no".

    Raises:
        ValueError: it is none of True, False, 0 and 1.
    """
    given = given.item() if getattr(given, "ndim", None) == 0 else given
    if isinstance(given, (bool, int, float)) and given in (0, 1):
        return bool(given)
    raise ValueError(f"{owner} needs True or False for {name}, got {shown(given)}")


def name_of(thing: Any) -> str:
    """The name under which an instance's class is registered; the class's own name where it is not.

    A subclass does not answer to the name of what it inherits from: its results are other results.
    """
    kind = type(thing)
    own = vars(kind).get("name")
    known = isinstance(own, str) and not (is_dataclass(kind) and "name" in {f.name for f in fields(kind)})
    return own if known else kind.__name__


def check(thing: Any, owner: str | None = None) -> Any:
    """``thing`` itself, once each of its settings holds an allowed value, in its own type.

    A number of NumPy's or a tensor's only one becomes Python's, and 8.0 becomes 8 where whole numbers are counted: what is the
    same has one repr, by which checkpoints and kept runs are found.

    Args:
        thing: an instance of a settings dataclass.
        owner: what to call it in a message; its name where left out.

    Raises:
        UnknownName, ValueError: a value that its knob does not allow.
        TypeError: a value that cannot be compared, such as a list.
    """
    owner = name_of(thing) if owner is None else owner
    for f in fields(thing):
        given = getattr(thing, f.name)
        if (value := _in_type(owner, f, given)) is not given:
            object.__setattr__(thing, f.name, value)
    for name, about in knobs(thing).items():
        about.check(owner, name, getattr(thing, name))
    try:
        hash(thing)
    except TypeError as error:
        wrong = [f.name for f in fields(thing) if not _hashable(getattr(thing, f.name))]
        raise TypeError(
            f"the settings of {owner} are compared by value, and {', '.join(wrong) or 'one'} cannot be ({error}); give a "
            "tuple instead of a list, and numbers instead of an array"
        ) from None
    return thing


def _in_type(owner: str, about: Any, value: Any) -> Any:
    """A setting in the type of its field.

    Raises:
        ValueError: True, False or words where a number belongs, a fraction where whole numbers do, or anything but True, False,
            0 and 1 where something is on or off: words are always on, also "no".
    """
    kind = getattr(about.type, "__name__", str(about.type)).split(" | ")[0]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if kind == "bool" and not (value is None and "None" in str(about.type)):
        return check_flag(owner, about.name, value)
    if kind not in ("int", "float"):
        return value
    if isinstance(value, bool) or isinstance(value, str) and "str" not in str(about.type):
        words = about.metadata["knob"].help if "knob" in about.metadata else ""
        raise ValueError(f"{owner} needs a number for {about.name}, got {value!r}{words and f'. {words}'}")
    if kind == "float" or not isinstance(value, float):
        return value
    if not value.is_integer():
        raise ValueError(f"{owner} needs a whole number for {about.name}, got {value!r}")
    return int(value)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _inside(value: Any, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    return above and below and not math.isnan(number)
