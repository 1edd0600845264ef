"""Who withstood how long, beside the pressure each received: without that, "resists" only means "was let alone"."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from . import live, theme

# What became of a sample: colour, marker. Grey says nothing about resistance.
STATES = {
    "forgotten": ("#0072B2", "circle"),
    "never forgotten": ("#D55E00", "diamond"),
    "only after the limit": (theme.INK, "triangle-down-open"),
    "no pressure": (theme.INK, "x"),
    "wrong from the start": (theme.INK, "square-open"),
}
MANY = 1500


class ResistanceInfo(NamedTuple):
    """What is drawn: (n,) examples with their place and state; ``against`` and ``value`` name the columns."""

    examples: np.ndarray
    x: np.ndarray
    y: np.ndarray
    states: np.ndarray
    against: str
    value: str


def plot_resistance(table: pd.DataFrame, *, against: str = "pressure", value: str = "rank") -> go.Figure:
    """A dot per sample of :func:`imu_lab.resistance`: how it withstood, against what it received.

    Grey do not show resistance: samples that got no pressure, those forgotten only after the utility limit (in the run
    under uniform pressure, too, where an axis is a ``uniform_`` column), and those that were wrong from the start.

    Args:
        table: of one run; its columns ``uniform_after_limit`` and ``wrong_before`` are heeded where it has them.
        against: the column on the horizontal axis; ``"uniform_rank"`` compares with the same run under uniform pressure.
        value: the column on the vertical axis.
    """
    return live.draw(_content(_resistance_info(table, against, value)))


def _resistance_info(table: pd.DataFrame, against: str, value: str) -> ResistanceInfo:
    for name in (against, value):
        if name not in table:
            raise unknown("column of the table", name, list(table.columns))
    states = np.where(table["censored"], "never forgotten", "forgotten").astype(object)
    states[table["after_limit"].to_numpy(dtype=bool)] = "only after the limit"
    if against.startswith("uniform_") or value.startswith("uniform_"):
        states[_said(table, "uniform_after_limit")] = "only after the limit"
    states[~table["pressed"].to_numpy(dtype=bool)] = "no pressure"
    states[_said(table, "wrong_before")] = "wrong from the start"
    place = (table[name].to_numpy(dtype=float) for name in (against, value))
    return ResistanceInfo(table["example"].to_numpy(), *place, states, against, value)


def _said(table: pd.DataFrame, column: str) -> np.ndarray:
    """Where a column of yes and no says yes: nowhere where it is missing or empty."""
    return table[column].eq(True).to_numpy(dtype=bool) if column in table else np.zeros(len(table), dtype=bool)


def _content(info: ResistanceInfo) -> live.Content:
    counts = {state: int((info.states == state).sum()) for state in STATES}
    words = " · ".join(f"{theme.number(count)} {state}" for state, count in counts.items() if count)
    layout = {
        "title.text": live.heading("Which samples resist", words or "no samples"),
        "xaxis.title.text": theme.titled(*describe(info.against)[:2]),
        "yaxis.title.text": theme.titled(*describe(info.value)[:2]),
    }
    frame = dict(xaxis=dict(anchor="y"), yaxis=dict(anchor="x"), showlegend=True)
    return live.Content([_dots(info, state) for state in STATES if counts[state]], layout, frame)


def _dots(info: ResistanceInfo, state: str) -> dict[str, Any]:
    colour, symbol = STATES[state]
    mine = info.states == state
    across, up = (theme.text(describe(name).title) for name in (info.against, info.value))
    return dict(
        type="scattergl" if len(info.examples) > MANY else "scatter",
        mode="markers",
        meta={"role": state},
        name=state,
        x=info.x[mine],
        y=info.y[mine],
        customdata=info.examples[mine],
        marker=dict(size=7, color=colour, symbol=symbol),
        hovertemplate=f"example %{{customdata}}<br>{across} %{{x:.4g}}<br>{up} %{{y:.4g}}<extra>{state}</extra>",
    )


def plot_reasons(found: pd.DataFrame, *, count: int = 12) -> go.Figure:
    """Rank correlation of each why-column with resistance, with its interval; a ring: with pressure taken out.

    Args:
        found: what :func:`imu_lab.reasons` gave.
        count: how many of the strongest to show.
    """
    shown = found.head(count).iloc[::-1]
    names = [theme.text(describe(name).title) for name in shown["column"]]
    bar = dict(
        type="scatter", mode="markers", meta={"role": "correlation"}, name="correlation, 95 % interval",
        x=shown["correlation"].to_numpy(), y=names, marker=dict(size=9, color="#0072B2"),
        error_x=dict(array=(shown["high"] - shown["correlation"]).to_numpy(), symmetric=False, thickness=2, width=4,
                     arrayminus=(shown["correlation"] - shown["low"]).to_numpy()),
    )  # fmt: skip
    ring = dict(
        type="scatter", mode="markers", meta={"role": "given pressure"}, name="with pressure taken out",
        x=shown["given_pressure"].to_numpy(), y=names, showlegend=bool(shown["given_pressure"].notna().any()),
        marker=dict(size=10, color="#D55E00", symbol="circle-open", line=dict(width=2)),
    )  # fmt: skip
    samples = theme.number(found["samples"].iloc[0]) if len(found) else "no"
    layout = {"title.text": live.heading("What goes with resistance", f"{samples} samples; right: withstands longer")}
    zero = dict(type="line", x0=0, x1=0, y0=0, y1=1, yref="paper", line=dict(color=theme.INK, width=1))
    frame = dict(
        xaxis=dict(anchor="y", range=[-1.05, 1.05], title=dict(text="Spearman correlation (−1 to 1)")),
        yaxis=dict(anchor="x"),
        showlegend=True,
        shapes=[zero],
    )
    return live.draw(live.Content([bar, ring], layout, frame))


def plot_dependence(found: Any, *, count: int = 4) -> go.Figure:
    """How the predicted resistance moves with each of the most important columns, all else as it is.

    Args:
        found: what :func:`imu_lab.predict_resistance` gave.
        count: how many columns.
    """
    names = found.importance["column"].head(count).tolist()
    traces, titles, frame = [], [], dict(showlegend=False)
    for number, name in enumerate(names, 1):
        rows = found.dependence[found.dependence["column"] == name]
        axis = str(number) if number > 1 else ""
        traces.append(dict(type="scatter", mode="lines+markers", meta={"role": name}, x=rows["value"].to_numpy(),
                           y=rows["predicted"].to_numpy(), xaxis=f"x{axis}", yaxis=f"y{axis}",
                           line=dict(color="#0072B2", width=2)))  # fmt: skip
        left = (number - 1) / len(names)
        frame[f"xaxis{axis}"] = dict(anchor=f"y{axis}", domain=[left, left + 0.82 / len(names)],
                                     title=dict(text=theme.titled(*describe(name)[:2])))  # fmt: skip
        frame[f"yaxis{axis}"] = dict(
            anchor=f"x{axis}", matches=None if number == 1 else "y", showticklabels=number == 1
        )
    if names:
        frame["yaxis"]["title"] = dict(text="predicted rank")
    words = (f"held-out score {found.score:.2f} ({found.low:.2f} to {found.high:.2f}), shuffled targets "
             f"{found.control:.2f}")  # fmt: skip
    layout = {"title.text": live.heading("What the prediction leans on", words), "annotations": titles}
    return live.draw(live.Content(traces, layout, frame))
