"""The front between forgetting and keeping: who is beaten on both counts, with intervals over seeds and each one's way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.knobs import check_flag
from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Run
from ..studies.pareto import FLOOR, RETRAINED
from . import floor, live, theme
from .takes import takes

ORIGINAL = "original"
COLUMNS = ("across", "up", "x", "y", "front", "dominated_by")
HEIGHT = 480  # pixels: the legend takes two rows, and a title stands along the whole axis
EDGE = 0.04  # of an axis, free around all that is drawn
Paths = Mapping[str, Iterable[Run]]


@takes(pd.DataFrame, "the table of imu.pareto(table)", columns=COLUMNS)
def plot_pareto(front: pd.DataFrame, *, paths: Paths = MappingProxyType({}), log: bool = False) -> go.Figure:
    """Each method between forgetting and keeping, a mark with its 95 % intervals; filled where nobody is better on both.

    The line joins those; the star is the retrained model, and the shaded corner the noise floor: how far two retrained models
    are apart.

    Args:
        front: of :func:`imu_lab.pareto`.
        paths: runs by the method's name, whose whole ways are drawn thinly (see :func:`imu_lab.load_runs`); those of a method
            that never got there, too, which has no mark.
        log: logarithmic axes, on which a goal of 0 has no place.

    Raises:
        UnknownName: paths of a method that is not in the table.
    """
    by, without = next(iter(front.columns), "method"), front.attrs.get("without", [])
    for name in paths:
        if name not in {*front[by], *without}:
            raise unknown("method of this front", name, [*front[by], *without])
    return live.draw(_content(front, by, paths, without, check_flag("plot_pareto", "log", log)))


def _content(front: pd.DataFrame, by: str, paths: Paths, without: Sequence[str], log: bool) -> live.Content:
    axes = [str(front[name].iloc[0]) if len(front) else "" for name in ("across", "up")]
    methods = front[~front[by].isin([RETRAINED, FLOOR])] if len(front) else front
    known = {name: front[front[by] == name] for name in (RETRAINED, FLOOR)} if len(front) else {}
    looks = theme.looks([*map(str, methods[by]), *without]) if len(front) else {}
    traces = [floor.area(*((0, end) for end in known[FLOOR].iloc[0][["x", "y"]]))] if len(known.get(FLOOR, ())) else []
    traces += [
        _way(run, str(name), looks[str(name)], axes, named=str(name) in without and not at)
        for name, runs in paths.items()
        if name in looks
        for at, run in enumerate(runs)
    ]
    if len(methods):
        traces += [_line(methods[methods["front"]].sort_values("x"))]
        traces += [_mark(row, str(row[by]), looks[str(row[by])], axes) for _, row in methods.iterrows()]
    goal = known.get(RETRAINED, front)
    traces += [_star(goal.iloc[0], axes)] if len(goal) and not (log and min(goal.iloc[0][["x", "y"]]) <= 0) else []
    words = (
        "Filled: no other is as good on both. Nearer to the star is better" if len(methods) else "No methods to show"
    )
    words += (
        f". Without a mark, for it has no numbers on both axes: {', '.join(map(theme.text, without))}"
        if without
        else ""
    )
    return live.Content(
        traces,
        {"title.text": live.heading("Forgetting against keeping", words)},
        _frame(axes, traces, log),
    )


def _mark(row: pd.Series, name: str, look: theme.Look, axes: list[str]) -> dict[str, Any]:
    """A method, the mean over its seeds."""
    beaten = f"<br>beaten on both by {theme.text(row['dominated_by'])}" if row["dominated_by"] else ""
    cost = (
        f"<br>{row['passes']:.3g} passes over the training set"
        if row.get("passes", np.nan) == row.get("passes")
        else ""
    )
    colour = theme.INK if name == ORIGINAL else look.colour
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "method", "method": name},
        name=floor.NOTHING if name == ORIGINAL else theme.text(name),
        legendgroup=theme.text(name),
        x=[row["x"]],
        y=[row["y"]],
        error_x=_error(row, "x", colour),
        error_y=_error(row, "y", colour),
        marker=dict(
            color=colour if row["front"] else "rgba(0,0,0,0)",
            symbol=look.symbol.removesuffix("-open"),
            size=12,
            line=dict(color=colour, width=2),
        ),
        hovertemplate=f"<b>{theme.text(name)}</b>, mean of {_seeds(row)}<br>{_values(axes)}{cost}{beaten}<extra></extra>",
        cliponaxis=False,
    )


def _error(row: pd.Series, axis: str, colour: str) -> dict[str, Any]:
    """The 95 % interval; none where there is one seed."""
    half = row[f"{axis}_high"] - row[axis]
    return dict(
        type="data", array=[half if half == half else 0.0], color=theme.faint(colour, 0.6), thickness=1, width=3
    )


def _way(run: Run, name: str, look: theme.Look, axes: list[str], named: bool) -> dict[str, Any]:
    """A run's whole way, from doing nothing to its end; ``named`` in the legend where no mark is."""
    across, up = (_series(run, axis) for axis in axes)
    steps = across.index.intersection(up.index)
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "path", "method": name},
        name=theme.text(name),
        legendgroup=theme.text(name),
        x=across[steps].to_numpy(dtype=float),
        y=up[steps].to_numpy(dtype=float),
        customdata=steps.to_numpy(),
        opacity=0.5,
        line=dict(color=look.colour, dash=look.dash, width=1.2),
        hovertemplate=f"<b>{theme.text(name)}</b>, after update %{{customdata}}<br>{_values(axes)}<extra></extra>",
        showlegend=named,
    )


def _series(run: Run, axis: str) -> pd.Series:
    """A column of the table at every update: what was recorded, or the size of its gap to the retrained model."""
    split, metric = axis.removesuffix(" gap").split(" ", 1)
    values = run.series(split, metric)
    if not axis.endswith(" gap"):
        return values
    return (values - run.retrained_values.get(split, {}).get(metric, np.nan)).abs()


def _line(front: pd.DataFrame) -> dict[str, Any]:
    """Through those that nobody beats."""
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "front"},
        name="not beaten on both",
        x=front["x"],
        y=front["y"],
        line=dict(color=theme.INK, width=1.5, dash="6px,3px"),
        hoverinfo="skip",
    )


def _star(row: pd.Series, axes: list[str]) -> dict[str, Any]:
    words = f"<b>retrained model</b>, where unlearning should lead<br>{_values(axes)}<extra></extra>"
    return floor.star(row[["x", "y"]], "retrained model", words)


def _seeds(row: Any) -> str:
    """How many seeds a mean is over, and of how many."""
    count, of = int(row["seeds"]), int(row.get("of", row["seeds"]))
    return f"{count} seed{'s' * (count != 1)}" if count == of else f"the {count} of {of} seeds that got there"


def _values(axes: list[str]) -> str:
    across, up = (theme.text(axis) for axis in axes)
    return f"{across}: %{{x:.4g}}<br>{up}: %{{y:.4g}}"


def _frame(axes: list[str], traces: list[dict[str, Any]], log: bool) -> dict[str, Any]:
    across, up = (
        dict(title=dict(text=title), **(dict(type="log") if log else dict(range=_reach(traces, axis), nticks=7)))
        for title, axis in ((_title(axes[0], " "), "x"), (_title(axes[1], "<br>"), "y"))
    )
    return dict(xaxis=across, yaxis=up, hovermode="closest", height=HEIGHT)


def _reach(traces: list[dict[str, Any]], axis: str) -> list[float] | None:
    """From 0 over all that is drawn. An interval of two seeds may reach far below 0, where no distance is: it is cut there."""
    values = np.concatenate([np.asarray(trace[axis], dtype=float) for trace in traces] or [np.empty(0)])
    tops = [trace[axis][0] + trace[f"error_{axis}"]["array"][0] for trace in traces if f"error_{axis}" in trace]
    if not np.isfinite(values).any():
        return None
    low, high = min(0.0, np.nanmin(values)), np.nanmax([*values, *tops])
    return [low - EDGE * (high - low), high + EDGE * (high - low)]


def _title(axis: str, parting: str) -> str:
    """``KL to the retrained model on forget, the samples to forget (nats per prediction)``."""
    split, _, metric = axis.removesuffix(" gap").partition(" ")
    quantity = describe(metric)
    gap = ", gap to the retrained model" if axis.endswith(" gap") else ""
    where = theme.split_words(split)
    return f"{theme.text(quantity.title)}{parting}on {where}{gap}<br>({theme.text(quantity.unit or 'no unit')})"
