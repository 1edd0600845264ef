"""The front between forgetting and keeping: who is beaten on both counts, with intervals over seeds and each one's way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Run
from ..studies.pareto import FLOOR, RETRAINED
from . import floor, live, theme
from .takes import takes

ORIGINAL = "original"
COLUMNS = ("across", "up", "x", "y", "front", "dominated_by")
Paths = Mapping[str, Iterable[Run]]


@takes(pd.DataFrame, "the table of imu.pareto(table)", columns=COLUMNS)
def plot_pareto(front: pd.DataFrame, *, paths: Paths = MappingProxyType({}), log: bool = False) -> go.Figure:
    """Each method between forgetting and keeping, a mark with its 95 % intervals; filled where nobody is better on both.

    The line joins those; the star is the retrained model, and the shaded corner the noise floor: how far two retrained models
    are apart.

    Args:
        front: of :func:`imu_lab.pareto`.
        paths: runs by the method's name, whose whole ways are drawn thinly (see :func:`imu_lab.load_runs`).
        log: logarithmic axes, on which a goal of 0 has no place.

    Raises:
        UnknownName: paths of a method that is not in the table.
    """
    by = next(iter(front.columns), "method")
    for name in paths:
        if name not in set(front[by]):
            raise unknown("method of this front", name, list(front[by]))
    return live.draw(_content(front, by, paths, log))


def _content(front: pd.DataFrame, by: str, paths: Paths, log: bool) -> live.Content:
    axes = [str(front[name].iloc[0]) if len(front) else "" for name in ("across", "up")]
    methods = front[~front[by].isin([RETRAINED, FLOOR])] if len(front) else front
    known = {name: front[front[by] == name] for name in (RETRAINED, FLOOR)} if len(front) else {}
    looks = theme.looks(map(str, methods[by])) if len(front) else {}
    traces = [floor.area(*((0, end) for end in known[FLOOR].iloc[0][["x", "y"]]))] if len(known.get(FLOOR, ())) else []
    traces += [
        _way(run, str(name), looks[str(name)], axes) for name, runs in paths.items() if name in looks for run in runs
    ]
    if len(methods):
        traces += [_line(methods[methods["front"]].sort_values("x"))]
        traces += [_mark(row, str(row[by]), looks[str(row[by])], axes) for _, row in methods.iterrows()]
    goal = known.get(RETRAINED, front)
    traces += [_star(goal.iloc[0], axes)] if len(goal) and not (log and min(goal.iloc[0][["x", "y"]]) <= 0) else []
    words = (
        "Filled: no other is as good on both. Nearer to the star is better" if len(methods) else "No methods to show"
    )
    return live.Content(
        traces,
        {"title.text": live.heading("Forgetting against keeping", words)},
        _frame(axes, "log" if log else "linear"),
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


def _way(run: Run, name: str, look: theme.Look, axes: list[str]) -> dict[str, Any]:
    """A run's whole way, from doing nothing to its end."""
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
        showlegend=False,
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


def _frame(axes: list[str], kind: str) -> dict[str, Any]:
    mode = dict(type=kind) if kind == "log" else dict(rangemode="tozero", nticks=7)
    across, up = (dict(title=dict(text=_title(axis)), **mode) for axis in axes)
    return dict(xaxis=across, yaxis=up, hovermode="closest")


def _title(axis: str) -> str:
    """``KL to the retrained model on forget, the samples to forget (nats per prediction)``."""
    split, _, metric = axis.removesuffix(" gap").partition(" ")
    quantity = describe(metric)
    gap = ", gap to the retrained model" if axis.endswith(" gap") else ""
    return (
        f"{theme.text(quantity.title)} on {theme.split_words(split)}{gap}<br>({theme.text(quantity.unit or 'no unit')})"
    )
