"""Who holds a sample up, and who works against it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from . import live, theme
from .takes import takes

COLOURS = {"proponent": theme.ASCEND, "opponent": theme.colour("retain")}


@takes(pd.DataFrame, "the table of imu.proponents(matrix, example)", columns=("example", "influence", "role"))
def plot_proponents(table: pd.DataFrame, example: int) -> go.Figure:
    """A bar per forget sample: proponents of one sample to the left, opponents to the right, the strongest outside.

    ``imu.gallery(task, [example, *table["example"]])`` shows the samples themselves. ``customdata``: example.

    Args:
        table: from :func:`imu_lab.proponents`.
        example: the sample that they support or oppose, for the title.
    """
    return live.draw(_content(table, example))


def update_proponents(figure: go.Figure, table: pd.DataFrame, example: int) -> go.Figure:
    """Show those of another sample in a figure that :func:`plot_proponents` made."""
    return live.update(figure, _content(table, example))


def _content(table: pd.DataFrame, example: int) -> live.Content:
    ordered = table.sort_values("influence", kind="stable", ignore_index=True)
    traces = [_bars(ordered[ordered["role"] == role], role) for role in COLOURS]
    layout = {
        "title.text": live.heading(
            f"Who holds sample {theme.text(example)} up",
            "left, proponents: pressing one raises this sample's loss",
            "right, opponents: pressing one lowers it",
        ),
        "yaxis.tickvals": ordered.index.tolist(),
        "yaxis.ticktext": [str(each) for each in ordered["example"]],
        "yaxis.range": [len(ordered) - 0.5, -0.5],
    }
    frame = {
        "xaxis": {
            "title": {"text": f"influence on this sample's loss ({describe('influence').unit})"},
            "zeroline": True,
        },
        "yaxis": {"title": {"text": "forget sample (index)"}},
        "showlegend": True,
    }
    return live.Content(traces, layout, frame)


def _bars(rows: pd.DataFrame, role: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "meta": {"role": role},
        "name": role,
        "x": rows["influence"].to_numpy(),
        "y": rows.index.to_numpy(),
        "customdata": rows["example"].to_numpy(),
        "marker": {"color": COLOURS[role]},
        "hovertemplate": f"example %{{customdata}}<br>influence %{{x:.4g}}<extra>{role}</extra>",
    }
