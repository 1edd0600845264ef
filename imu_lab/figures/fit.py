"""Influence against how well the model knows each sample: is a large influence anything but a bad fit?"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Influence
from . import live, theme
from .influence import MANY

KNOWN = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)  # where the axis of p(y) has its ticks
FARTHEST = 1e-7  # 1 − p(y) below which samples stand together: single precision knows no more


def plot_fit(scores: Influence) -> go.Figure:
    """A dot per forget sample: its influence against p(y), the model's probability of its label.

    The axis of p(y) is logarithmic in 1 − p(y): most samples are well known, and 0.99 and 0.9999 are far apart.

    ``customdata``: example and p(y).

    Raises:
        UnknownName: scores that do not carry the confidence.
    """
    if "confidence" not in scores.context:
        raise unknown("column of the scores", "confidence", list(scores.context.columns))
    confidence = scores.context["confidence"].to_numpy(dtype=float)
    negative = scores.values < 0
    traces = [
        _dots(scores, confidence, chosen, role) for chosen, role in ((negative, "ascend"), (~negative, "dropped"))
    ]
    layout = {"title.text": live.heading("Influence against fit", "left: samples that the model hardly knows")}
    frame = {
        "xaxis": {
            "title": {"text": "p(y) before unlearning (probability)"},
            "type": "log",
            "autorange": "reversed",
            "tickvals": [1 - known for known in KNOWN],
            "ticktext": [f"{known:g}" for known in KNOWN],
        },
        "yaxis": {"title": {"text": f"{describe('influence').title} (negative: ascend)"}, "zeroline": True},
        "showlegend": True,
    }
    return live.draw(live.Content(traces, layout, frame))


def _dots(scores: Influence, confidence: np.ndarray, chosen: np.ndarray, role: str) -> dict[str, Any]:
    return {
        "type": "scattergl" if len(confidence) > MANY else "scatter",
        "mode": "markers",
        "meta": {"role": role},
        "name": role,
        "x": np.maximum(1 - confidence[chosen], FARTHEST),
        "y": scores.values[chosen],
        "customdata": np.column_stack([scores.frame["example"].to_numpy()[chosen], confidence[chosen]]),
        "marker": {
            "size": 7,
            "symbol": "circle" if role == "ascend" else "x",
            "color": theme.ASCEND if role == "ascend" else theme.DROPPED,
        },
        "hovertemplate": f"example %{{customdata}}<br>p(y) %{{x:.3f}}<br>influence %{{y:.4g}}<extra>{role}</extra>",
    }
