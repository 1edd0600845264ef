"""One small step per sample: what influence predicts of it, and what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..studies.one_step import OneStepCheck
from . import live, theme
from .influence import MANY


def plot_one_step(check: OneStepCheck) -> go.Figure:
    """A dot per sample: predicted against measured change of the target's loss; on the line the prediction came true.

    Crosses are samples whose plain gradient step, the one that unlearning takes, moves the loss the other way than the
    influence says. ``customdata``: example.

    Args:
        check: from :func:`imu_lab.one_step_check`.
    """
    table = check.table
    opposed = np.sign(table["plain_measured"].to_numpy()) != np.sign(table["predicted"].to_numpy())
    ends = [float(table["predicted"].min()), float(table["predicted"].max())] if len(table) else []
    line = {
        "type": "scatter",
        "mode": "lines",
        "meta": {"role": "equal"},
        "name": "predicted = measured",
        "x": ends,
        "y": ends,
        "line": {"color": theme.INK, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }
    traces = [
        line,
        _dots(table[~opposed], "plain step agrees", "circle", theme.SPLIT_COLOURS["retain"], len(table)),
        _dots(table[opposed], "plain step goes the other way", "x", theme.ASCEND, len(table)),
    ]
    frame = {
        "xaxis": {"title": {"text": "predicted change of the loss, −η · influence (nats)"}},
        "yaxis": {"title": {"text": "measured change (nats)"}},
        "showlegend": True,
    }
    words = f"correlation {check.correlation:.4f}" if len(check) else ""
    return live.draw(live.Content(traces, {"title.text": live.heading("Does the number come true?", words)}, frame))


def _dots(rows: pd.DataFrame, name: str, symbol: str, colour: str, count: int) -> dict[str, Any]:
    return {
        "type": "scattergl" if count > MANY else "scatter",
        "mode": "markers",
        "meta": {"role": name},
        "name": name,
        "x": rows["predicted"].to_numpy(),
        "y": rows["measured"].to_numpy(),
        "customdata": rows["example"].to_numpy(),
        "marker": {"size": 8, "symbol": symbol, "color": colour},
        "hovertemplate": "example %{customdata}<br>predicted %{x:.3g} nats<br>measured %{y:.3g} nats<extra></extra>",
    }
