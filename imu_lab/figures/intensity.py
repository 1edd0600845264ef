"""Intensities: the shape of the rule, and how unequally it spreads the pressure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..core.quantities import describe
from ..core.records import Intensity
from . import live, theme
from .influence import MANY


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
    words = f"The heaviest fifth takes {theme.share(info.fifth, 1.0)} of all pressure"
    return words + (f" · {theme.number(dropped)} dropped" if dropped else "")


def _points(info: IntensityInfo, chosen: np.ndarray, role: str) -> dict[str, Any]:
    """One clickable dot per sample."""
    marker = dict(color=theme.colour(info.rule), symbol="circle", size=6, opacity=0.75)
    if role == "dropped":
        marker = dict(color=theme.DROPPED, symbol="x", size=6)
    return dict(
        type="scattergl" if len(chosen) > MANY else "scatter",
        mode="markers",
        meta={"role": role},
        name={"selected": "a sample", "dropped": "a dropped sample"}[role],
        x=info.influences[chosen],
        y=info.weights[chosen],
        customdata=info.examples[chosen],
        marker=marker,
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
        xaxis=dict(anchor="y", domain=[0, 0.46], title=dict(text=theme.titled(influence.title, influence.unit))),
        yaxis=dict(anchor="x", domain=[0, 0.95], tickformat=".1~%", title=dict(text=f"{weight.title} (share of all)")),
        xaxis2=dict(
            anchor="y2",
            domain=[0.6, 1],
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
