"""What a figure takes, said where it is defined; whoever hands over something else is told which call gives it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..core.messages import kind_of

Plot = Callable[..., go.Figure]


@dataclass(frozen=True)
class Takes:
    """What the first argument of a ``plot_*`` is.

    Attributes:
        kind: its class.
        words: what it is and which call gives it, as in ``"plot_x draws <words>"``.
        columns: what a table of it must have, if it has any column at all.
        fits: what else a table must be.
    """

    kind: type
    words: str
    columns: tuple[str, ...] = ()
    fits: Callable[[Any], bool] = lambda _: True

    def one(self, given: Any) -> bool:
        """Whether this is one of them."""
        if not isinstance(given, self.kind):
            return False
        if not isinstance(given, pd.DataFrame):
            return True
        return not len(given.columns) or (all(name in given for name in self.columns) and self.fits(given))


def takes(
    kind: type,
    words: str,
    *,
    columns: Iterable[str] = (),
    fits: Callable[[Any], bool] = lambda _: True,
    several: bool = False,
    by_label: bool = False,
    made: Callable[[Any], Any] | None = None,
) -> Callable[[Plot], Plot]:
    """Have a ``plot_*`` refuse, in one sentence, what it cannot draw.

    Args:
        kind, words, columns, fits: see :class:`Takes`.
        several: a row of them will do, too.
        by_label: it is a mapping from labels to them.
        made: from the obvious other thing, such as a run, to what is drawn; None where that is something else.

    Raises:
        TypeError: by the figure, for anything else.
    """
    wanted = Takes(kind, words, tuple(columns), fits)

    def settled(given: Any) -> Any:
        """What the figure draws, or None where this is nothing that it takes."""
        if by_label:
            return given if isinstance(given, Mapping) and all(map(wanted.one, given.values())) else None
        if wanted.one(given):
            return given
        if isinstance(given, Iterable) and not isinstance(given, (str, Mapping, pd.DataFrame)):
            given = list(given)
            if several and all(map(wanted.one, given)):
                return given
        return made(given) if made is not None else None

    def decorated(plot: Plot) -> Plot:
        signature = inspect.signature(plot)
        first = next(iter(signature.parameters))

        @wraps(plot)
        def checked(*given: Any, **settings: Any) -> go.Figure:
            bound = signature.bind(*given, **settings)
            record = bound.arguments[first]
            if (drawn := settled(record)) is None:
                raise TypeError(f"{plot.__name__} draws {words}; got {called(record, wanted)}")
            bound.arguments[first] = drawn
            return plot(*bound.args, **bound.kwargs)

        return checked

    return decorated


def called(given: Any, wanted: Takes) -> str:
    """What was handed over, in a few words; of a table what it lacks."""
    if isinstance(given, pd.DataFrame):
        lacking = [name for name in wanted.columns if name not in given]
        return f"a table without {', '.join(lacking)}" if lacking else "another table"
    return kind_of(given)


def of_a_run(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For ``made``: what a call makes of a single run, also of one in a list."""
    from ..core.records import Run

    def made(given: Any) -> Any:
        given = given[0] if isinstance(given, list) and len(given) == 1 else given
        return make(given) if isinstance(given, Run) else None

    return made
