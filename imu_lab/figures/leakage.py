"""Who else is damaged: a map of authors (labels), forgotten ones first, by whose facts were pressed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..studies.leakage import ALL, MEASURES, RETRAINED, leakage
from . import live, marks, theme
from .takes import of_a_run, takes

UNITS = {"loss": ("loss", "nats"), "probability": ("probability", "share"), "right": ("right answers", "share")}
NEEDED = ("pressed", "label", "forgotten", "samples")


@takes(pd.DataFrame, "the table of imu.leakage(run)", columns=NEEDED, made=of_a_run(leakage))
def plot_leakage(table: pd.DataFrame, *, value: str = "probability") -> go.Figure:
    """A map of changes: a column for each author (label), a row for what was pressed, and the retrained model's row below.

    Left of the line are the forgotten authors, right of it the kept ones, each group with the most damaged first. The goal
    is the lowest row, where there is one: what a model changes that was never told of the forgotten authors.

    Args:
        table: from :func:`imu_lab.leakage`.
        value: ``"probability"``, ``"loss"`` or ``"right"``.

    Raises:
        UnknownName: another value.
    """
    if value not in MEASURES:
        raise unknown("value of this map", value, MEASURES)
    return live.draw(_content(table, value))


def _content(table: pd.DataFrame, value: str) -> live.Content:
    title, unit = UNITS[value]
    if not len(table):
        axes = dict(xaxis=dict(title=dict(text="whose samples")), yaxis=dict(title=dict(text="pressed")))
        return live.Content([], {"title.text": "No labels to show"}, axes)
    columns = _columns(table, value)
    rows = list(dict.fromkeys([ALL, *table["pressed"]]))
    rows = [name for name in rows if name in set(table["pressed"]) and name != RETRAINED]
    rows += [RETRAINED] if (table["pressed"] == RETRAINED).any() else []
    forgotten = sum(columns.index.get_level_values("forgotten"))
    words = "Left of the line: forgotten; right: kept, the most damaged first"
    goal = "The goal is the lowest row" if RETRAINED in rows else ""
    layout = {
        "title.text": live.heading(f"Who else is damaged: change of the {title}", words, goal),
        "shapes": [marks.upright(forgotten - 0.5, 2.0)] if 0 < forgotten < len(columns) else [],
    }
    return live.Content([_map(table, columns, rows, value)], layout, _frame(columns, rows))


def _columns(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """``forgotten, label`` in the order in which they are drawn: by their change in the first row."""
    first = table[table["pressed"] == table["pressed"].iloc[0]].set_index(["forgotten", "label"])
    change = first[f"{value}_change"] * (1 if value == "loss" else -1)
    order = pd.DataFrame({"kept": [not gone for gone, _ in first.index], "damage": -change.to_numpy()}, first.index)
    return order.sort_values(["kept", "damage"], kind="stable")


def _map(table: pd.DataFrame, columns: pd.DataFrame, rows: list[str], value: str) -> dict[str, Any]:
    title, unit = UNITS[value]
    whole = table.set_index(["pressed", "forgotten", "label"])
    parts = [whole.loc[name].reindex(columns.index) for name in rows]
    change = np.stack([part[f"{value}_change"].to_numpy(dtype=float) for part in parts])
    known = np.abs(change[np.isfinite(change)])
    most = float(known.max()) if len(known) and known.max() > 0 else 1.0
    sides = ["forgotten" if gone else "kept" for gone, _ in columns.index]
    labels = [theme.text(label) for _, label in columns.index]
    about = np.array(
        [
            [
                (theme.text(name), label, side, f"{before:.4g}", f"{after:.4g}", f"{count:.0f}")
                for label, side, before, after, count in zip(
                    labels, sides, part[f"{value}_before"], part[f"{value}_after"], part["samples"]
                )
            ]
            for name, part in zip(rows, parts)
        ],
        dtype=object,
    )
    return dict(
        type="heatmap",
        meta={"role": "change", "value": value},
        z=change,
        x=np.arange(len(columns)),
        y=np.arange(len(rows)),
        customdata=about,
        colorscale=theme.DIVERGING if value != "loss" else theme.REVERSED,
        zmin=-most,
        zmax=most,
        colorbar=marks.colour_bar(f"change of the {title} ({unit})"),
        hovertemplate="<b>%{customdata[1]}</b>, %{customdata[2]}, %{customdata[5]} samples<br>"
        f"pressed: %{{customdata[0]}}<br>{title} %{{customdata[3]}} to %{{customdata[4]}} ({unit})<extra></extra>",
    )


def _frame(columns: pd.DataFrame, rows: list[str]) -> dict[str, Any]:
    labels = [theme.text(label) for _, label in columns.index]
    across = dict(tickvals=list(range(len(labels))), ticktext=labels, tickangle=-90, tickfont=dict(size=9))
    up = marks.rows([theme.text(name) for name in rows], "pressed", showgrid=False)
    return dict(
        xaxis=dict(title=dict(text="whose samples"), showgrid=False, **across),
        yaxis=up,
    )
