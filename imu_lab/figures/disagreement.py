"""The samples on which two estimators disagree most: each sample's place with one, and with the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import live, theme


def plot_disagreements(table: pd.DataFrame, *, one: str = "one", other: str = "other") -> go.Figure:
    """A row per sample: a dot at its rank with one estimator, a square at its rank with the other, a line between.

    ``imu.gallery(task, table["example"])`` shows the samples themselves. ``customdata``: example.

    Args:
        table: from :func:`imu_lab.largest_disagreements`.
        one, other: what the two estimators are called.
    """
    rows = np.arange(len(table))
    names = {"rank_one": (one, "circle", theme.ASCEND), "rank_other": (other, "square", theme.SPLIT_COLOURS["retain"])}
    dots = [_dots(table, column, *about) for column, about in names.items()]
    frame = {
        "xaxis": {"title": {"text": "rank (1 = most negative influence: pressed hardest)"}, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": "sample (index)"},
            "tickvals": rows.tolist(),
            "ticktext": [str(example) for example in table["example"]],
            "range": [len(table) - 0.5, -0.5],
        },
        "showlegend": True,
    }
    title = live.heading("Where two estimators disagree most", "largest difference in rank on top")
    return live.draw(live.Content([_between(table), *dots], {"title.text": title}, frame))


def _between(table: pd.DataFrame) -> dict[str, Any]:
    """One line per sample, broken between samples."""
    ends = table[["rank_one", "rank_other"]].to_numpy(dtype=float)
    broken = np.column_stack([ends, np.full(len(ends), np.nan)]).ravel()
    return {
        "type": "scatter",
        "mode": "lines",
        "meta": {"role": "between"},
        "x": broken,
        "y": np.repeat(np.arange(len(table)), 3),
        "line": {"color": theme.INK, "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _dots(table: pd.DataFrame, column: str, name: str, symbol: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "meta": {"role": column},
        "name": theme.text(name),
        "x": table[column].to_numpy(),
        "y": np.arange(len(table)),
        "customdata": table["example"].to_numpy(),
        "marker": {"size": 10, "symbol": symbol, "color": colour},
        "hovertemplate": f"example %{{customdata}}<br>{theme.text(name)}: rank %{{x:.0f}}<extra></extra>",
    }
