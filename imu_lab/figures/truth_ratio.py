"""Truth ratios: the distribution of each model's, with its distance from the retrained model's written beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..measures.truth_ratio import TruthRatios
from . import live, theme
from .takes import takes

LEAST = 1e-10  # below it a ratio is drawn there: the axis is logarithmic, and 0 has no place on it
MORE = "right: wrong answers are as likely as the right one, or likelier"


@takes(TruthRatios, "what imu.truth_ratios(task, models, retrained) gives")
def plot_truth_ratio(record: TruthRatios) -> go.Figure:
    """The truth ratios of each model as a curve: which share of the pairs has this ratio or a lower one.

    The goal is the retrained model's curve, dotted, and not a ratio of 1 as such. A bar marks where a model is farthest from
    it; its length is the Kolmogorov-Smirnov distance. Beside several retrained models the title tells how far two of them
    are from each other.

    Args:
        record: from :func:`imu_lab.truth_ratios`, or of an evaluation by open-unlearning (``made.truth_ratios()``).
    """
    return live.draw(_content(record))


def _content(record: TruthRatios) -> live.Content:
    names = [*dict.fromkeys(record.pairs["model"])]
    looks = theme.looks(names)
    goals = [name for name in names if name in record.retrained]
    traces = [_curve(record, name, looks[name]) for name in names]
    traces += [_apart(record, row, looks[row.model]) for row in record.distances.itertuples() if goals]
    title = f"Truth ratios of {theme.number(_pairs(record))} pairs" if names else "No truth ratios to show"
    words = "Towards the retrained model's curve is better"
    floor = f"Two retrained models are {record.noise_floor:.2f} apart" if np.isfinite(record.noise_floor) else ""
    layout = {"title.text": live.heading(title, words if goals else "", floor)}
    axes = dict(
        xaxis=dict(
            title=dict(text=f"truth ratio, wrong over right (no unit; {MORE})"),
            type="log",
            nticks=8,
            exponentformat="power",
        ),
        yaxis=dict(title=dict(text="pairs at or below<br>(share)"), range=[-0.02, 1.02]),
        hovermode="closest",
    )
    return live.Content(traces, layout, axes)


def _pairs(record: TruthRatios) -> int:
    """Of the model that has most."""
    return int(record.pairs.groupby("model").size().max())


def _curve(record: TruthRatios, name: str, look: theme.Look) -> dict[str, Any]:
    mine = record.pairs[record.pairs["model"] == name]
    goal = name in record.retrained
    known = record.distances[record.distances["model"] == name]
    words = f", KS {known['ks_distance'].iloc[0]:.2f}" if len(known) else ""
    ratios = mine["truth_ratio"].to_numpy(dtype=float)
    about = [f"{theme.text(author)}, pair {example}" for author, example in zip(mine["author"], mine["example"])]
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "retrained" if goal else "model", "model": name},
        name=f"{theme.text(name)}{words}",
        x=np.maximum(ratios, LEAST),
        y=mine["share"].to_numpy(dtype=float),
        customdata=np.column_stack([about, [f"{ratio:.4g}" for ratio in ratios]]) if len(mine) else [],
        line=dict(
            color=theme.colour("retrain") if goal else look.colour,
            dash=theme.REFERENCE_DASH if goal else look.dash,
            shape="hv",
            width=2,
        ),
        hovertemplate=f"<b>{theme.text(name)}</b><br>%{{customdata[0]}}<br>truth ratio %{{customdata[1]}}, "
        "a share of %{y:.3f} at or below<extra></extra>",
    )


def _apart(record: TruthRatios, row: Any, look: theme.Look) -> dict[str, Any]:
    """A bar where a model's curve is farthest from the first retrained model's."""
    heights = [_height(record, name, row.farthest) for name in (row.model, record.retrained[0])]
    known = bool(np.isfinite(row.farthest))
    name = theme.text(row.model)
    return dict(
        type="scatter",
        mode="lines+markers",
        meta={"role": "distance", "model": row.model},
        name=name,
        x=[max(row.farthest, LEAST)] * 2 if known else [],
        y=heights if known else [],
        line=dict(color=look.colour, width=1),
        marker=dict(color=look.colour, symbol="line-ew-open", size=9),
        hovertemplate=f"<b>{name}</b> is farthest from the retrained model here:<br>KS distance {row.ks_distance:.3f}, "
        f"−log10 p {row.forget_quality:.2f}; at y %{{y:.3f}}<extra></extra>",
        showlegend=False,
    )


def _height(record: TruthRatios, name: str, ratio: float) -> float:
    """The share of a model's pairs at or below a ratio, read from its curve."""
    mine = record.pairs[(record.pairs["model"] == name) & (record.pairs["truth_ratio"] <= ratio)]
    return float(mine["share"].iloc[-1]) if len(mine) else 0.0
