"""Forgetting against damage: each arm's path from doing nothing towards the retrained models, or past them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import SPLITS, describe
from ..core.records import Run
from . import floor, live, theme
from .pooling import grouped
from .takes import takes

CORNER = "a retrained model beside the others"
ALONE = "retrained model"


class Path(NamedTuple):
    """One run of an arm: (s,) updates, and its distance on either split after each."""

    label: str
    steps: np.ndarray
    forget: np.ndarray
    kept: np.ndarray
    several: bool  # whether the arm has other seeds


class PathsInfo(NamedTuple):
    """What is drawn: the paths, arm by arm; the corner, which is the noise floor where there are several retrained models."""

    metric: str
    splits: tuple[str, str]
    paths: list[Path]
    corner: tuple[float, float]
    floored: bool

    @property
    def looks(self) -> dict[str, theme.Look]:
        """How each arm is drawn."""
        return theme.looks(path.label for path in self.paths)


@takes(Run, "runs of imu.unlearn, one or several", several=True)
def plot_forgetting_damage(
    runs: Run | Iterable[Run], *, metric: str | None = None, forget: str = "forget", kept: str = "test"
) -> go.Figure:
    """Each arm's whole path: how far it is from the retrained models on what is to forget, and on what is to keep.

    A path begins at doing nothing and has a dot per recorded update; its end is large. The star is where a retrained model
    stands, the shaded corner is the noise floor: the distance of two retrained models (:func:`imu_lab.references`). Below
    and left of the dashed lines a run is nearer to them than doing nothing. Seeds of one arm share its colour, and a large
    mark is the mean of their ends.

    Args:
        runs: one or several, which recorded a distance to the retrained model on both splits.
        metric: which distance; None for the first that all runs recorded.
        forget, kept: the splits across and up.

    Raises:
        UnknownName: the metric is no distance that these runs recorded.
        ValueError: they recorded none.
    """
    return live.draw(_content(_paths_info([runs] if isinstance(runs, Run) else list(runs), metric, (forget, kept))))


def _paths_info(runs: list[Run], metric: str | None, splits: tuple[str, str]) -> PathsInfo:
    if not runs:
        return PathsInfo(metric or "kl_retrained", splits, [], (np.nan, np.nan), False)
    known = [name for name in runs[0].curve["metric"].unique() if _recorded(runs, name, splits)]
    if not known:
        raise ValueError(
            f"no distance to the retrained model was recorded by all these runs on {splits[0]!r} and {splits[1]!r}; make them "
            "with reference=imu.references(task), or follow=['kl-retrained'] beside one retrained model"
        )
    metric = metric or known[0]
    if metric not in known:
        raise unknown("distance recorded by all these runs", metric, known)
    paths = [
        _path(group.label, run, metric, splits, len(group.runs) > 1) for group in grouped(runs) for run in group.runs
    ]
    floors = [run.noise_floor(metric) for run in runs]
    floors = [(each[splits[0]], each[splits[1]]) for each in floors if each]
    goal = describe(metric).goal
    corner = tuple(np.mean(floors, 0).tolist()) if floors else (goal, goal)
    return PathsInfo(metric, splits, paths, corner, bool(floors))


def _recorded(runs: list[Run], metric: str, splits: tuple[str, str]) -> bool:
    """Whether this is a distance to the retrained model, and all runs know it on both splits."""
    return describe(metric).goal is not None and all(len(run.series(split, metric)) for run in runs for split in splits)


def _path(label: str, run: Run, metric: str, splits: tuple[str, str], several: bool) -> Path:
    across, up = (run.series(split, metric) for split in splits)
    return Path(label, across.index.to_numpy(), across.to_numpy(dtype=float), up.to_numpy(dtype=float), several)


def _content(info: PathsInfo) -> live.Content:
    labels = list(dict.fromkeys(path.label for path in info.paths))
    starts = np.array([(path.forget[0], path.kept[0]) for path in info.paths]).reshape(-1, 2)
    traces = [_floor(info)] if info.floored else []
    traces += [
        _line(path, info, not at or info.paths[at - 1].label != path.label) for at, path in enumerate(info.paths)
    ]
    traces += [_end(label, info) for label in labels]
    traces += [_nothing(np.unique(starts, axis=0), info), _corner(info)] if info.paths else []
    quantity = describe(info.metric)
    words = "Each dot is an update. Towards the star is better on both axes" if info.paths else "No runs to show"
    layout = {
        "title.text": live.heading("Forgetting against damage", words),
        "shapes": _quadrants(starts.mean(0)) if info.paths else [],
    }
    return live.Content(traces, layout, _frame(info, quantity.title, quantity.unit))


def _quadrants(start: np.ndarray) -> list[dict[str, Any]]:
    """Dashed lines through doing nothing, the mean over what the runs began with."""
    line = dict(color=theme.INK, width=1, dash=floor.NOTHING_DASH)
    whole = dict(type="line", layer="below", line=line)
    upright = dict(xref="x", x0=start[0], x1=start[0], yref="paper", y0=0, y1=1)
    level = dict(yref="y", y0=start[1], y1=start[1], xref="paper", x0=0, x1=1)
    return [whole | upright, whole | level]


def _floor(info: PathsInfo) -> dict[str, Any]:
    """The corner within which two retrained models are of each other."""
    goal, (across, up) = describe(info.metric).goal, info.corner
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "noise floor"},
        name=floor.FLOOR,
        x=[goal, across, across, goal],
        y=[goal, goal, up, up],
        fill="toself",
        fillcolor=theme.faint(theme.INK, 0.35),
        line=dict(width=0),
        hoverinfo="skip",
    )


def _line(path: Path, info: PathsInfo, first: bool) -> dict[str, Any]:
    """A run's way, with a dot per recorded update."""
    look, name = info.looks[path.label], theme.text(path.label)
    return dict(
        type="scatter",
        mode="lines+markers",
        meta={"role": "path", "run": path.label},
        name=name,
        legendgroup=name,
        x=path.forget,
        y=path.kept,
        customdata=path.steps,
        opacity=0.55 if path.several else 1.0,
        line=dict(color=look.colour, dash=look.dash, width=1.5),
        marker=dict(color=look.colour, symbol="circle", size=4),
        hovertemplate=_hover(name, "after update %{customdata}", info),
        showlegend=first,
    )


def _end(label: str, info: PathsInfo) -> dict[str, Any]:
    """Where an arm ended, the mean over its seeds."""
    mine, look, name = [path for path in info.paths if path.label == label], info.looks[label], theme.text(label)
    ends = np.array([(path.forget[-1], path.kept[-1]) for path in mine])
    words = f"at the end, mean of {len(mine)} seeds" if len(mine) > 1 else f"at the end, update {mine[0].steps[-1]}"
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "end", "run": label},
        name=name,
        legendgroup=name,
        x=ends[:, :1].mean(0),
        y=ends[:, 1:].mean(0),
        marker=dict(color=look.colour, symbol=look.symbol, size=14, line=dict(color=theme.INK, width=1.5)),
        hovertemplate=_hover(name, words, info),
        showlegend=False,
        cliponaxis=False,
    )


def _nothing(starts: np.ndarray, info: PathsInfo) -> dict[str, Any]:
    """The originals, to which nothing was done."""
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "nothing"},
        name=floor.NOTHING,
        x=starts[:, 0],
        y=starts[:, 1],
        marker=dict(color=theme.INK, symbol="circle", size=11),
        hovertemplate=_hover(floor.NOTHING, "the original model", info),
        cliponaxis=False,
    )


def _corner(info: PathsInfo) -> dict[str, Any]:
    """Where a retrained model stands."""
    name = CORNER if info.floored else ALONE
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "retrained"},
        name=name,
        x=[info.corner[0]],
        y=[info.corner[1]],
        marker=dict(color=theme.colour("retrain"), symbol=theme.symbol("retrain"), size=15),
        hovertemplate=_hover(name, "where unlearning should lead", info),
        cliponaxis=False,
    )


def _hover(name: str, when: str, info: PathsInfo) -> str:
    across, up = (theme.text(split) for split in info.splits)
    unit = theme.text(describe(info.metric).unit)
    return f"<b>{name}</b>, {when}<br>{across}: %{{x:.4g}} {unit}<br>{up}: %{{y:.4g}} {unit}<extra></extra>"


def _frame(info: PathsInfo, title: str, unit: str) -> dict[str, Any]:
    goal = describe(info.metric).goal
    better = "lower" if not goal else "higher"
    words = [f"{theme.text(split)}, {SPLITS[split]}" if split in SPLITS else theme.text(split) for split in info.splits]
    across, up = (f"{title} on {each}<br>({theme.text(unit)}; {better} is better)" for each in words)
    mode = dict(rangemode="normal" if goal else "tozero", nticks=7)
    return dict(
        xaxis=dict(title=dict(text=across), **mode), yaxis=dict(title=dict(text=up), **mode), hovermode="closest"
    )
