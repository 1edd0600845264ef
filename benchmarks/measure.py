"""Timing that survives a noisy machine: rivals take turns, and the quoted figure is a ratio of medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil


class Row(NamedTuple):
    """One measured figure beside its target.

    Attributes:
        what: what was measured, and of what size.
        value: the figure.
        target: what it must reach.
        least: whether the target is a floor rather than a ceiling.
        unit: ``"x"`` for ratios.
    """

    what: str
    value: float
    target: float
    least: bool = False
    unit: str = "x"

    @property
    def reached(self) -> bool:
        """Whether the figure meets its target."""
        return self.value >= self.target if self.least else self.value <= self.target

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        mark = "ok  " if self.reached else "MISS"
        return f"{mark} {self.what}: {self.value:.3g} {self.unit} (target {sign} {self.target:g} {self.unit})"


class Skipped(NamedTuple):
    """A figure that cannot be measured here.

    Attributes:
        what: what would have been measured.
        reason: what is missing.
    """

    what: str
    reason: str

    @property
    def reached(self) -> bool:
        """Nothing was missed."""
        return True

    def __str__(self) -> str:
        return f"skip {self.what}: {self.reason}"


def seconds(
    *rivals: Callable[[], object],
    rounds: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    settle: int = 0,
) -> list[float]:
    """The median seconds of each rival, measured in turn A B A B ... after a warm-up.

    ``settle`` untimed calls come before each turn: else a rival of a millisecond is timed on a cache that another has
    filled, and on memory that another has given back. ``clock=time.process_time`` counts this process's own seconds: for
    work on one thread beside other programs.
    """
    for _ in range(warmup):
        for rival in rivals:
            rival()
    taken: list[list[float]] = [[] for _ in rivals]
    for _ in range(rounds):
        for kept, rival in zip(taken, rivals):
            for _ in range(settle):
                rival()
            start = clock()
            rival()
            kept.append(clock() - start)
    return [statistics.median(kept) for kept in taken]


def peak_mib(work: Callable[[], object]) -> float:
    """How far the process's resident memory rose above its level at the start, in MiB, sampled while ``work`` ran."""
    import threading

    process, done, start = psutil.Process(), threading.Event(), psutil.Process().memory_info().rss
    peak = [start]

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return (peak[0] - start) / 2**20


def allocated_mib(work: Callable[[], object]) -> float:
    """The most that tensors made by ``work`` took together, in MiB: counted by torch's profiler, so the same each time.

    Unlike resident memory it knows no freed pages that are used again, and no other program moves it.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()  # negative where memory is given back
        peak = max(peak, held)
    return peak / 2**20
