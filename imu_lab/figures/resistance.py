"""Who withstood how long, beside the pressure each received: without that, "resists" only means "was let alone"."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..studies.explanation import Prediction, reasons
from ..studies.resistance import marked, resistance
from . import live, marks, theme
from .takes import of_a_run, takes

# What became of a sample: colour, marker. Grey says nothing about resistance.
STATES = {
    "forgotten": ("#0072B2", "circle"),
    "never forgotten": ("#D55E00", "diamond"),
    "only after the limit": (theme.INK, "triangle-down-open"),
    "no pressure": (theme.INK, "x"),
    "wrong from the start": (theme.INK, "square-open"),
}
SOLID, OPEN = "#0072B2", "#D55E00"  # what is measured, and what is left of it


class ResistanceInfo(NamedTuple):
    """What is drawn: (n,) examples with their place and state; ``against`` and ``value`` name the columns."""

    examples: np.ndarray
    x: np.ndarray
    y: np.ndarray
    states: np.ndarray
    against: str
    value: str


@takes(
    pd.DataFrame,
    "the table of imu.resistance(run)",
    columns=("example", "censored", "after_limit", "pressed"),
    made=of_a_run(resistance),
)
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
        states[marked(table, "uniform_after_limit")] = "only after the limit"
    states[~table["pressed"].to_numpy(dtype=bool)] = "no pressure"
    states[marked(table, "wrong_before")] = "wrong from the start"
    place = (table[name].to_numpy(dtype=float) for name in (against, value))
    return ResistanceInfo(table["example"].to_numpy(), *place, states, against, value)


def _content(info: ResistanceInfo) -> live.Content:
    counts = {state: int((info.states == state).sum()) for state in STATES}
    words = ", ".join(f"{theme.number(count)} {state}" for state, count in counts.items() if count)
    words = f"Higher: withstands longer. {words}." if words else "No samples."
    layout = {
        "title.text": live.heading("Which samples resist", words),
        "xaxis.title.text": theme.titled(*describe(info.against)[:2]),
        "yaxis.title.text": theme.titled(*describe(info.value)[:2]),
    }
    frame = dict(xaxis=dict(anchor="y"), yaxis=dict(anchor="x"), showlegend=True)
    return live.Content([_dots(info, state) for state in STATES if counts[state]], layout, frame)


def _dots(info: ResistanceInfo, state: str) -> dict[str, Any]:
    colour, symbol = STATES[state]
    mine = info.states == state
    across, up = theme.measured("%{x:.4g}", info.against), theme.measured("%{y:.4g}", info.value)
    return marks.dots(
        state,
        info.x[mine],
        info.y[mine],
        colour=colour,
        symbol=symbol,
        among=len(info.examples),
        customdata=info.examples[mine],
        hovertemplate=f"example %{{customdata}}<br>{across}<br>{up}<extra>{state}</extra>",
    )


def _explained(given: Any) -> pd.DataFrame | None:
    """The reasons in a table of :func:`imu_lab.explain_resistance`."""
    explains = isinstance(given, pd.DataFrame) and {"rank", "censored", "confidence_before", "curvature"} <= {*given}
    return reasons(given) if explains else None


@takes(
    pd.DataFrame,
    "the table of imu.reasons(imu.explain_resistance(run))",
    columns=("column", "correlation", "low", "high", "given_pressure", "samples"),
    made=_explained,
)
def plot_reasons(found: pd.DataFrame, *, count: int = 12) -> go.Figure:
    """Rank correlation of each why-column with resistance, with its interval; a ring: with pressure taken out.

    Args:
        found: what :func:`imu_lab.reasons` gave.
        count: how many of the strongest to show.
    """
    shown = found.head(count).iloc[::-1]
    names = [theme.text(describe(name).title) for name in shown["column"]]
    samples = theme.number(found["samples"].iloc[0]) if len(found) else "No"
    forgotten = (
        f", {theme.number(found['forgotten'].iloc[0])} of them forgotten" if "forgotten" in found and len(found) else ""
    )
    layout = {
        "title.text": live.heading(
            "What goes with resistance", f"{samples} samples{forgotten}. Right: withstands longer."
        ),
        "yaxis.tickvals": list(range(len(shown))),
        "yaxis.ticktext": names,
    }
    frame = dict(
        xaxis=dict(anchor="y", range=[-1.05, 1.05], title=dict(text="Spearman correlation (−1 to 1)")),
        yaxis=dict(anchor="x", title=dict(text="what is known of the samples")),
        showlegend=True,
        shapes=[marks.upright()],
    )
    return live.draw(live.Content([_correlations(shown, names), _given_pressure(shown, names)], layout, frame))


def _correlations(shown: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """A dot with its interval in each row."""
    middle = shown["correlation"].to_numpy(dtype=float)
    return marks.dots(
        "correlation",
        middle,
        list(range(len(shown))),
        colour=SOLID,
        symbol="circle",
        size=9,
        name="correlation, 95 % interval",
        error_x=marks.interval(middle, shown["low"], shown["high"]),
        customdata=[[name, *ends] for name, *ends in zip(names, shown["low"], shown["high"])],
        hovertemplate="%{customdata[0]}<br>correlation %{x:.2f} (95 % interval %{customdata[1]:.2f} to "
        "%{customdata[2]:.2f})<extra></extra>",
    )


def _given_pressure(shown: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """A ring in each row: what is left of the correlation with pressure taken out."""
    given = shown["given_pressure"].to_numpy(dtype=float)
    return marks.dots(
        "given pressure",
        given,
        list(range(len(shown))),
        colour=OPEN,
        symbol="circle-open",
        size=10,
        name="with pressure taken out",
        marker={"line": {"width": 2}},
        showlegend=bool(np.isfinite(given).any()),
        customdata=names,
        hovertemplate="%{customdata}<br>correlation %{x:.2f} with pressure taken out<extra></extra>",
    )


@takes(Prediction, "what imu.predict_resistance(imu.explain_resistance(run)) gives")
def plot_dependence(found: Prediction, *, count: int = 4) -> go.Figure:
    """How the predicted resistance moves with each of the most important columns, all else as it is.

    Args:
        found: what :func:`imu_lab.predict_resistance` gave.
        count: how many columns.
    """
    names = found.importance["column"].head(count).tolist()
    traces = [_moved(found.dependence, name, marks.axis(number)) for number, name in enumerate(names)]
    frame: dict[str, Any] = dict(showlegend=False)
    for number, name in enumerate(names):
        axis, left = marks.axis(number), number / len(names)
        across = dict(anchor=f"y{axis}", domain=[left, left + 0.82 / len(names)])
        frame[f"xaxis{axis}"] = across | dict(title=dict(text=theme.folded(*describe(name)[:2])))
        frame[f"yaxis{axis}"] = dict(anchor=f"x{axis}", showticklabels=not number) | (
            dict(matches="y") if number else {}
        )
    if names:
        frame["yaxis"]["title"] = dict(text="predicted resistance rank (1 = forgotten first)")
    about = found.importance.attrs.get("about")
    words = (
        f"Held-out score {found.score:.2f} ({found.low:.2f} to {found.high:.2f}); with shuffled targets "
        f"{found.control:.2f}. Higher: withstands longer." + (f" {theme.text(about)}." if about else "")
    )
    return live.draw(live.Content(traces, {"title.text": live.heading("What the prediction leans on", words)}, frame))


def _moved(dependence: pd.DataFrame, name: str, axis: str) -> dict[str, Any]:
    """The prediction over the values of one column."""
    rows = dependence[dependence["column"] == name]
    return dict(
        type="scatter",
        mode="lines+markers",
        meta={"role": name},
        x=rows["value"].to_numpy(),
        y=rows["predicted"].to_numpy(),
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        line=dict(color=SOLID, width=2),
        hovertemplate=f"{theme.measured('%{x:.4g}', name)}<br>predicted rank %{{y:.4g}}<extra></extra>",
    )
