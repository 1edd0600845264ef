"""What a method is handed of the training set beside the forget set: the means that it declares, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ..core.knobs import name_of
from ..core.messages import shown
from ..core.records import Run
from ..core.registry import methods
from ..features.kronecker import advising
from ..features.statistics import Statistics
from ..tasks.protocol import Task, own_data_key

GIVEN, COMPUTED = "given", "computed from the train split before the first update"  # origins of a statistic


class Source(Protocol):
    """A task and a model with its readout, and how to make its statistic: a session."""

    task: Task
    model: nn.Module
    names: tuple[str, ...]
    data: str | None

    def statistics(self, parts: Iterable[str] | None = None) -> Statistics:
        """Means over the train split."""

    def view(self, cache: bool = True, scope: str = "readout") -> tuple[Task, nn.Module]:
        """The task and model to work on."""


@dataclass(frozen=True, eq=False)
class Carried:
    """What a run made from another one goes on with: the statistic of its original, and the model that the method began with.

    Attributes:
        run: the other one.
        asked: what the user gave in the place of the statistic that it used.
        original: the session that it began with.
        began: the session that the method began with, where it made updates before.
        made: how many.
    """

    run: Run
    asked: Statistics | None
    original: Callable[[], Source]
    began: Callable[[], Source] | None = None
    made: int = 0


def begun(given: Any, cache: bool, scope: str) -> dict[str, Any]:
    """What a request tells of a method that goes on with a run."""
    if not isinstance(given, Carried) or given.began is None:
        return {}
    return {"original": given.began().view(cache, scope)[1], "made": given.made}


def handed(method: Any, given: Statistics | Carried | None, source: Source) -> tuple[Statistics | None, dict[str, Any]]:
    """What a method is handed, a copy of its own, and where that came from, as a setting of its run.

    Args:
        given: what the user gave, or what goes on with a run; None has it computed.

    Raises:
        ValueError: the method uses none; or it was made of another model, readout or data, or lacks a part.
        TypeError: it is no statistic.
    """
    wanted = tuple(methods.declared(method, "needs_statistics"))
    if not wanted:
        if (given.asked if isinstance(given, Carried) else given) is None:
            return None, {}
        raise ValueError(
            f"method {name_of(method)!r} with these settings uses no statistic of the training set; leave statistics= out"
        )
    known, origin, source = _known(given, wanted, source)
    if known is not None:
        if not isinstance(known, Statistics):
            raise TypeError(f"statistics is what imu.statistics(task, model) gives; got {shown(known)}")
        known.check(source.model, source.names, own_data_key(source.task))
    with advising(method):
        held = source.statistics(wanted) if known is None else known.only(wanted).copied()
    about = {
        "origin": origin,
        "parts": list(wanted),
        "rows": held.rows,
        "digest": held.digest,
        "data": held.about.get("data"),
    }
    return held, {"statistics": about}


def _known(given: Any, wanted: tuple[str, ...], source: Source) -> tuple[Any, str, Source]:
    """The statistic that there is before anything is computed, its origin in words, and the session that it has to fit: what
    the user gave, else what the run used that this one goes on with; None where neither has these parts."""
    if not isinstance(given, Carried):
        return given, COMPUTED if given is None else GIVEN, source
    original, used = given.original(), given.run.statistics
    if given.asked is not None:
        return given.asked, GIVEN, original
    if used is not None and used.holds(wanted):
        return used, given.run.settings["statistics"]["origin"], original
    return None, COMPUTED, original
