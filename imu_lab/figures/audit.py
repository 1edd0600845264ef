"""Audits side by side, each beside its goal and doing nothing; and the scores by which members are told from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..measures.membership import FALSE_POSITIVES, SCORES, Score, attack
from . import live, marks, theme
from .takes import takes

ROW, ROOM = 20, 70  # pixels of a row, and of a panel's axis
SHARES = "share or probability (0 to 1)"
BINS = 24
LEVELS = {"goal": ("retrained model", "star-open", 1), "original": ("original model", "line-ns-open", 2)}
NAMES = {"run": "unlearned model", "original": "original model", "retrained": "retrained model"}
SIDES = {True: ("forget", "to forget"), False: ("test-forget", "never seen")}
SCORED = SCORES | {"log_odds": Score(1, "nats", "log(p_y / (1 − p_y))")}


@takes(
    pd.DataFrame,
    "the table of imu.audit(run)",
    columns=("audit", "name", "split", "value", "low", "high", "goal", "original", "unit"),
)
def plot_audit(table: pd.DataFrame) -> go.Figure:
    """A row per audited number: a dot with its 95 % interval, a star at its goal, a tick where doing nothing leaves it.

    The goal is the retrained model's value. Audits of different units have panels of their own; what does not apply is left
    out, and counted below the title.

    Args:
        table: from :func:`imu_lab.audit`, or some of its rows.
    """
    known = table[table["value"].notna()] if len(table.columns) else table
    units = list(dict.fromkeys(_unit(row) for row in known.to_dict("records")))
    traces, frame = [], _frame(known, units)
    for panel, unit in enumerate(units):
        rows = known[[_unit(row) == unit for row in known.to_dict("records")]]
        traces += [_levels(rows, level, panel) for level in LEVELS] + [_values(rows, panel)]
    missing = len(table) - len(known)
    words = f"{missing} audit{'s do' if missing > 1 else ' does'} not apply, and the table says why" if missing else ""
    title = "What is left, audit by audit" if len(known) else "No audits to show"
    said = "The goal is the retrained model's value" if len(known) else ""
    return live.draw(live.Content(traces, {"title.text": live.heading(title, said, words)}, frame))


def _unit(row: dict[str, Any]) -> str:
    """The unit of a row's axis: everything between 0 and 1 shares one."""
    within = ("share", "probability", "product of shares")
    return SHARES if str(row["unit"]).startswith(within) else str(row["unit"])


def _labels(rows: pd.DataFrame) -> list[str]:
    return [theme.text(f"{name}, {split}" if split else name) for name, split in zip(rows["name"], rows["split"])]


def _values(rows: pd.DataFrame, panel: int) -> dict[str, Any]:
    value, low, high = (rows[name].to_numpy(dtype=float) for name in ("value", "low", "high"))
    largest = np.max([each[np.isfinite(each)].max(initial=0.0) for each in (value, high)])
    return marks.dots(
        "value",
        value,
        np.arange(len(rows)),
        colour=theme.colour("imu"),
        symbol="circle",
        size=9,
        name="unlearned model",
        legendgroup="value",
        showlegend=panel == 0,
        xaxis=f"x{marks.axis(panel)}",
        yaxis=f"y{marks.axis(panel)}",
        error_x=marks.interval(
            value, np.where(np.isnan(low), value, low), np.where(np.isnan(high), value, np.minimum(high, largest)),
            color=theme.colour("imu"),
        ),
        customdata=np.column_stack([_labels(rows), _number(low), _number(high), _notes(rows)]),
        hovertemplate="%{customdata[0]}<br>%{x:.4g} (95 % interval %{customdata[1]} to %{customdata[2]})"
        "%{customdata[3]}<extra>unlearned model</extra>",
    )  # fmt: skip


def _number(values: np.ndarray) -> list[str]:
    return ["not known" if np.isnan(value) else f"{value:.4g}" for value in values]


def _notes(rows: pd.DataFrame) -> list[str]:
    notes = rows["note"] if "note" in rows else [""] * len(rows)
    return [f"<br>{theme.text(note)}" if note else "" for note in notes]


def _levels(rows: pd.DataFrame, level: str, panel: int) -> dict[str, Any]:
    """The goal or the value of doing nothing, beside each row."""
    name, symbol, width = LEVELS[level]
    return marks.dots(
        level,
        rows[level].to_numpy(dtype=float),
        np.arange(len(rows)),
        colour=theme.INK,
        symbol=symbol,
        size=12,
        marker={"line": {"width": width, "color": theme.INK}},
        name=name,
        legendgroup=level,
        showlegend=panel == 0,
        xaxis=f"x{marks.axis(panel)}",
        yaxis=f"y{marks.axis(panel)}",
        customdata=_labels(rows),
        hovertemplate=f"%{{customdata}}<br>{name}: %{{x:.4g}}<extra></extra>",
    )


def _frame(known: pd.DataFrame, units: list[str]) -> dict[str, Any]:
    """A panel for each unit, one under the other, as high as its rows."""
    counts = [sum(_unit(row) == unit for row in known.to_dict("records")) for unit in units]
    rooms = [ROOM] * max(0, len(units) - 1) + [0]  # the last axis stands in the margin, above the legend
    total, top = max(1, sum(ROW * count for count in counts) + sum(rooms)), 1.0
    frame: dict[str, Any] = {"height": 160 + max(160, total), "margin": {"l": 330}}
    for panel, (unit, count, room) in enumerate(zip(units, counts, rooms)):
        rows = known[[_unit(row) == unit for row in known.to_dict("records")]]
        height = ROW * count + room
        low, axis = top - height / total, marks.axis(panel)
        words = unit if "(" in unit else theme.titled("value", theme.text(unit))
        frame[f"xaxis{axis}"] = {"anchor": f"y{axis}", "title": {"text": words}, "nticks": 6}
        domain = [max(0.0, low + room / total), top]
        frame[f"yaxis{axis}"] = marks.rows(_labels(rows), "audit", anchor=f"x{axis}", domain=domain)
        top = low
    if not units:
        frame |= {
            "xaxis": {"title": {"text": SHARES}},
            "yaxis": {"title": {"text": "audit"}, "tickvals": [], "ticktext": []},
        }
    return frame


@takes(
    pd.DataFrame,
    "the table of imu.membership(run)",
    columns=("model", "member", "split", "loss", "confidence", "entropy", "modified_entropy", "log_odds"),
)
def plot_membership(
    samples: pd.DataFrame, *, score: str = "log_odds", false_positives: float = FALSE_POSITIVES
) -> go.Figure:
    """How a score is spread over the samples to forget and over samples never seen: a panel for each model.

    An attack calls a sample a member where its score speaks more for that than the line, beyond which at most
    ``false_positives`` of the samples never seen lie.

    Args:
        samples: from :func:`imu_lab.membership`.
        score: a column: ``"loss"``, ``"confidence"``, ``"entropy"``, ``"modified_entropy"`` or ``"log_odds"``.
        false_positives: the share of samples never seen beyond the line.

    Raises:
        UnknownName: no such score.
        ValueError: a share outside 0 to 1.
    """
    if score not in SCORED:
        raise unknown("score", score, SCORED)
    if not 0 <= false_positives < 1:
        raise ValueError(f"false_positives is a share from 0 to below 1, got {false_positives!r}")
    models = list(dict.fromkeys(samples["model"])) if len(samples) else []
    traces, shapes, notes = [], [], []
    edges = _edges(samples[score].to_numpy(dtype=float)) if len(samples) else np.array([0.0, 1.0])
    for panel, model in enumerate(models):
        mine = samples[samples["model"] == model]
        sides = {side: mine.loc[mine["member"] == side, score].to_numpy(dtype=float) for side in SIDES}
        traces += [_bars(values, edges, side, score, panel) for side, values in sides.items()]
        found = attack(sides[True], sides[False], SCORED[score].sign, false_positives)
        words = "nobody to compare with"
        if found is not None:
            shapes.append(marks.upright(found.line, 2, yref=f"y{marks.axis(panel)} domain", xref="x"))
            words = f"{found.beyond:.0%} to forget beyond the line, AUC {found.area:.2f}"
        notes.append(live.panel(marks.axis(panel), f"{theme.text(_called(model))}: {words}", xref="x domain"))
    words = f"Line: at most {false_positives:.1%} of the samples never seen lie beyond it"
    layout = {
        "title.text": live.heading("Who was trained on?" if models else "No samples to show", words if models else ""),
        "shapes": shapes,
        "annotations": notes,
    }
    return live.draw(live.Content(traces, layout, _panels(models, score)))


def _called(model: str) -> str:
    first, _, number = str(model).partition(" ")
    return f"{NAMES.get(first, first)} {number}".strip()


def _edges(values: np.ndarray) -> np.ndarray:
    """The bins that all panels share."""
    known = values[np.isfinite(values)]
    return np.histogram_bin_edges(known, BINS) if len(known) else np.array([0.0, 1.0])


def _bars(values: np.ndarray, edges: np.ndarray, side: bool, score: str, panel: int) -> dict[str, Any]:
    split, name = SIDES[side]
    counts = np.histogram(values, edges)[0]
    return {
        "type": "bar",
        "meta": {"role": f"score, {split}"},
        "name": name,
        "legendgroup": split,
        "showlegend": panel == 0,
        "x": (edges[1:] + edges[:-1]) / 2,
        "y": counts / max(1, len(values)),
        "width": np.diff(edges),
        "marker": {"color": theme.colour(split), "pattern": {"shape": "" if side else "/"}},
        "opacity": 0.6,
        "yaxis": f"y{marks.axis(panel)}",
        "hovertemplate": f"{name}<br>{theme.text(score.replace('_', ' '))} about %{{x:.3g}}: %{{y:.1%}} of samples<extra></extra>",
    }


def _panels(models: list[str], score: str) -> dict[str, Any]:
    """One panel under the other, with one axis of the score."""
    height = 1 / max(1, len(models))
    more = "more" if SCORED[score].sign > 0 else "less"
    title = f"{score.replace('_', ' ')} ({SCORED[score].unit}; {more} speaks for having been trained on)"
    frame: dict[str, Any] = {
        "barmode": "overlay",
        "height": 160 + 150 * max(1, len(models)),
        "xaxis": {"title": {"text": title}, "anchor": f"y{marks.axis(max(0, len(models) - 1))}"},
    }
    for panel in range(max(1, len(models))):
        top = 1 - panel * height
        frame[f"yaxis{marks.axis(panel)}"] = {
            "domain": [top - height + (0.12 * height if panel < len(models) - 1 else 0), top - 0.12 * height],
            "title": {"text": "samples (share)"},
            "rangemode": "tozero",
        }
    return frame
