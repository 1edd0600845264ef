"""Which runs are the same experiment under other seeds, and what they are together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..core.labels import experiment, told_apart
from ..core.records import Run


class Group(NamedTuple):
    """Runs that differ by their seeds alone, under one label."""

    label: str
    runs: list[Run]


class Series(NamedTuple):
    """(s,) updates, ascending, and (s,) values."""

    steps: np.ndarray
    values: np.ndarray


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs of one label and equal settings, seeds aside, in order of first appearance.

    Runs that share a label but not their settings stay apart, and their labels say where they differ.
    """
    found: dict[tuple, list[Run]] = {}
    for run in runs:
        found.setdefault((run.label, repr(sorted(experiment(run).items()))), []).append(run)
    labels = told_apart(members[0] for members in found.values())
    return [Group(label, members) for label, members in zip(labels, found.values())]


def together(lines: list[Series]) -> tuple[np.ndarray, np.ndarray]:
    """The lines of several runs on common updates.

    A run that stopped early keeps its last value from there on, for its model stays what it is; otherwise a mean would
    jump whenever a run ends.

    Returns:
        (s,) the updates and (r, s) the values, one row per run.
    """
    if not lines:
        return np.zeros(0, dtype=int), np.zeros((0, 0))
    if len(lines) == 1:
        return lines[0].steps, lines[0].values[None]
    steps = np.unique(np.concatenate([line.steps for line in lines]))
    rows = []
    for line in lines:
        at = np.searchsorted(line.steps, steps, side="right") - 1
        rows.append(np.where(at >= 0, line.values[np.maximum(at, 0)], np.nan))
    return steps, np.stack(rows)
