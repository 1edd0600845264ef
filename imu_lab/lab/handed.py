"""What a method is handed of the training set beside the forget set: the means that it declares, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from torch import nn

from ..core.knobs import name_of
from ..core.messages import shown
from ..core.registry import methods
from ..features.statistics import Statistics


class Source(Protocol):
    """A model with its readout, and how to make its statistic: a session."""

    model: nn.Module
    names: tuple[str, ...]

    def statistics(self, parts: Iterable[str] | None = None) -> Statistics:
        """Means over the train split."""


def handed(method: Any, given: Statistics | None, source: Source) -> tuple[Statistics | None, dict[str, Any]]:
    """What a method is handed, and where that came from, as a setting of its run.

    Args:
        given: what the user gave; None has it computed.

    Raises:
        ValueError: the method uses none; or it was made of another model or readout, or lacks a part.
        TypeError: it is no statistic.
    """
    wanted = tuple(methods.declared(method, "needs_statistics"))
    if not wanted:
        if given is None:
            return None, {}
        raise ValueError(
            f"method {name_of(method)!r} with these settings uses no statistic of the training set; leave statistics= out"
        )
    if given is not None:
        if not isinstance(given, Statistics):
            raise TypeError(f"statistics is what imu.statistics(task, model) gives; got {shown(given)}")
        given.check(source.model, source.names)
    held = source.statistics(wanted) if given is None else given
    about = {
        "origin": "computed from the train split before the first update" if given is None else "given",
        "parts": list(wanted),
        "rows": held.rows,
        "digest": held.digest,
    }
    return held.only(wanted), {"statistics": about}
