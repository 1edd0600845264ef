"""How curves are laid out and drawn: one panel for one kind of run, small multiples for several."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ..core.quantities import SPLITS, describe
from . import floor, live, theme

BOUNDED = ("share correct", "probability")  # units of quantities between 0 and 1
EVENTS = {  # name in run.events: what it says, its marker, the splits on whose lines it is shown
    "utility_limit": ("kept accuracy down 5 points", "triangle-down", "kept"),
    "collapsed_at": ("kept samples no longer known", "triangle-down", "kept"),  # where points say nothing: of a loss
    "stopped_at": ("stopped: goal reached", "square", "forget"),
    "diverged_at": ("diverged", "x", ""),
}
VEIL = theme.faint(theme.INK, 0.2)  # behind one group's lines, where kept accuracy has fallen
FAINT = 0.25  # opacity of a line that is shown for want of a newer one
DULLED = theme.faint(theme.INK, 0.75)  # over a line whose run is past its limit: its own colour only shimmers through

FEW = 8  # updates, which have a tick each


class Line(NamedTuple):
    """One split of one group of runs: mean, lowest and highest over its seeds at each update, and how many seeds."""

    split: str
    label: str
    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


class Mark(NamedTuple):
    """Something that happened to a run: where its line is at that update."""

    event: str
    split: str
    label: str
    step: int
    value: float


class Level(NamedTuple):
    """Where a model stands on a split that no update moves, NaN if nobody knows; without a label it is the same for all runs."""

    split: str
    label: str
    value: float


class CurvesInfo(NamedTuple):
    """What is drawn: a line per split and label, marks, and per split the retrained model's level, or each label's own.

    ``limits`` holds, per label that reached it, the update from which on its lines show a collapsed model. Of a distance to
    the retrained model ``starts`` holds, per split, where the original is; beside several of them ``floored`` says that the
    levels are how far two of those are from each other.
    """

    metric: str
    splits: list[str]
    labels: list[str]
    lines: list[Line]
    marks: list[Mark]
    levels: list[Level]
    limits: dict[str, int]
    starts: list[Level] = []
    floored: bool = False

    @property
    def dashes(self) -> dict[str, str]:
        """Of the labels: two settings of one method share its colour."""
        return {label: look.dash for label, look in theme.looks(self.labels).items()}


class Panel(NamedTuple):
    """One pair of axes and the splits it shows."""

    axis: str  # "" , "2", "3": the suffix of its axes
    splits: list[str]
    across: list[float]
    up: list[float]


def _panels(info: CurvesInfo) -> list[Panel]:
    """One panel for a single label; else a grid with what is to forget on the left and what is to keep on the right."""
    if len(info.labels) <= 1 or len(info.splits) <= 1:
        return [Panel("", info.splits, [0, 1], [0, 0.94])]
    columns = min(len(info.splits), 2 if len(info.splits) == 4 else 3)
    rows = -(-len(info.splits) // columns)
    width, height = (1 - 0.09 * (columns - 1)) / columns, (0.94 - 0.13 * (rows - 1)) / rows
    panels = []
    for place, split in enumerate(_reading_order(info)):
        row, column = divmod(place, columns)
        left, bottom = column * (width + 0.09), (rows - 1 - row) * (height + 0.13)
        across, up = [left, min(left + width, 1)], [max(bottom, 0), min(bottom + height, 0.94)]
        panels.append(Panel(str(place + 1) if place else "", [split], across, up))
    return panels


def _reading_order(info: CurvesInfo) -> list[str]:
    """The splits, panel by panel; the usual four as training above unseen, to forget beside to keep."""
    return ["forget", "retain", "test-forget", "test"] if info.splits == list(SPLITS) else info.splits


def content(info: CurvesInfo, faint: Collection[str] = ()) -> live.Content:
    panels = _panels(info)
    several = len(panels) > 1 or len(info.labels) > 1
    traces = []
    for panel in panels:
        lines = [line for split in panel.splits for line in info.lines if line.split == split]
        traces += [
            _floor(level, info, panel, several) for level in info.levels if info.floored and level.split in panel.splits
        ]
        traces += [_nothing(start, info, panel, several) for start in info.starts if start.split in panel.splits]
        if any(line.seeds > 1 for line in info.lines):
            traces += [_band(line, panel, several) for line in lines]
        traces += [_mean(line, info, panel, several) for line in lines]
        traces += [_past(lines, info, panel)] if several else []
        traces += [_reference(level, info, panel, several) for level in info.levels if level.split in panel.splits]
        traces += [_events(event, info, panel, several) for event in EVENTS if _shown_on(event, info, panel)]
    traces.append(_reference_key(info))
    traces += [floor.key("key of nothing", floor.NOTHING, floor.NOTHING, floor.NOTHING_DASH, True)] * bool(info.starts)
    for trace in traces:
        trace["opacity"] = FAINT if _is_faint(trace, faint) else 1.0
    veils = (
        [] if several else [live.veil("x", limit, 1.02 * _last(info), VEIL, "below") for limit in info.limits.values()]
    )
    layout = _titles(info) | {"annotations": _annotations(info, panels), "shapes": veils}
    for panel in panels:
        layout[f"xaxis{panel.axis}.range"] = [-0.02 * _last(info), 1.02 * _last(info)]
        layout[f"xaxis{panel.axis}.dtick"] = 1 if _last(info) < FEW else None  # there is no half an update
        layout |= _vertical(info, panel, len(panels) > 1 or len(panel.splits) == 1)
    return live.Content(traces, layout, _frame(info, panels))


def _is_faint(trace: dict[str, Any], faint: Collection[str]) -> bool:
    """A line of a faint run; and where there is one, the grey over lines, which belongs to all of them.

    Not a line without points: a page would draw all anew for what nobody sees (see ``MOVE_POINTS`` of the widgets).
    """
    meta = trace["meta"]
    return len(trace["x"]) > 0 and (meta.get("run") in faint or bool(faint) and meta["role"] == "past limit")


def _style(split: str, label: str, several: bool) -> str:
    """What gives a line its colour and dash: the run where several are compared, else the split."""
    return label if several else split


def _place(panel: Panel) -> dict[str, str]:
    return dict(xaxis=f"x{panel.axis}", yaxis=f"y{panel.axis}")


def _band(line: Line, panel: Panel, several: bool) -> dict[str, Any]:
    """From the lowest to the highest seed; empty for a single run."""
    known = np.isfinite(line.low) if line.seeds > 1 else np.zeros(len(line.steps), bool)
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "band", "split": line.split, "run": line.label},
        name=f"{theme.text(_style(line.split, line.label, several))}: lowest to highest seed",
        x=np.concatenate([line.steps[known], line.steps[known][::-1]]),
        y=np.concatenate([line.high[known], line.low[known][::-1]]),
        fill="toself",
        fillcolor=theme.faint(theme.colour(_style(line.split, line.label, several))),
        line=dict(width=0),
        hoverinfo="skip",
        showlegend=False,
        **_place(panel),
    )


def _mean(line: Line, info: CurvesInfo, panel: Panel, several: bool) -> dict[str, Any]:
    """The line itself: exactly the run's curve, or the mean of its seeds."""
    style, quantity = _style(line.split, line.label, several), describe(info.metric)
    unit = f" {theme.text(quantity.unit)}" if quantity.unit else ""
    words = f"<b>{theme.text(line.label)}</b><br>{theme.text(line.split)} after update %{{x}}"
    words += f"<br>{theme.text(quantity.title)} %{{y:.4f}}{unit}"
    if line.seeds > 1:
        words += f" (mean)<br>{line.seeds} seeds: %{{customdata[0]:.4f}} to %{{customdata[1]:.4f}}"
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "line", "split": line.split, "run": line.label, "seeds": line.seeds},
        name=theme.text(style),
        x=line.steps,
        y=line.mean,
        customdata=np.column_stack([line.low, line.high]) if line.seeds > 1 else None,
        line=dict(
            color=theme.colour(style),
            dash=info.dashes.get(style) or theme.dash(style),
            width=2.5 if line.seeds <= 1 else 2,
        ),
        hovertemplate=words + (f"<br><i>{theme.text(quantity.good)}</i>" if quantity.good else "") + "<extra></extra>",
        showlegend=not several or panel.axis == "",
        **_place(panel),
    )


def _past(lines: list[Line], info: CurvesInfo, panel: Panel) -> dict[str, Any]:
    """Grey over each line from its own limit on; one trace for all of a panel, there even while no run is so far."""
    x: list[np.ndarray] = []
    y: list[np.ndarray] = []
    for line in lines:
        past = line.steps >= info.limits.get(line.label, np.inf)
        if past.any():
            x += [line.steps[past], line.steps[-1:]]
            y += [line.mean[past], np.array([np.nan])]  # a gap, or one line would run on into the next
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "past limit"},
        x=np.concatenate(x) if x else [],
        y=np.concatenate(y) if y else [],
        line=dict(color=DULLED, width=3),
        hoverinfo="skip",
        showlegend=False,
        **_place(panel),
    )


def _reference(level: Level, info: CurvesInfo, panel: Panel, several: bool) -> dict[str, Any]:
    """The retrained model's level; empty where no run knows it. One run's own is as that run's line, but thin."""
    common = dict(color=theme.colour("retrain" if several else level.split), dash=theme.REFERENCE_DASH, width=2)
    own = dict(color=theme.colour(level.label), dash=info.dashes.get(level.label), width=1)
    words = f"<b>{_level_name(info)}</b><br>{_whose(level)}{theme.text(level.split)} %{{y:.4f}}<extra></extra>"
    look = dict(
        line=own if level.label else common, name=_level_name(info), legendgroup="retrained", hovertemplate=words
    )
    return _across("retrained", level, info) | look | _place(panel)


def _across(role: str, level: Level, info: CurvesInfo) -> dict[str, Any]:
    """A level from the first update to the last; that of one run's own is faint where the run is."""
    drawn = floor.across(role, [0, _last(info)], level.value, theme.INK, level.split)
    return drawn | dict(meta=drawn["meta"] | ({"run": level.label} if level.label else {}))


def _whose(level: Level) -> str:
    return f"{theme.text(level.label)}<br>" if level.label else ""


def _level_name(info: CurvesInfo) -> str:
    return floor.FLOOR if info.floored else "retrained model"


def _reference_key(info: CurvesInfo) -> dict[str, Any]:
    """The legend's entry for all retrained levels, in no split's colour."""
    known = any(np.isfinite(level.value) for level in info.levels)
    key = floor.key("key", _level_name(info), "retrained", theme.REFERENCE_DASH, known)
    own = dict(name=f"{_level_name(info)}, each run's own", line=dict(color=theme.INK, dash="solid", width=1))
    return key | (own if any(level.label for level in info.levels) else {})


def _floor(level: Level, info: CurvesInfo, panel: Panel, several: bool) -> dict[str, Any]:
    """Under the lines: from the goal to the noise floor."""
    colour, goal = theme.colour(level.label or ("retrain" if several else level.split)), describe(info.metric).goal
    return floor.band([0, _last(info)], level.value, goal, colour, level.split, **_place(panel))


def _nothing(start: Level, info: CurvesInfo, panel: Panel, several: bool) -> dict[str, Any]:
    """Where a run is that does nothing."""
    colour = theme.colour(start.label or start.split) if start.label or not several else theme.INK
    return floor.nothing([0, _last(info)], start.value, colour, start.split, **_place(panel))


def _shown_on(event: str, info: CurvesInfo, panel: Panel | None = None) -> list[str]:
    """The splits (of a panel) on whose lines an event is marked: those it concerns, or all if none of them is drawn."""
    which = EVENTS[event][2]
    concerned = [name for name in _reading_order(info) if not which or ("forget" in name) == (which == "forget")]
    concerned = concerned or _reading_order(info)
    return concerned if panel is None else [name for name in concerned if name in panel.splits]


def _events(event: str, info: CurvesInfo, panel: Panel, several: bool) -> dict[str, Any]:
    """A marker on each line at the update at which something happened to its run."""
    words, symbol, _ = EVENTS[event]
    here = _shown_on(event, info, panel)
    marks = [mark for mark in info.marks if mark.event == event and mark.split in here]
    styles = [theme.colour(_style(mark.split, mark.label, several)) for mark in marks]
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": event},
        name=words,
        legendgroup=event,
        x=[mark.step for mark in marks],
        y=[mark.value for mark in marks],
        customdata=[[theme.text(mark.label), theme.text(mark.split)] for mark in marks],
        marker=dict(symbol=symbol, size=8, color=theme.INK, line=dict(color=styles, width=2)),
        cliponaxis=False,
        hovertemplate=f"<b>{words}</b><br>%{{customdata[0]}}<br>%{{customdata[1]}} at update %{{x}}<extra></extra>",
        showlegend=bool(marks) and here[0] == _shown_on(event, info)[0],
        **_place(panel),
    )


def _last(info: CurvesInfo) -> int:
    return int(max([1, *(line.steps[-1] for line in info.lines if len(line.steps))]))


def _titles(info: CurvesInfo) -> dict[str, Any]:
    quantity = describe(info.metric)
    who = theme.text(info.labels[0]) if len(info.labels) == 1 else f"{len(info.labels)} kinds of runs"
    seeds = max([line.seeds for line in info.lines], default=0)
    subtitle = [theme.text(quantity.good)] if quantity.good else []
    if seeds > 1:
        subtitle.append(f"band: lowest to highest of {seeds} seeds")
    if info.limits:
        collapsed = any(mark.event == "collapsed_at" for mark in info.marks)
        past = f"grey: {EVENTS['collapsed_at'][0]}" if collapsed else live.VEILED
        subtitle.append("grey: half are past ▼" if seeds > 1 else past)  # the legend says what ▼ is
    what = theme.text(quantity.title[:1].upper() + quantity.title[1:])
    title = f"{what} while forgetting: {who}" if info.labels else "No runs to show"
    return {"title.text": live.heading(title, *subtitle)}


def _annotations(info: CurvesInfo, panels: list[Panel]) -> list[dict[str, Any]]:
    if not any(len(line.steps) for line in info.lines):
        return [live.note("nothing was recorded yet")] if info.labels else []
    if len(panels) == 1 and len(info.labels) <= 1:
        return []
    return [
        live.panel(panel.axis, f"<b>{theme.text(split)}</b>: {theme.text(SPLITS.get(split, ''))}".rstrip(": "), 11)
        for panel in panels
        for split in panel.splits[:1]
    ]


def _vertical(info: CurvesInfo, panel: Panel, zoom: bool) -> dict[str, Any]:
    """The range of a panel's y axis: all of 0 to 1, or in a panel of what is to keep, the tenths that it needs.

    Ranges move in tenths, so that a live figure does not rescale at every answer.
    """
    path = f"yaxis{panel.axis}"
    if describe(info.metric).unit not in BOUNDED:
        return {f"{path}.autorange": True}
    values = [line.low for line in info.lines if line.split in panel.splits]
    values.append(np.array([level.value for level in info.levels if level.split in panel.splits]))
    known = np.concatenate(values)[np.isfinite(np.concatenate(values))]
    forgetting = not zoom or any("forget" in split for split in panel.splits)
    low = 0.0 if forgetting or not len(known) else min(np.floor(10 * known.min() + 1e-9) / 10, 0.9)
    return {f"{path}.range": [low - 0.03 * (1 - low), 1 + 0.03 * (1 - low)]}


def _frame(info: CurvesInfo, panels: list[Panel]) -> dict[str, Any]:
    quantity = describe(info.metric)
    lowest = min(panel.up[0] for panel in panels)
    leftmost = min(panel.across[0] for panel in panels)
    title = theme.titled(quantity.title, quantity.unit)
    # Of several panels each has a title of its own beside or below it, and little room for one.
    small = dict(font=dict(size=10)) if len(panels) > 1 else {}
    frame: dict[str, Any] = dict(hovermode="closest", hoverdistance=40)
    for panel in panels:
        below, beside = panel.up[0] == lowest, panel.across[0] == leftmost
        frame[f"xaxis{panel.axis}"] = dict(
            anchor=f"y{panel.axis}",
            domain=panel.across,
            showticklabels=below,
            title=dict(text="updates made (0 = original model)" if below else "", **small),
            **(dict(matches="x") if panel.axis else {}),
        )
        frame[f"yaxis{panel.axis}"] = dict(
            anchor=f"x{panel.axis}",
            domain=panel.up,
            nticks=6,
            title=dict(
                text=(title if len(panels) == 1 else theme.folded(quantity.title, quantity.unit, 18)) if beside else "",
                **small,
            ),
        )
    return frame
