"""Runs side by side, and the arms of a trial: what each forgot, what it kept, and what it needed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import SPLITS, describe
from ..core.records import Run
from ..studies.comparison import compare
from . import floor, live, marks, theme
from .takes import takes

LEVELS = {"original": "change", "retrained": "gap"}  # the column in which imu.compare says how far a run is from it
FLOOR = "noise floor"  # stands in the retrained model's place where there are several
KINDS = ("circle", "diamond-open", "square-open", "triangle-up-open")  # plain steps filled, equal ones open


class ComparisonInfo(NamedTuple):
    """What is drawn.

    Attributes:
        metric: its name. splits: those that have it. labels: the runs, in the order of the table, with their updates.
        dots: long table ``row, split, value``: every row of the frame that has a number.
        levels: long table ``row, split, level, value``: the original and the retrained model's value beside each run, and in
            the latter's place the noise floor where there are several.
        missing: rows of runs that never reached the level at which the table compares.
    """

    metric: str
    splits: list[str]
    labels: list[str]
    dots: pd.DataFrame
    levels: pd.DataFrame
    missing: list[int]


def _is_comparison(table: pd.DataFrame) -> bool:
    """Whether a table has columns ``<split> <metric>``."""
    return any(" " in str(name) for name in table)


def _compared(given: Any) -> pd.DataFrame | None:
    """The comparison of a run, or of several."""
    runs = given if isinstance(given, list) else [given]
    return compare(runs) if all(isinstance(run, Run) for run in runs) else None


@takes(pd.DataFrame, "the table of imu.compare(runs)", columns=("run",), fits=_is_comparison, made=_compared)
def plot_comparison(frame: pd.DataFrame, *, metric: str | None = None) -> go.Figure:
    """Dots for the table that ``imu.compare`` makes: one row per run, one marker per split and seed.

    Vertical ticks show where the original model was, stars where the retrained model is. Beside several retrained models a
    bar reaches from the goal to the noise floor, which is how far two of them are from each other.

    Args:
        frame: from ``imu.compare``.
        metric: a metric of its columns; None for the table's first, which tells of forgetting.

    Raises:
        UnknownName: the table has no column ``<split> <metric>``.
    """
    return live.draw(_content(_comparison_info(frame, metric)))


def update_comparison(figure: go.Figure, frame: pd.DataFrame, *, metric: str | None = None) -> go.Figure:
    """Show another table in a figure that :func:`plot_comparison` made."""
    return live.update(figure, _content(_comparison_info(frame, metric)))


def _comparison_info(frame: pd.DataFrame, metric: str | None = None) -> ComparisonInfo:
    """Unfolds the wide table; original = value − change, retrained = value − gap, unless that is the noise floor."""
    known = [name.removesuffix(" gap").split(" ", 1)[-1] for name in frame.columns if str(name).endswith(" gap")]
    metric = metric or next(iter(known), "accuracy")
    splits = [name[: -len(metric) - 1] for name in frame.columns if str(name).endswith(f" {metric}")]
    if len(frame.columns) and not splits:
        raise unknown("metric in this table", metric, list(dict.fromkeys(known)))
    splits = [*(name for name in SPLITS if name in splits), *(name for name in splits if name not in SPLITS)]
    runs = list(dict.fromkeys(frame["run"])) if "run" in frame else []
    row = np.array([runs.index(name) for name in frame.get("run", [])], dtype=int)
    dots, levels = [], []
    for split in splits:
        values = frame[f"{split} {metric}"].to_numpy(dtype=float)
        dots.append(pd.DataFrame({"row": row, "split": split, "value": values}))
        for level, column in LEVELS.items():
            if f"{split} {metric} {column}" in frame:
                found = values - frame[f"{split} {metric} {column}"].to_numpy(dtype=float)
                known = frame.get(f"{split} {metric} floor", pd.Series(np.nan, frame.index)).notna() & (column == "gap")
                names = np.where(known, FLOOR, level)
                levels.append(pd.DataFrame({"row": row, "split": split, "level": names, "value": found}))
    empty = pd.DataFrame(columns=["row", "split", "level", "value"])
    dots = pd.concat(dots).dropna() if dots else empty
    levels = pd.concat(levels).dropna().groupby(["row", "split", "level"], as_index=False).mean() if levels else empty
    missing = [index for index in range(len(runs)) if index not in set(dots["row"])]
    return ComparisonInfo(metric, splits, _labels(frame, runs), dots, levels, missing)


def _labels(frame: pd.DataFrame, runs: list[str]) -> list[str]:
    """Each run with the updates at which it is compared, its seeds' range where they differ."""
    labels = []
    for run in runs:
        updates = frame.loc[frame["run"] == run, "updates"].dropna() if "updates" in frame else []
        ends = list(dict.fromkeys([f"{min(updates):.0f}", f"{max(updates):.0f}"])) if len(updates) else []
        labels.append(theme.text(run) + (f"<br>{' to '.join(ends)} updates" if ends else ""))
    return labels


def _content(info: ComparisonInfo) -> live.Content:
    quantity = describe(info.metric)
    sides = {axis: splits for axis, splits in (("", _side(info, True)), ("2", _side(info, False))) if splits}
    traces = [_dots(split, info, splits, axis) for axis, splits in sides.items() for split in splits]
    if (info.levels["level"] == FLOOR).any():
        traces = [_floors(info, splits, axis) for axis, splits in sides.items()] + traces
    traces += [_levels(level, info, splits, axis) for axis, splits in sides.items() for level in LEVELS]
    title = (
        f"{theme.text(quantity.title[:1].upper() + quantity.title[1:])} by run" if info.labels else "No runs to show"
    )
    layout = {
        "title.text": live.heading(title, theme.text(quantity.good)),
        "yaxis.tickvals": list(range(len(info.labels))),
        "yaxis.ticktext": info.labels,
        "yaxis.range": [len(info.labels) - 0.5, -0.5] if info.labels else [0.5, -0.5],
        "annotations": [_missing(row, axis) for row in info.missing for axis in sides],
    }
    return live.Content(traces, layout, _frame(sides, theme.titled(quantity.title, quantity.unit)))


def _side(info: ComparisonInfo, forgotten: bool) -> list[str]:
    """The splits to forget, or those to keep: each side has its own scale, for a point matters more on the right."""
    return [split for split in info.splits if ("forget" in split) == forgotten]


def _missing(row: int, axis: str) -> dict[str, Any]:
    middle = dict(x=0.5, xref=f"x{axis} domain", xanchor="center", y=row, yref="y", yanchor="middle")
    return dict(text="never got there", showarrow=False, font=dict(size=11)) | middle


def _offset(split: str, splits: list[str]) -> float:
    """Splits one under the other within a row, so that equal values do not cover each other."""
    return 0.6 * ((splits.index(split) + 0.5) / len(splits) - 0.5)


def _dots(split: str, info: ComparisonInfo, side: list[str], axis: str) -> dict[str, Any]:
    """One marker per run and seed."""
    mine, colour, symbol = info.dots[info.dots["split"] == split], theme.colour(split), theme.symbol(split)
    return marks.dots(
        "value",
        mine["value"].to_numpy(dtype=float),
        mine["row"].to_numpy(dtype=float) + _offset(split, side),
        colour=colour,
        symbol=symbol,
        size=10,
        marker=dict(opacity=0.85, line=dict(width=2 if symbol.endswith("open") else 0, color=colour)),
        meta={"role": "value", "split": split},
        name=theme.text(split),
        xaxis=f"x{axis}",
        customdata=[info.labels[row] for row in mine["row"]],
        hovertemplate=f"%{{customdata}}<br>{theme.text(split)}: {theme.measured('%{x:.4f}', info.metric)}<extra></extra>",
    )


def _levels(level: str, info: ComparisonInfo, side: list[str], axis: str) -> dict[str, Any]:
    """Where the original or the retrained model is, beside each run."""
    mine = info.levels[(info.levels["level"] == level) & info.levels["split"].isin(side)]
    offsets = np.array([_offset(split, side) for split in mine["split"]])
    symbol, width = ("line-ns-open", 2) if level == "original" else ("star-open", 1)
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": level},
        name=level,
        legendgroup=level,
        x=mine["value"].to_numpy(dtype=float),
        y=mine["row"].to_numpy(dtype=float) + offsets,
        xaxis=f"x{axis}",
        customdata=[theme.text(split) for split in mine["split"]],
        marker=dict(symbol=symbol, size=12, color=theme.INK, line=dict(width=width, color=theme.INK)),
        hovertemplate=f"{level} model<br>%{{customdata}}: {theme.measured('%{x:.4f}', info.metric)}<extra></extra>",
        showlegend=bool(len(mine)) and side[0] == info.splits[0],
    )


def _floors(info: ComparisonInfo, side: list[str], axis: str) -> dict[str, Any]:
    """A bar in each row from the goal to how far two retrained models are from each other."""
    mine = info.levels[(info.levels["level"] == FLOOR) & info.levels["split"].isin(side)]
    up = mine["row"].to_numpy(dtype=float) + np.array([_offset(split, side) for split in mine["split"]])
    goal, gaps = np.full(len(mine), describe(info.metric).goal, dtype=float), np.full(len(mine), np.nan)
    words = f"{floor.FLOOR}<br>%{{customdata}}: {theme.measured('%{x:.4g}', info.metric)}<extra></extra>"
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": FLOOR},
        name=floor.FLOOR,
        legendgroup=FLOOR,
        x=np.column_stack([goal, mine["value"], gaps]).ravel(),
        y=np.repeat(up, 3),
        customdata=np.repeat([theme.text(split) for split in mine["split"]], 3),
        line=dict(color=theme.faint(theme.INK, 0.45), width=9),
        hovertemplate=words,
        xaxis=f"x{axis}",
        showlegend=bool(len(mine)) and side[0] == info.splits[0],
    )


def _frame(sides: dict[str, list[str]], title: str) -> dict[str, Any]:
    names = {"": "to forget", "2": "to keep"}
    frame: dict[str, Any] = dict(yaxis=dict(anchor="free", position=0, title=dict(text="run")))
    for place, axis in enumerate(sides):
        across = [0.53 * place, 0.47 + 0.53 * place] if len(sides) == 2 else [0, 1]
        frame[f"xaxis{axis}"] = dict(anchor="y", domain=across, nticks=5, title=dict(text=f"{names[axis]}: {title}"))
    return frame


@takes(
    pd.DataFrame,
    'the table of imu.over_seeds(imu.trial(...), ["updates"])',
    columns=("steps", "arm", "quantity", "mean", "low", "high", "seeds", "of"),
)
def plot_trial(summary: pd.DataFrame, *, floors: Mapping[str, float] = MappingProxyType({})) -> go.Figure:
    """A panel per quantity, a row per arm, a dot with its 95 % interval per kind of step.

    >>> floors = {"test kl_retrained": references.noise_floor["test"]}

    Args:
        summary: from :func:`imu_lab.over_seeds`, grouped by ``steps`` and ``arm``.
        floors: the noise floor of a distance, by quantity. It is shaded from the goal on; in differences to a control, to
            both sides of 0, for a difference as small as that says nothing.

    Raises:
        UnknownName: a floor of a quantity that the summary does not have.
    """
    quantities, arms, kinds = (list(dict.fromkeys(summary[name])) for name in ("quantity", "arm", "steps"))
    traces = [
        _arms(summary[(summary["quantity"] == quantity) & (summary["steps"] == kind)], arms, kinds, kind, panel)
        for panel, quantity in enumerate(quantities)
        for kind in kinds
    ]
    against = summary["against"].iloc[0] if "against" in summary and len(summary) else None
    for name in floors:
        if name not in quantities:
            raise unknown("quantity with a noise floor", name, quantities)
    words = f"Shaded: the {floor.FLOOR}" if floors else ""
    title = "At equal forgetting" if against is None else f"At equal forgetting, minus {theme.text(against)}'s"
    layout = {
        "title.text": live.heading(title, _trial_words(summary, against), words),
        "shapes": [_shaded(name, level, quantities.index(name), against) for name, level in floors.items()],
    }
    return live.draw(live.Content(traces, layout, _trial_frame(quantities, arms, against)))


def _shaded(quantity: str, level: float, panel: int, against: str | None) -> dict[str, Any]:
    """A panel's band within which a value is no farther than two retrained models, or a difference no larger."""
    goal = describe(quantity.split(" ", 1)[-1]).goal or 0.0
    ends = dict(x0=goal, x1=level) if against is None else dict(x0=-abs(level - goal), x1=abs(level - goal))
    place = dict(xref=f"x{marks.axis(panel)}", yref="paper", y0=0, y1=1)
    return dict(type="rect", layer="below", fillcolor=theme.faint(theme.INK), line=dict(width=0)) | ends | place


def _trial_words(summary: pd.DataFrame, against: str | None) -> str:
    if not len(summary):
        return "No arms to show."
    words = f"Mean over {theme.number(summary['of'].max())} seeds, with its 95 % interval."
    return words + (" An interval across 0: no difference." if against is not None else " No dot: never got there.")


def _arms(rows: pd.DataFrame, arms: list[str], kinds: list[str], kind: str, panel: int) -> dict[str, Any]:
    """One quantity of all arms under one kind of step."""
    place, names = kinds.index(kind), rows["arm"].map(theme.text)
    return marks.dots(
        "arm",
        rows["mean"].to_numpy(),
        [arms.index(arm) + 0.5 * ((place + 0.5) / len(kinds) - 0.5) for arm in rows["arm"]],
        colour=[theme.colour(arm) for arm in rows["arm"]],
        symbol=KINDS[place % len(KINDS)],
        size=10,
        meta={"role": "arm", "steps": kind},
        marker={"line": {"width": 2}},
        name=theme.text(kind),
        legendgroup=f"steps {place}",
        showlegend=panel == 0,
        xaxis=f"x{marks.axis(panel)}",
        error_x=marks.interval(rows["mean"], rows["low"], rows["high"], thickness=1.5, color=theme.INK),
        customdata=rows[["arm", "low", "high", "seeds", "of"]].assign(arm=names).to_numpy(),
        hovertemplate=f"%{{customdata[0]}}, {theme.text(kind)}<br>%{{x:.4g}} "
        "(95 % interval %{customdata[1]:.4g} to %{customdata[2]:.4g})<br>%{customdata[3]} of %{customdata[4]} seeds"
        "<extra></extra>",
    )


def _trial_frame(quantities: list[str], arms: list[str], against: str | None) -> dict[str, Any]:
    frame: dict[str, Any] = {
        "yaxis": marks.rows([theme.text(arm) for arm in arms], "arm", anchor="free", position=0),
        "showlegend": True,
    }
    width = 1 / max(len(quantities), 1)
    for panel, quantity in enumerate(quantities):
        axis = marks.axis(panel)
        title = _quantity(quantity, max(12, 90 // len(quantities))) + ("" if against is None else "<br>difference")
        domain = [panel * width + (0.03 if panel else 0), (panel + 1) * width - (0.03 if len(quantities) > 1 else 0)]
        frame[f"xaxis{axis}"] = {
            "anchor": "y",
            "domain": domain,
            "nticks": 6 if len(quantities) <= 4 else 4,
            "tickangle": 0,
            "title": {"text": title},
            "zeroline": True,
            "zerolinecolor": theme.INK,
        }
    return frame


def _quantity(quantity: str, letters: int) -> str:
    """``"retain accuracy change"`` with the unit of accuracy, in lines of so many letters; other columns speak for themselves."""
    known = {"updates": "updates needed<br>(count)", "seconds": "time<br>(seconds)"}
    metric = quantity.removesuffix(" change").removesuffix(" gap").split(" ", 1)[-1]
    return known.get(quantity, theme.folded(quantity, describe(metric).unit, letters))
