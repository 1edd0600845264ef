"""The words of an error: what was given, the nearest name, and all that exist; and who hears a warning."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

SHOWN = 100  # names, or letters of data, in a message; a run that follows transition matrices knows hundreds of names


class UnknownName(KeyError, ValueError):
    """A name that is not there. Both a KeyError (a look-up failed) and a ValueError (an argument was wrong)."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return self.args[0]


class DoesNotApply(ValueError):
    """What was asked makes no sense for this task, this model or these data, and the message says why.

    Who asks many things at once may go on with the others. Any other error is a fault, and is never taken for this one.
    """


def unknown(kind: str, given: object, known: Mapping | list | tuple, meant: str | None = None) -> UnknownName:
    """The error for a name that is not there: what was given, the name nearest to it or to ``meant``, and all there are."""
    names = [str(name) for name in known]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return UnknownName(
        f"unknown {kind}: {given!r}.{near(meant or given, names)} Known: {', '.join(names[:SHOWN]) or 'none'}{more}."
    )


def near(given: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question after the name that was probably meant, with a space before it; empty where none is near.

    Args:
        cutoff: how alike the two are at least, from 0 to 1.
    """
    meant = difflib.get_close_matches(str(given), list(known), n=1, cutoff=cutoff)
    return f" Did you mean {meant[0]!r}?" if meant else ""


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Quoted names in a row, for messages."""
    return ", ".join(repr(name) for name in names) or "none"


def shown(value: Any, most: int = 120) -> str:
    """A value in one line, or its kind where that would be long."""
    words = " ".join(repr(value).split())
    return words if len(words) <= most else with_article(type(value).__name__)


def in_brief(told: Any) -> str:
    """The first line of what something says of itself, cut where it is long: data may be told in a thousand characters.

    Settings that are left out are not worth the room, and a user's own data are known to the user by no key of ours.
    """
    words = " ".join((str(told).strip() or "nothing").splitlines()[0].split())
    words = re.sub(r"\b\w+=None, |, \w+=None\b", "", words)
    words = re.sub(r"Supplied\(key='\w+'\)", "data and a model of a user's own", words)
    return words if len(words) <= SHOWN else f"{words[:SHOWN].rstrip(' ,')} ..."


def reason(error: Exception) -> str:
    """The first line of what an error says, which of torch's and of users' code may be many, or none."""
    return (str(error).strip().splitlines() or [f"{type(error).__name__} without a message"])[0]


def kind_of(given: Any) -> str:
    """What was handed over, in a few words: ``"a list of Run and str"``."""
    if given is None:
        return "None"
    if isinstance(given, (Mapping, list, tuple)):
        inside = given.values() if isinstance(given, Mapping) else given
        kinds = " and ".join(sorted({type(each).__name__ for each in inside})) or "nothing"
        return f"{with_article(type(given).__name__)} of {kinds}"
    return with_article(type(given).__name__)


def with_article(name: str) -> str:
    """A kind with its article: ``"a list"``, ``"an int"``, ``"an ndarray"``."""
    return f"{'an' if name[0] in 'AEIOaeio' or name.startswith(('Un', 'nd')) else 'a'} {name}"


LIBRARY = str(Path(__file__).parents[1])
BETWEEN = (LIBRARY, contextlib.__file__, dataclasses.__file__, "<string>")  # the last: constructors of dataclasses
_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


def warn(message: str) -> None:
    """Warn whoever called the library: the warning names their line, however deep inside it arose."""
    if (heard := _HEARD.get()) is not None:
        heard.append(message)
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


@contextlib.contextmanager
def unheard() -> Iterator[list[str]]:
    """Within it, in this thread, nobody is warned by :func:`warn`; the messages are in the list.

    For work of the library's own, such as the runs of a trial, whose outcomes stand in its table.
    """
    token = _HEARD.set(heard := [])
    try:
        yield heard
    finally:
        _HEARD.reset(token)
