"""What kinds of answers an exercise takes; each turns what was given into the one form that is then compared.

A kind says in words what it expects. What is of another kind is not wrong but *mistyped*, and costs no hint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isroutine
from types import ModuleType
from typing import Any

import numpy as np

from ..core.messages import kind_of, near, shown
from ..core.records import Run


class Mistyped(Exception):
    """What was given cannot be an answer to this question; the message says what can."""


def single(given: Any) -> Any:
    """The Python value of a NumPy scalar, or of a tensor, array, series or frame that holds one value; else what was given.

    A masked value is none: it comes back as not a number, and never as what lies under its mask.
    """
    shape = getattr(given, "shape", None)
    if isinstance(given, (type, ModuleType)) or not isinstance(shape, tuple) or math.prod(shape) != 1:
        return given
    if np.ma.is_masked(given):
        return math.nan
    try:
        value = given.item() if hasattr(given, "item") else np.asarray(given, dtype=object).reshape(-1)[0]
    except (TypeError, ValueError, RuntimeError):  # a tensor without values, or with values that it keeps to itself
        return given
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Number:
    """A finite number, between ``low`` and ``high``; ``unit`` says of what."""

    unit: str = ""
    low: float = -math.inf
    high: float = math.inf

    @property
    def expects(self) -> str:
        """What can be given, in words."""
        limits = ""
        if math.isfinite(self.low):
            limits = (
                f" between {self.low:g} and {self.high:g}" if math.isfinite(self.high) else f" of at least {self.low:g}"
            )
        return f"a number{limits}" + (f", {self.unit}" if self.unit else "")

    def __call__(self, given: Any) -> float:
        value = single(given)
        if isinstance(value, str):
            raise Mistyped(f"{shown(value)} is a text; give {self.expects}, {_bare(value)}.")
        if isinstance(value, (bool, complex)) or not hasattr(value, "__float__"):
            raise Mistyped(f"expected {self.expects}; got {_kind(value)}.")
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise Mistyped(f"expected {self.expects}; got {_kind(value)}.") from None
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Mistyped(f"{number} is no finite number; give {self.expects}.")
        if not self.low <= number <= self.high:
            percent = (
                f" {number:g} % is written {number / 100:g}." if (self.low, self.high) == (0, 1) < (number,) else ""
            )
            raise Mistyped(f"{number:g} cannot be; give {self.expects}.{percent}")
        return number


def share(of: str) -> Number:
    """A share between 0 and 1."""
    return Number(f"the share {of}", 0.0, 1.0)


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` on; ``unit`` says of what."""

    unit: str
    low: int = 0

    @property
    def expects(self) -> str:
        """What can be given, in words."""
        return f"a whole number, {self.unit}"

    def __call__(self, given: Any) -> int:
        try:
            number = Number()(given)
        except Mistyped as error:
            raise Mistyped(str(error).replace("a number", self.expects)) from None
        if number != int(number) or number < self.low:
            raise Mistyped(f"{number:g} cannot be; give {self.expects}.")
        return int(number)


@dataclass(frozen=True)
class Truth:
    """True or False."""

    expects: str = "True or False"

    def __call__(self, given: Any) -> bool:
        value = single(given)
        if not isinstance(value, bool):
            quoted = ", without quotation marks" if isinstance(value, str) else ""
            raise Mistyped(f"expected True or False{quoted}; got {_kind(value)}.")
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few words; capitals and spaces around it do not matter.

    Args:
        options: the words, or a function that gives them, such as a registry's names.
    """

    options: Sequence[str] | Callable[[], Sequence[str]]

    def known(self) -> list[str]:
        """The words to choose from."""
        return list(self.options() if callable(self.options) else self.options)

    @property
    def expects(self) -> str:
        """What can be given, in words."""
        return "one of " + ", ".join(f'"{word}"' for word in self.known())

    def __call__(self, given: Any) -> str:
        value = single(given)
        if not isinstance(value, str):
            raise Mistyped(f"expected {self.expects}; got {_kind(value)}.")
        found = [word for word in self.known() if word.casefold() == " ".join(value.split()).casefold()]
        if not found:
            given = shown(value) if len(value) < 100 else f"text of {len(value):,} characters"
            raise Mistyped(f"there is no {given} to choose; give {self.expects}.{near(value, self.known())}")
        return found[0]


@dataclass(frozen=True)
class OneRun:
    """A run, as :func:`imu_lab.unlearn` returns it."""

    expects: str = "a run, as imu.unlearn, imu.again, imu.fork or imu.what_if returns it"

    def __call__(self, given: Any) -> Run:
        if not isinstance(given, Run):
            raise Mistyped(f"expected {self.expects}; got {kind_of(given)}.")
        return given


@dataclass(frozen=True)
class Runs:
    """Several runs, in a list."""

    count: int

    @property
    def expects(self) -> str:
        """What can be given, in words."""
        return f"a list of {self.count} runs"

    def __call__(self, given: Any) -> list[Run]:
        runs = list(given) if isinstance(given, (list, tuple)) else None
        if runs is None or len(runs) != self.count or not all(isinstance(run, Run) for run in runs):
            counted = "" if runs is None else f" of length {len(runs)}"
            raise Mistyped(f"expected {self.expects}; got {kind_of(given)}{counted}.")
        return runs


def _kind(value: Any) -> str:
    """What was given, in words that a beginner knows."""
    if isinstance(value, (bool, int, float, str)):
        return shown(value)
    shape = getattr(value, "shape", None)
    kind = "an array" if isinstance(value, np.ndarray) else kind_of(value)
    if isinstance(shape, tuple) and math.prod(shape) != 1:
        return f"{kind} of shape {tuple(shape)}"
    return "a function; write () after it to call it" if isroutine(value) else kind


def _bare(text: str) -> str:
    """How a text that begins with a number is written as one: ``"without quotation marks: 0.5"``."""
    match = re.match(r"\s*([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(%?)\s*(.*)", text, re.I | re.S)
    if match is None:
        return "without quotation marks"
    number = float(match[1].replace(",", ".")) / (100 if match[2] else 1)
    return f"without quotation marks{' and unit' if match[2] or match[3].strip() else ''}: {number:g}"
