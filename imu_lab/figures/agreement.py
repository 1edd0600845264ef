"""How far estimators agree: their rank correlations as a heat map; and what damping does to one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import live, theme


def plot_agreement(correlations: pd.DataFrame) -> go.Figure:
    """A square of rank correlations: 1 is the same order, 0 no relation, −1 the opposite order.

    Args:
        correlations: from :func:`imu_lab.rank_correlations`.
    """
    labels = [theme.text(name) for name in correlations.index]
    values = correlations.to_numpy(dtype=float)
    trace = {
        "type": "heatmap",
        "meta": {"role": "agreement"},
        "z": values,
        "x": labels,
        "y": labels,
        "zmin": -1,
        "zmax": 1,
        "colorscale": [list(stop) for stop in theme.DIVERGING],
        "text": np.where(np.isnan(values), "", np.char.mod("%.2f", values)),
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} and %{x}<br>rank correlation %{z:.3f}<extra></extra>",
        "colorbar": {"title": {"text": "rank correlation<br>(Spearman)"}},
    }
    return live.draw(live.Content([trace], {"title.text": "Do they put the samples in the same order?"}, _square()))


def _square() -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": "estimator"}, "showgrid": False, "automargin": True},
        "yaxis": {"title": {"text": "estimator"}, "showgrid": False, "automargin": True, "autorange": "reversed"},
    }


def plot_damping(effect: pd.DataFrame) -> go.Figure:
    """Agreement with the plain product of gradients at each damping: at 1 the preconditioner does nothing.

    Args:
        effect: from :func:`imu_lab.damping_effect`.
    """
    indifferent = effect.loc[effect["indifferent"], "damping"].min()
    traces = [_line(effect, "correlation", "imu"), _line(effect, "spearman", "uniform")]
    said = f"from {indifferent:g} on the preconditioner does nothing" if indifferent == indifferent else ""
    frame = {
        "xaxis": {"title": {"text": "damping λ (in the units of the Fisher diagonal)"}, "type": "log"},
        "yaxis": {"title": {"text": "correlation with gradient-dot"}},
    }
    return live.draw(live.Content(traces, {"title.text": f"What damping does{': ' if said else ''}{said}"}, frame))


def _line(effect: pd.DataFrame, column: str, like: str) -> dict[str, Any]:
    names = {"correlation": "of the values (Pearson)", "spearman": "of the order (Spearman)"}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "meta": {"role": column},
        "name": names[column],
        "x": effect["damping"].to_numpy(),
        "y": effect[column].to_numpy(),
        "line": {"color": theme.colour(like), "dash": theme.dash(like)},
        "hovertemplate": "λ = %{x:g}<br>%{y:.4f}<extra></extra>",
    }
