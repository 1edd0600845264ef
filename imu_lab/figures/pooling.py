"""Which runs are the same experiment under other seeds, and what they are together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..core.records import Run

APART = ("seed", "versions")  # settings, at any depth, in which runs of one group may differ


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
        found.setdefault((run.label, repr(sorted(_flat(run.settings).items()))), []).append(run)
    groups = [Group(label, members) for (label, _), members in found.items()]
    return [Group(_told_apart(group, groups), group.runs) for group in groups]


def _flat(settings: Any, path: str = "") -> dict[str, Any]:
    """``{"settings": {"lr": 0.01}}`` as ``{"settings.lr": "0.01"}``, without seeds and versions."""
    if not isinstance(settings, Mapping):
        return {path: re.sub(r"\bseed=\d+", "seed", str(settings))}
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in APART:
            flat |= _flat(value, f"{path}.{name}" if path else str(name))
    return flat


def _told_apart(group: Group, groups: list[Group]) -> str:
    same = [other for other in groups if other.label == group.label]
    if len(same) == 1:
        return group.label
    flats = [_flat(other.runs[0].settings) for other in same]
    paths = list(dict.fromkeys(path for flat in flats for path in flat))
    apart = [path for path in paths if len({flat.get(path) for flat in flats}) > 1]
    apart = sorted(apart, key=lambda path: len(str(flats[0].get(path))))[:2]  # the shortest say it best
    mine = _flat(group.runs[0].settings)
    said = ", ".join(f"{path.split('.')[-1]} {mine[path]}"[:32] for path in apart if path in mine)
    return f"{group.label} ({said})" if said else group.label


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
