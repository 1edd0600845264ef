"""Intensities: the shape of the rule, how unequally it spreads the pressure, and over whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from ..core.records import Intensity
from . import live, marks, theme
from .takes import takes


class IntensityInfo(NamedTuple):
    """What is drawn.

    Attributes:
        influences: (n,). weights: (n,) shares that sum to 1. examples: (n,) ids. selected: (n,) bool.
        heaviest: (n + 1,) share of the samples, counted from the heaviest; 0 to 1.
        cumulative: (n + 1,) the share of all pressure that these take together; 0 to 1.
        order: (n,) the examples from the heaviest to the lightest.
        fifth: the share of all pressure that the heaviest fifth takes; NaN without samples.
        effective: effective number of samples, 1 / Σ w².
        rule: its name.
    """

    influences: np.ndarray
    weights: np.ndarray
    examples: np.ndarray
    selected: np.ndarray
    heaviest: np.ndarray
    cumulative: np.ndarray
    order: np.ndarray
    fifth: float
    effective: float
    rule: str


@takes(Intensity, "what imu.intensity(scores) gives")
def plot_intensity(weights: Intensity) -> go.Figure:
    """Left: each sample's weight against its influence. Right: how much of all pressure the heaviest samples take.

    The broken lines are uniform weights, 1/n each. Dots can be clicked (``customdata``: example).
    """
    return live.draw(_content(_intensity_info(weights)))


def update_intensity(figure: go.Figure, weights: Intensity) -> go.Figure:
    """Show other weights in a figure that :func:`plot_intensity` made."""
    return live.update(figure, _content(_intensity_info(weights)))


def _intensity_info(record: Intensity) -> IntensityInfo:
    """Sorts and sums the weights."""
    frame, weights = record.frame, np.asarray(record.values, dtype=float)
    order = np.argsort(-weights, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
    heaviest = np.linspace(0, 1, len(weights) + 1) if len(weights) else np.zeros(1)
    return IntensityInfo(
        frame["influence"].to_numpy(dtype=float),
        weights,
        frame["example"].to_numpy(),
        frame["selected"].to_numpy(dtype=bool),
        heaviest,
        cumulative,
        frame["example"].to_numpy()[order],
        float(np.interp(0.2, heaviest, cumulative)) if len(weights) else float("nan"),
        record.effective if np.square(weights).sum() > 0 else float("nan"),
        str(record.settings.get("rule", "given")),
    )


def _content(info: IntensityInfo) -> live.Content:
    count = len(info.weights)
    traces = [
        _points(info, info.selected, "selected"),
        _points(info, ~info.selected, "dropped"),
        _uniform(info),
        _concentration(info),
        _equal(count),
    ]
    top = max(info.weights.max(initial=0.0), 1 / max(count, 1))
    layout = {
        "title.text": live.heading(_headline(info), _subtitle(info)) if count else "No weights to show",
        "annotations": [live.panel("", "who gets how much"), live.panel("2", "how unequal that is")],
        "yaxis.range": [-0.03 * top, 1.08 * top],
    }
    return live.Content(traces, layout, _frame())


def _headline(info: IntensityInfo) -> str:
    count = theme.number(len(info.weights))
    return f"{theme.text(info.rule)}: {count} samples count like {info.effective:,.1f} equal ones"


def _subtitle(info: IntensityInfo) -> str:
    dropped = int((~info.selected).sum())
    words = f"The heaviest fifth takes {theme.share(info.fifth, 1.0)} of all pressure."
    return words + (f" {theme.number(dropped)} samples are dropped." if dropped else "")


def _points(info: IntensityInfo, chosen: np.ndarray, role: str) -> dict[str, Any]:
    """One clickable dot per sample."""
    selected = role == "selected"
    return marks.dots(
        role,
        info.influences[chosen],
        info.weights[chosen],
        colour=theme.colour(info.rule) if selected else theme.DROPPED,
        symbol="circle" if selected else "x",
        among=len(chosen),
        size=6,
        marker={"opacity": 0.75 if selected else 1.0},
        name="a sample" if selected else "a dropped sample",
        customdata=info.examples[chosen],
        hovertemplate="example %{customdata}<br>weight %{y:.3%} of all pressure<br>"
        f"{theme.measured('%{x:.4g}', 'influence')}"
        f"<extra>{role}</extra>",
        showlegend=bool(chosen.any()),
    )


def _uniform(info: IntensityInfo) -> dict[str, Any]:
    """The weight 1/n that every sample has under the uniform rule."""
    known = info.influences[np.isfinite(info.influences)]
    ends = [known.min(), known.max()] if len(known) else []
    level = 1 / max(len(info.weights), 1)
    return _line("uniform", ends, [level] * len(ends), "uniform weights, 1/n", "uniform") | dict(
        hovertemplate="uniform: every sample %{y:.3%}<extra></extra>"
    )


def _concentration(info: IntensityInfo) -> dict[str, Any]:
    """Cumulative share of the pressure, from the heaviest sample on; point k is customdata's k-th sample."""
    return _line("cumulative", info.heaviest, info.cumulative, theme.text(info.rule), info.rule) | dict(
        xaxis="x2",
        yaxis="y2",
        line=dict(color=theme.colour(info.rule), width=2.5),
        customdata=np.concatenate([info.order[:1], info.order]),
        hovertemplate="the heaviest %{x:.1%} of the samples<br>take %{y:.1%} of all pressure<extra></extra>",
        showlegend=False,
    )


def _equal(count: int) -> dict[str, Any]:
    """The diagonal: equal shares."""
    ends = [0, 1] if count else []
    return _line("equal", ends, ends, "equal shares", "uniform") | dict(
        xaxis="x2", yaxis="y2", hoverinfo="skip", showlegend=False
    )


def _line(role: str, x: Any, y: Any, name: str, style: str) -> dict[str, Any]:
    line = dict(color=theme.colour(style), dash=theme.dash(style), width=1.5)
    return dict(type="scatter", mode="lines", meta={"role": role}, name=name, x=x, y=y, line=line)


def _frame() -> dict[str, Any]:
    influence, weight = describe("influence"), describe("weight")
    return dict(
        xaxis=dict(anchor="y", domain=[0, 0.43], title=dict(text=theme.titled(influence.title, influence.unit))),
        yaxis=dict(anchor="x", domain=[0, 0.95], tickformat=".1~%", title=dict(text=f"{weight.title} (share of all)")),
        xaxis2=dict(
            anchor="y2",
            domain=[0.62, 1],
            range=[0, 1],
            tickformat=".0%",
            title=dict(text="heaviest samples (share)"),
        ),
        yaxis2=dict(
            anchor="x2",
            domain=[0, 0.95],
            range=[-0.02, 1.04],
            tickformat=".0%",
            title=dict(text="pressure (share of all)"),
        ),
    )


@takes(
    pd.DataFrame,
    'tables of imu.pressure_shares(weights) by rule, such as {"uniform": table}',
    columns=("part", "samples", "weight", "selected", "confidence_low", "confidence_high"),
    by_label=True,
)
def plot_pressure(shares: Mapping[str, pd.DataFrame]) -> go.Figure:
    """A line per rule over the parts of the forget set, from worst to best known; level is uniform pressure.

    Args:
        shares: from :func:`imu_lab.pressure_shares`, by rule; all with the same number of parts.
    """
    tables = list(shares.values())
    parts = tables[0]["part"].to_numpy() if tables else []
    ticks = [f"{part}<br>p(y) {_range(low, high)}" for part, low, high in _parts(tables[0])] if tables else []
    frame = {
        "xaxis": {
            "title": {"text": "part of the forget set, 1 = worst known (index, probability)"},
            "tickvals": list(parts),
            "ticktext": ticks,
        },
        "yaxis": {"title": {"text": "weight (share of all)"}, "tickformat": ".0%", "rangemode": "tozero"},
        "shapes": [
            {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 1 / len(parts), "y1": 1 / len(parts),
             "line": {"color": theme.INK, "width": 1, "dash": "dot"}}
        ] if len(parts) else [],
        "showlegend": True,
    }  # fmt: skip
    title = live.heading(
        "Who gets the pressure", "Left: the samples that the model knows worst. Dotted: an equal share for each part."
    )
    traces = [_shares(rule, table) for rule, table in shares.items()]
    return live.draw(live.Content(traces, {"title.text": title}, frame))


def _parts(table: pd.DataFrame) -> list[tuple]:
    return list(table[["part", "confidence_low", "confidence_high"]].itertuples(index=False, name=None))


def _range(low: float, high: float) -> str:
    """A range with as many decimals as tell its ends apart; one number where six do not."""
    for decimals in range(2, 7):
        ends = f"{low:.{decimals}f}", f"{high:.{decimals}f}"
        if ends[0] != ends[1]:
            return " to ".join(ends)
    return f"{low:.2f}"


def _shares(rule: str, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "meta": {"role": "share", "rule": rule},
        "name": theme.text(rule),
        "x": table["part"].to_numpy(),
        "y": table["weight"].to_numpy(),
        "line": {"color": theme.colour(rule), "dash": theme.dash(rule), "width": 2},
        "marker": {"symbol": theme.symbol(rule), "size": 8},
        "customdata": table[["samples", "selected"]].to_numpy(),
        "hovertemplate": f"{theme.text(rule)}, part %{{x}}<br>%{{y:.1%}} of all weight on %{{customdata[0]}} samples"
        "<br>%{customdata[1]:.0%} of them selected<extra></extra>",
    }
