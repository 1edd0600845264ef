"""Exercises: a name, the kind of answer it takes, hints, and the computation that knows whether an answer is right.

A lesson's exercises stand in ``lesson_NN.py`` beside this file, and are found there by their name. The answer is worked
out from the data and the model whenever it is asked for, so it is in no cell, and it is right on every processor. A new
lesson is a new file there, and one of that name with right, wrong and mistyped answers in the tests; nothing else names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..core.messages import unheard, unknown
from .answers import Mistyped
from .verdict import Verdict


class Kind(Protocol):
    """What :mod:`answers` holds: what can be given, in words, and how it is read."""

    expects: str

    def __call__(self, given: Any) -> Any: ...


@dataclass(frozen=True)
class Exercise:
    """One question of a lesson.

    Args:
        name: ``"01-1"``: the lesson's number and its own.
        kind: of the answer.
        judge: says of an answer that was read whether it is right: True, False, or a sentence on what is missing.
        hints: from the first push to nearly the answer.
        because: said when the answer is right: why it is.
    """

    name: str
    kind: Kind
    judge: Callable[[Any], bool | str]
    hints: tuple[str, ...]
    because: str

    def __call__(self, given: Any) -> Verdict:
        if given is None:
            return Verdict(self.name, "open", f"Give {self.kind.expects}.", self.hints)
        try:
            answer = self.kind(given)
            with unheard():  # the runs that decide an answer may collapse, as those of the lesson do
                found = self.judge(answer)
        except (Mistyped, ValueError) as error:  # a setting, too, can be out of its range: it says so in words
            words = str(error)
            return Verdict(self.name, "mistyped", words[0].upper() + words[1:], self.hints)
        if isinstance(found, str):
            return Verdict(self.name, "wrong", found, self.hints)
        if found:
            return Verdict(self.name, "right", self.because)
        return Verdict(self.name, "wrong", "Unfold a hint, and look again.", self.hints)


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, kind: Kind, *, hints: Sequence[str], because: str) -> Callable:
    """A decorator for an exercise's ``judge``; see :class:`Exercise`."""

    def keep(judge: Callable[[Any], bool | str]) -> Callable[[Any], bool | str]:
        EXERCISES[name] = Exercise(name, kind, judge, tuple(hints), because)
        return judge

    return keep


def exercises() -> dict[str, Exercise]:
    """All exercises by name, in the order of the lessons."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("lesson_"):
            import_module(f".{module.name}", __package__)
    return dict(sorted(EXERCISES.items()))


def check(name: str, answer: Any = None) -> Verdict:
    """Whether an answer to an exercise of the notebooks is right: a green card with the reason, or a red one with hints.

    >>> imu.check("01-1", 0.5)

    Args:
        name: of the exercise, such as ``"01-1"``: the first of lesson 01.
        answer: what the exercise asks for; None for no answer yet.

    Returns:
        A card for a notebook. ``.right`` is True, False, or None where there is no answer yet; ``.words`` is what it
        says, and ``.hint(1)``, ``.hint(2)`` … are the hints that the card unfolds one by one.

    Raises:
        UnknownName: there is no exercise of that name.
    """
    known = exercises()
    if not isinstance(name, str) or name not in known:
        raise unknown("exercise", name, known, meant=str(name).zfill(4))  # "1-1" is 01-1, and not the nearer 11-1
    return known[name](answer)
