"""A run while it happens: what it has recorded so far, and what it will take, before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from threading import Condition, Event
from typing import Any, NamedTuple

import pandas as pd

from ..core.messages import unheard
from ..core.records import Run
from .session import Session

TRIAL = 3  # updates that an estimate makes
TURNS, BRIEF = 5, 0.05  # a time so brief (seconds) is mostly chance: the least of so many is told


class Estimate(NamedTuple):
    """What a run will take. ``bytes`` is what its record holds: a state of each sample, and what moves, per update."""

    seconds: float
    bytes: int


def estimate(session: Session, weights: Any, method: str, *, steps: int, **settings: Any) -> Estimate:
    """Time and memory of a run, from a trial of a few of its updates that is thrown away."""

    def timed(updates: int) -> tuple[float, Run]:
        least = math.inf
        for _ in range(TURNS):
            started = time.perf_counter()
            with unheard():
                run = session.unlearn(weights, method, steps=updates, progress=lambda *_: None, **settings)
            least = min(least, taken := time.perf_counter() - started)
            if taken > BRIEF:
                break
        return least, run

    timed(1)  # what is slow once, slow no more
    once, _ = timed(1)
    more, run = timed(1 + TRIAL)
    each = max(0.0, more - once) / TRIAL  # what a run takes besides its updates is in both
    moved = run.snapshots.bytes / max(1, len(run.kept_steps))
    states = 8.0 * run.trajectory.shape[1] * len(run.samples)
    held = int(min(moved * (steps + 1), run.snapshots.limit) + states * (steps + 1))
    return Estimate(once + each * max(0, steps - 1), held)


def so_far(state: Any, about: Mapping[str, Any], reference: pd.DataFrame | None = None) -> Run:
    """What a run has recorded up to now, as a record that figures draw; it has no model yet.

    Args:
        state: what ``watch`` was called with.
        about: ``method``, ``weights``, ``settings`` and ``seed`` for its label.
        reference: of the retrained model, ``split, metric, value``.
    """
    recorder = state.recorder
    known = pd.DataFrame(columns=["split", "metric", "value"]) if reference is None else reference
    events = {"steps": state.step, "stopped_at": state.stopped_at, "diverged_at": state.diverged_at}
    return Run(
        curve=recorder.curve(),
        samples=recorder.ledger(),
        trajectory=recorder.trajectory(),
        terms=recorder.term_table(),
        reference=known,
        settings=dict(about),
        events=events | {"utility_limit": None, "seconds": None},
        build_model=_no_model,
    )


def _no_model() -> Any:
    raise ValueError("the run is still under way; its model is there when it has ended or was stopped")


class Gate:
    """What a run passes after each update: open, closed, or open for one update at a time.

    Attributes:
        stop: an event to give to ``unlearn``; set by :meth:`end`.
    """

    def __init__(self) -> None:
        self.stop = Event()
        self._changed = Condition()
        self._open, self._passes = True, 0

    @property
    def paused(self) -> bool:
        """Whether the next update waits."""
        return not self._open and not self.stop.is_set()

    def reset(self, paused: bool = False) -> None:
        """Ready for a new run, which may begin paused."""
        with self._changed:
            self.stop.clear()
            self._open, self._passes = not paused, 0

    def go(self) -> None:
        """Let the run go on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Hold the run after the update that it is making."""
        with self._changed:
            self._open, self._passes = False, 0

    def once(self) -> None:
        """Hold the run, and let it make one update."""
        with self._changed:
            self._open = False
            self._passes += 1
            self._changed.notify_all()

    def end(self) -> None:
        """End the run; what it recorded is kept."""
        with self._changed:
            self.stop.set()
            self._changed.notify_all()

    def __call__(self) -> None:
        """Wait until the next update may be made."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._passes > 0 or self.stop.is_set())
            self._passes -= 0 if self._open else min(1, self._passes)
