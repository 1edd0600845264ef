"""Forgetting against what it costs: each arm's path from doing nothing towards the retrained models, or past them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..core.messages import listed, unknown
from ..core.quantities import describe
from ..core.records import Run
from . import floor, live, theme
from .pooling import grouped
from .takes import takes

CORNER = "a retrained model beside the others"
ALONE = "retrained model"
FAR = 5.0  # a run that gets so many times as far as the others leaves the picture
NEAR = 4.0  # but not below so many times what doing nothing and the retrained models have


class Path(NamedTuple):
    """One run of an arm: (s,) updates, and its distance on either split after each."""

    label: str
    steps: np.ndarray
    forget: np.ndarray
    kept: np.ndarray
    several: bool  # whether the arm has other seeds


class Axis(NamedTuple):
    """What an axis tells: a metric on a split, and which way is good."""

    split: str
    metric: str
    better: str

    @property
    def title(self) -> str:
        """With unit and direction."""
        about = describe(self.metric)
        return (
            f"{about.title} on {theme.split_words(self.split)}<br>({theme.text(about.unit)}; {self.better} is better)"
        )

    @property
    def mode(self) -> dict[str, Any]:
        """Where the axis begins: at 0, unless the goal is another value."""
        return dict(rangemode="normal" if describe(self.metric).goal else "tozero", nticks=7)


class PathsInfo(NamedTuple):
    """What is drawn: the paths, arm by arm; the corner, where a retrained model stands.

    ``floored`` says on which axes that is the distance of two retrained models, the noise floor.
    """

    title: str
    axes: tuple[Axis, Axis]
    paths: list[Path]
    corner: tuple[float, float]
    floored: tuple[bool, bool]

    @property
    def looks(self) -> dict[str, theme.Look]:
        """How each arm is drawn."""
        return theme.looks(path.label for path in self.paths)

    @property
    def limits(self) -> tuple[float, float]:
        """Where each axis ends, so that what collapsed does not squeeze the others into a corner; infinite where all fit."""
        near = [(path.forget[0], path.kept[0]) for path in self.paths] + [self.corner]
        ways = [[path.forget for path in self.paths], [path.kept for path in self.paths]]
        return tuple(
            _limit(each, [one[at] for one in near]) if axis.better == "lower" else np.inf
            for at, (axis, each) in enumerate(zip(self.axes, ways))
        )

    @property
    def beyond(self) -> str:
        """Which arms leave the picture, and how far they get, in words."""
        gone = [
            path for path in self.paths
            if any(_reach(way) > limit for way, limit in zip((path.forget, path.kept), self.limits))
        ]  # fmt: skip
        names = list(dict.fromkeys(theme.text(path.label) for path in gone))
        if not names:
            return ""
        far = (max(_reach(getattr(path, way)) for path in gone) for way in ("forget", "kept"))
        across, up = (f"{value:.3g} on {theme.text(axis.split)}" for value, axis in zip(far, self.axes))
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        return f"Beyond the axes, at up to {across} and {up}: {', '.join(names[:2])}{more}"


@takes(Run, "runs of imu.unlearn, one or several", several=True)
def plot_forgetting_damage(
    runs: Run | Iterable[Run], *, metric: str | None = None, forget: str = "forget", kept: str = "test"
) -> go.Figure:
    """Each arm's whole path: how far it is from the retrained models on what is to forget, and on what is to keep.

    A path begins at doing nothing and has a dot per recorded update; its end is large. The star is where a retrained model
    stands, the shaded corner is the noise floor: the distance of two retrained models (:func:`imu_lab.references`). Below
    and left of the dashed lines a run is nearer to them than doing nothing. Seeds of one arm share its colour, and a large
    mark is the mean of their ends. A run that gets five times as far as all others leaves the picture: its end is a triangle
    at the edge, and a sentence names it with how far it gets.

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
    title = "Forgetting against damage"
    if not runs:
        return PathsInfo(title, _axes(metric or "kl_retrained", splits), [], (np.nan, np.nan), (False, False))
    known = [name for name in runs[0].curve["metric"].unique() if _recorded(runs, name, splits)]
    if not known:
        raise ValueError(
            f"no distance to the retrained model was recorded by all these runs on {splits[0]!r} and {splits[1]!r}; make them "
            "with reference=imu.references(task), or follow=['kl-retrained'] beside one retrained model"
        )
    metric = metric or known[0]
    if metric not in known:
        raise unknown("distance recorded by all these runs", metric, known)
    axes = _axes(metric, splits)
    floors = [run.noise_floor(metric) for run in runs]
    floors = [(each[splits[0]], each[splits[1]]) for each in floors if each]
    goal = describe(metric).goal
    corner = tuple(np.mean(floors, 0).tolist()) if floors else (goal, goal)
    return PathsInfo(title, axes, _paths(runs, axes), corner, (bool(floors), bool(floors)))


def _reach(values: np.ndarray) -> float:
    """How far a path gets; where it became infinite, before that."""
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else -np.inf


def _limit(ways: list[np.ndarray], near: Iterable[float]) -> float:
    """Where an axis ends that shows all paths but those that get several times as far as the others."""
    reaches = sorted(reach for way in ways if np.isfinite(reach := _reach(way)))
    least = max((value for value in near if np.isfinite(value)), default=0.0)
    level = NEAR * least
    if not reaches or level <= 0:
        return np.inf
    for at, reach in enumerate(reaches):
        if reach > FAR * level:
            return 1.1 * (max(least, reaches[at - 1]) if at else level)
        level = max(level, reach)
    return np.inf


def _axes(metric: str, splits: tuple[str, str]) -> tuple[Axis, Axis]:
    """One distance on two splits."""
    better = "higher" if describe(metric).goal else "lower"
    return Axis(splits[0], metric, better), Axis(splits[1], metric, better)


def _paths(runs: list[Run], axes: tuple[Axis, Axis]) -> list[Path]:
    return [_path(group.label, run, axes, len(group.runs) > 1) for group in grouped(runs) for run in group.runs]


@takes(Run, "runs of imu.unlearn that followed forget quality and utility, one or several", several=True)
def plot_quality_utility(
    runs: Run | Iterable[Run],
    *,
    quality: tuple[str, str] = ("forget", "forget_quality"),
    utility: tuple[str, str] = ("retain", "model_utility"),
) -> go.Figure:
    """Forget quality against utility over the updates: each arm's path, from doing nothing.

    Read as :func:`plot_forgetting_damage`. The star is the retrained model, by its own utility; the shaded band is the
    noise floor of the quality, which two retrained models have beside each other (:func:`imu_lab.references`).

    >>> follow = ["forget-quality", "model-utility"]
    >>> imu.plot_quality_utility(imu.unlearn(task, original, reference=references, follow=follow, record_every=5))

    Args:
        runs: one or several, which recorded both.
        quality, utility: split and metric, across and up; ``("forget", "ks_distance")`` does not grow with the number of
            pairs as ``forget_quality`` does.

    Raises:
        ValueError: a run did not record both.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    axes = (Axis(*quality, "lower"), Axis(*utility, "higher"))
    lacking = [" ".join(each[:2]) for each in axes for run in runs if not len(run.series(*each[:2]))]
    if lacking:
        raise ValueError(
            f"these runs did not all record {listed(list(dict.fromkeys(lacking)))}; make them with reference= and "
            "follow=['forget-quality', 'model-utility']"
        )
    known = [run.retrained_values.get(axes[1].split, {}).get(axes[1].metric, np.nan) for run in runs]
    floors = [floor for run in runs if (floor := run.noise_floor(axes[0].metric).get(axes[0].split)) is not None]
    goal = describe(axes[0].metric).goal or 0.0
    up = float(np.mean(known)) if known else np.nan
    corner = (float(np.mean(floors)) if floors else goal, up)
    return live.draw(
        _content(PathsInfo("Forget quality against utility", axes, _paths(runs, axes), corner, (bool(floors), False)))
    )


def _recorded(runs: list[Run], metric: str, splits: tuple[str, str]) -> bool:
    """Whether this is a distance to the retrained model, and all runs know it on both splits."""
    return describe(metric).goal is not None and all(len(run.series(split, metric)) for run in runs for split in splits)


def _path(label: str, run: Run, axes: tuple[Axis, Axis], several: bool) -> Path:
    across, up = (run.series(axis.split, axis.metric) for axis in axes)
    up = up.reindex(across.index)  # a metric may be missing after some update
    return Path(label, across.index.to_numpy(), across.to_numpy(dtype=float), up.to_numpy(dtype=float), several)


def _content(info: PathsInfo) -> live.Content:
    labels = list(dict.fromkeys(path.label for path in info.paths))
    starts = np.array([(path.forget[0], path.kept[0]) for path in info.paths]).reshape(-1, 2)
    traces = [_floor(info)] if any(info.floored) and info.paths else []
    traces += [
        _line(path, info, not at or info.paths[at - 1].label != path.label) for at, path in enumerate(info.paths)
    ]
    traces += [_end(label, info) for label in labels]
    traces += [_nothing(np.unique(starts, axis=0), info), _corner(info)] if info.paths else []
    words = "Each dot is an update. Towards the star is better on both axes" if info.paths else "No runs to show"
    layout = {
        "title.text": live.heading(info.title, words, info.beyond),
        "shapes": _quadrants(starts.mean(0)) if info.paths else [],
    }
    return live.Content(traces, layout, _frame(info))


def _quadrants(start: np.ndarray) -> list[dict[str, Any]]:
    """Dashed lines through doing nothing, the mean over what the runs began with."""
    line = dict(color=theme.INK, width=1, dash=floor.NOTHING_DASH)
    whole = dict(type="line", layer="below", line=line)
    upright = dict(xref="x", x0=start[0], x1=start[0], yref="paper", y0=0, y1=1)
    level = dict(yref="y", y0=start[1], y1=start[1], xref="paper", x0=0, x1=1)
    return [whole | upright, whole | level]


def _floor(info: PathsInfo) -> dict[str, Any]:
    """The corner, or the band, within which two retrained models are of each other."""
    goal, (across, up) = describe(info.axes[0].metric).goal or 0.0, info.corner
    ends = goal, up
    if not info.floored[1]:  # the upper axis is no distance: the band is as high as what is drawn
        heights = np.concatenate([[up], *(path.kept for path in info.paths)])
        heights = heights[np.isfinite(heights)]
        ends = min(0.0, *heights), max(heights, default=0.0)
    return floor.area((goal, across), ends)


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
    end = np.array([(path.forget[-1], path.kept[-1]) for path in mine]).mean(0)
    shown = np.minimum(end, info.limits)  # what left the picture is marked where it left it
    pointing = EDGES[tuple((shown < end).tolist())]
    words = f"at the end, mean of {len(mine)} seeds" if len(mine) > 1 else f"at the end, update {mine[0].steps[-1]}"
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "end", "run": label},
        name=name,
        legendgroup=name,
        x=shown[:1],
        y=shown[1:],
        customdata=[end],
        marker=dict(color=look.colour, symbol=pointing or look.symbol, size=14, line=dict(color=theme.INK, width=1.5)),
        hovertemplate=_hover(name, words, info, ("customdata[0]", "customdata[1]")),
        showlegend=False,
        cliponaxis=False,
    )


EDGES = {  # by whether an end lies beyond the axis across, and up
    (False, False): "",
    (True, False): "triangle-right",
    (False, True): "triangle-up",
    (True, True): "triangle-ne",
}


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
    name = CORNER if any(info.floored) else ALONE
    return floor.star(info.corner, name, _hover(name, "where unlearning should lead", info))


def _hover(name: str, when: str, info: PathsInfo, places: Iterable[str] = "xy") -> str:
    told = [
        f"{theme.text(axis.split)}: {theme.measured(f'%{{{at}:.4g}}', axis.metric)}"
        for at, axis in zip(places, info.axes)
    ]
    return f"<b>{name}</b>, {when}<br>{'<br>'.join(told)}<extra></extra>"


def _frame(info: PathsInfo) -> dict[str, Any]:
    (across, up), ends = info.axes, [dict(range=[0, end]) if np.isfinite(end) else {} for end in info.limits]
    return dict(
        xaxis=dict(title=dict(text=across.title), **across.mode, **ends[0]),
        yaxis=dict(title=dict(text=up.title), **up.mode, **ends[1]),
        hovermode="closest",
    )
