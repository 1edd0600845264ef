"""Metrics during unlearning: the curves of one run, or of several next to each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable

import numpy as np
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import SPLITS, describe
from ..core.records import Run
from ..lab.asked import requests_of
from . import live
from .curve_panels import EVENTS, CurvesInfo, Level, Line, Mark, content
from .pooling import Group, Series, grouped, together
from .takes import takes

UNSEEN = 1e-4  # of a level: two that differ by less are one in a figure


@takes(Run, "runs of imu.unlearn, one or several", several=True)
def plot_curves(
    run_or_runs: Run | Iterable[Run],
    *,
    metric: str | None = None,
    splits: Iterable[str] | None = None,
    faint: Collection[str] = (),
) -> go.Figure:
    """A metric at every update: one panel for one kind of run, one panel per split where several are compared.

    Runs that differ by seed alone become one line, their mean, in a band from the lowest to the highest. Dotted lines
    are the retrained model; where runs have retrained models of their own, as those of several requests, each is a thin line
    that is otherwise like its run's. Update 0 is the original. A trace's ``meta`` holds its role, split and run label.

    Of a distance to the retrained model a dashed line goes on from update 0, which is doing nothing. Beside several
    retrained models (:func:`imu_lab.references`) the dotted line is how far two of them are from each other, and the area
    from there to the goal is shaded: differences as small as that say nothing.

    From the utility limit on, where kept accuracy has fallen 5 points (or, where a loss tells of forgetting, kept samples are
    no longer known), it is grey: behind all lines of one kind of run, and where several are compared, along each line by
    itself, for each has its own limit. The mean of several seeds is grey from the update at which half of them have passed
    theirs: then it tells mostly of collapsed models, and neither a single bad seed greys all nor a single good one nothing.
    Markers show each seed's own limit.

    Args:
        run_or_runs: one run or several.
        metric: a metric of ``run.curve``; None for the one that tells of forgetting on the runs' task.
        splits: which splits, in this order; None shows all that have the metric.
        faint: labels of runs to draw faint, such as those that answer an earlier question.

    Raises:
        UnknownName: no run recorded this metric, or this split of it.
    """
    return live.draw(content(_curves_info(run_or_runs, metric, splits), faint))


def update_curves(
    figure: go.Figure,
    run_or_runs: Run | Iterable[Run],
    *,
    metric: str | None = None,
    splits: Iterable[str] | None = None,
    faint: Collection[str] = (),
) -> go.Figure:
    """Show other runs in a figure that :func:`plot_curves` made."""
    return live.update(figure, content(_curves_info(run_or_runs, metric, splits), faint))


def _curves_info(
    runs: Run | Iterable[Run], metric: str | None = None, splits: Iterable[str] | None = None
) -> CurvesInfo:
    """Pools seeds and finds what is marked."""
    runs = [runs] if isinstance(runs, Run) else list(runs)
    metric = metric or (runs[0].headline if runs else "accuracy")
    series = {id(run): _series(run, metric) for run in runs}
    recorded = list(dict.fromkeys(split for lines in series.values() for split in lines))
    known = list(dict.fromkeys(name for run in runs for name in run.curve["metric"].unique()))
    if known and metric not in known:
        raise unknown("metric recorded by these runs", metric, known)
    for split in splits or ():
        if recorded and split not in recorded:
            raise unknown(f"split with {metric!r}", split, recorded)
    order = [*SPLITS, *(name for name in recorded if name not in SPLITS)]
    shown = list(splits) if splits is not None else [name for name in order if name in recorded]
    groups = grouped(runs)
    lines = [_line(split, group, series) for split in shown for group in groups]
    members = [(group, run) for group in groups for run in group.runs]
    marks = [mark for split in shown for group, run in members for mark in _marks(split, group, run, series)]
    floored = any(run.noise_floor(metric) for run in runs)
    levels = _levels(groups, shown, lambda run: run.noise_floor(metric) if floored else _retrained(run, metric))
    limits = {group.label: limit for group in groups if (limit := _limit(group)) is not None}
    starts = _levels(groups, shown, lambda run: _starts(series[id(run)])) if describe(metric).goal is not None else []
    labels = [group.label for group in groups]
    return CurvesInfo(metric, shown, labels, lines, marks, levels, limits, starts, floored)


def _starts(lines: dict[str, Series]) -> dict[str, float]:
    """{split: the original's value}."""
    return {split: float(line.values[0]) for split, line in lines.items() if len(line.steps)}


def _limit(group: Group) -> int | None:
    """The update at which half of a group's runs have passed their utility limit, or, where a loss tells of forgetting, have
    collapsed; None if fewer ever do."""
    lost = [[_step_of(run, event) for event in ("utility_limit", "collapsed_at")] for run in group.runs]
    passed = sorted(step for steps in lost for step in steps if step is not None)
    needed = (len(group.runs) + 1) // 2
    return int(passed[needed - 1]) if len(passed) >= needed else None


def _step_of(run: Run, event: str) -> int | None:
    """The update at which it happened; of a run that has a utility limit the collapse, which follows it, is not told again."""
    told = event == "collapsed_at" and run.events.get("utility_limit") is not None
    return None if told else run.events.get(event)


def _series(run: Run, metric: str) -> dict[str, Series]:
    """{split: its updates and values}."""
    chosen = run.curve["metric"].to_numpy(dtype=object) == metric  # pandas takes twenty times as long to compare words
    splits = run.curve["split"].to_numpy(dtype=object)[chosen]
    steps, values = run.curve["step"].to_numpy()[chosen], run.curve["value"].to_numpy(dtype=float)[chosen]
    return {name: Series(steps[splits == name], values[splits == name]) for name in dict.fromkeys(splits)}


def _line(split: str, group: Group, series: dict[int, dict[str, Series]]) -> Line:
    found = [series[id(run)][split] for run in group.runs if split in series[id(run)]]
    steps, values = together(found)
    if len(found) == 1:
        return Line(split, group.label, steps, values[0], values[0], values[0], 1)
    if not len(found):
        return Line(split, group.label, steps, *[np.zeros(0)] * 3, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an update at which no seed has a number is a gap
        mean, low, high = np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0)
    return Line(split, group.label, steps, mean, low, high, len(found))


def _marks(split: str, group: Group, run: Run, series: dict[int, dict[str, Series]]) -> list[Mark]:
    line = series[id(run)].get(split)
    marks = []
    for event in EVENTS:
        step = _step_of(run, event)
        if step is not None and line is not None and len(line.steps):
            # a diverged update has no record: the mark sits at the last one before it
            at = max(int(np.searchsorted(line.steps, step, side="right")) - 1, 0)
            marks.append(Mark(event, split, group.label, int(step), float(line.values[at])))
    return marks


def _retrained(run: Run, metric: str) -> dict[str, float]:
    """{split: the retrained model's value}."""
    return {split: values[metric] for split, values in run.retrained_values.items() if metric in values}


def _levels(groups: list[Group], splits: list[str], of: Callable[[Run], dict[str, float]]) -> list[Level]:
    """One level on each split where all groups that know one agree, and it speaks of the others, too; else, on all splits, one
    for each of these: a mean over its seeds. NaN where nobody knows one."""
    known = {group.label: _mean_by_split([pair for run in group.runs for pair in of(run).items()]) for group in groups}
    own = [Level(split, label, value[split]) for split in splits for label, value in known.items() if split in value]
    first = {level.split: level.value for level in reversed(own)}
    alike = all(math.isclose(level.value, first[level.split], rel_tol=UNSEEN) for level in own)
    if alike and (not own or all(known.values()) or len(set(requests_of(group.runs[0] for group in groups))) == 1):
        return [Level(split, "", first.get(split, float("nan"))) for split in splits]
    return own


def _mean_by_split(pairs: list[tuple[str, float]]) -> dict[str, float]:
    """{split: the mean of its finite values}."""
    found: dict[str, list[float]] = {}
    for split, value in pairs:
        if np.isfinite(value):
            found.setdefault(split, []).append(value)
    return {split: sum(values) / len(values) for split, values in found.items()}
