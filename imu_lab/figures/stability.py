"""How far estimates keep their order from draw to draw: a dot with its interval per estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from . import live, theme

SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def plot_stability(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Mean rank correlation between draws, with its 95 % interval; 1 is the same order every time.

    Args:
        tables: from :func:`imu_lab.rank_stability`, by what was drawn, such as ``"training seeds"``.
    """
    estimators = list(dict.fromkeys(name for table in tables.values() for name in table["estimator"]))
    traces = [
        _dots(label, table, estimators, place, len(tables)) for place, (label, table) in enumerate(tables.items())
    ]
    frame = {
        "xaxis": {
            "title": {"text": "rank correlation between draws (Spearman, mean over pairs)"},
            "range": [-0.35, 1.05],
        },
        "yaxis": {
            "title": {"text": "estimator"},
            "tickvals": list(range(len(estimators))),
            "ticktext": [theme.text(name) for name in estimators],
            "range": [len(estimators) - 0.5, -0.5],
        },
        "shapes": [{"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": theme.INK}}],
        "showlegend": True,
    }
    title = live.heading("Does the order survive another draw?", "1: the same order every time · 0: chance")
    return live.draw(live.Content(traces, {"title.text": title}, frame))


def _dots(label: str, table: pd.DataFrame, estimators: list[str], place: int, count: int) -> dict[str, Any]:
    """One kind of draw; kinds stand one under the other within an estimator's row."""
    middle = table["spearman"].to_numpy()
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": {"role": "stability", "draw": label},
        "name": theme.text(label),
        "x": middle,
        "y": [estimators.index(name) + 0.5 * ((place + 0.5) / count - 0.5) for name in table["estimator"]],
        "error_x": {
            "array": table["high"].to_numpy() - middle,
            "arrayminus": middle - table["low"].to_numpy(),
            "symmetric": False,
            "thickness": 2,
            "width": 4,
        },
        "marker": {"size": 9, "color": theme.colour(label), "symbol": SYMBOLS[place % len(SYMBOLS)]},
        "customdata": table[["estimator", "low", "high", "draws"]].to_numpy(),
        "hovertemplate": "%{customdata[0]}<br>%{x:.2f} (95 % interval %{customdata[1]:.2f} to %{customdata[2]:.2f})"
        f"<br>%{{customdata[3]}} draws: {theme.text(label)}<extra></extra>",
    }
