"""Who gets the pressure: its share by how well the model knew the samples, rule by rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from . import live, theme


def plot_pressure(shares: Mapping[str, pd.DataFrame]) -> go.Figure:
    """A line per rule over the parts of the forget set, from worst to best known; level is uniform pressure.

    Args:
        shares: from :func:`imu_lab.pressure_shares`, by rule; all with the same number of parts.
    """
    tables = list(shares.values())
    parts = tables[0]["part"].to_numpy() if tables else []
    ticks = [f"{part}<br>p(y) {_between(low, high)}" for part, low, high in _parts(tables[0])] if tables else []
    frame = {
        "xaxis": {
            "title": {"text": "part of the forget set, 1 = worst known (index, probability)"},
            "tickvals": list(parts),
            "ticktext": ticks,
        },
        "yaxis": {"title": {"text": "share of all weight"}, "tickformat": ".0%", "rangemode": "tozero"},
        "shapes": [
            {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 1 / len(parts), "y1": 1 / len(parts),
             "line": {"color": theme.INK, "width": 1, "dash": "dot"}}
        ] if len(parts) else [],
        "showlegend": True,
    }  # fmt: skip
    title = live.heading("Who gets the pressure", "dotted: an equal share for every part")
    traces = [_line(rule, table) for rule, table in shares.items()]
    return live.draw(live.Content(traces, {"title.text": title}, frame))


def _parts(table: pd.DataFrame) -> list[tuple]:
    return list(table[["part", "confidence_low", "confidence_high"]].itertuples(index=False, name=None))


def _between(low: float, high: float) -> str:
    """A range with as many decimals as tell its ends apart; one number where six do not."""
    for decimals in range(2, 7):
        ends = f"{low:.{decimals}f}", f"{high:.{decimals}f}"
        if ends[0] != ends[1]:
            return " to ".join(ends)
    return f"{low:.2f}"


def _line(rule: str, table: pd.DataFrame) -> dict[str, Any]:
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
