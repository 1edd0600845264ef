"""What forgetting did to the kept samples: the damage that first order predicts against the damage measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from . import live, theme

MANY = 1500
LABELLED = 12  # classes that get a colour and a name of their own; more would be a rainbow


def plot_collateral(table: pd.DataFrame) -> go.Figure:
    """A dot per kept sample of :func:`imu_lab.collateral`: predicted against measured damage; crosses were lost.

    The line is where both agree. Where first order predicts nothing of a run, the margin before stands across.
    ``customdata``: example.
    """
    lost = table["lost"].to_numpy(dtype=bool)
    words = f"{theme.number(lost.sum())} of {theme.number(len(table))} kept samples lost"
    predicted = table["predicted"].notna().any()
    across = "predicted" if predicted else "margin_before"
    traces = [_dots(table[~lost], "still as before", "circle", theme.colour("retain"), len(table), across),
              _dots(table[lost], "lost: right before, wrong after", "x", theme.colour("forget"), len(table), across)]  # fmt: skip
    if predicted:
        return _drawn("Collateral damage", words, [_line(table), *traces], across)
    return _drawn("Collateral damage", f"{words} · first order predicts nothing of such a run", traces, across)


def plot_damage_by_sample(table: pd.DataFrame) -> go.Figure:
    """A dot per forget sample: the damage that it does, predicted and measured. ``customdata``: example.

    The line is where both agree. Samples that were not measured are not drawn.

    Args:
        table: what :func:`imu_lab.damage_by_sample` gave, where each is measured alone, or :func:`imu_lab.ablate_pressure`.
    """
    measured = table[table["measured"].notna()]
    how = ", ".join(measured["intervention"].unique()) if "intervention" in measured else ""
    dots = _dots(measured, "a forget sample", "circle", theme.colour("forget"), len(measured), "predicted")
    words = f"{theme.number(len(measured))} forget samples measured{f', {how}' if how else ''}"
    return _drawn("Who does the damage", words, [_line(measured), dots], "predicted")


def _drawn(title: str, words: str, traces: list[dict[str, Any]], across: str) -> go.Figure:
    frame = dict(
        xaxis=dict(anchor="y", title=dict(text=theme.titled(*describe(across)[:2]))),
        yaxis=dict(anchor="x", title=dict(text=theme.titled(*describe("measured")[:2]))),
        showlegend=True,
    )
    return live.draw(live.Content(traces, {"title.text": live.heading(title, words)}, frame))


def _line(table: pd.DataFrame) -> dict[str, Any]:
    """Where both damages are equal, over the range that both have."""
    both = table[["predicted", "measured"]].dropna().to_numpy(dtype=float)
    low, high = (max(both.min(0)), min(both.max(0))) if len(both) else (0.0, 1.0)
    return dict(type="scatter", mode="lines", meta={"role": "equal"}, name="predicted = measured", x=[low, high],
                y=[low, high], line=dict(color=theme.INK, width=1, dash="dot"), hoverinfo="skip")  # fmt: skip


def _dots(rows: pd.DataFrame, name: str, symbol: str, colour: str, count: int, across: str) -> dict[str, Any]:
    words = [theme.text(label) for label in rows["label"]]
    return dict(
        type="scattergl" if count > MANY else "scatter",
        mode="markers",
        meta={"role": name},
        name=name,
        x=rows[across].to_numpy(),
        y=rows["measured"].to_numpy(),
        customdata=rows["example"].to_numpy(),
        text=words,
        marker=dict(size=7, color=colour, symbol=symbol),
        hovertemplate=f"example %{{customdata}}, %{{text}}<br>{theme.text(describe(across).title)} %{{x:.4g}}<br>"
        "measured %{y:.4g} nats<extra></extra>",
    )


def plot_damage(by_class: pd.DataFrame, *, count: int = 40) -> go.Figure:
    """Heat map: for the forget samples that do most, the damage that first order predicts on each kept class.

    Args:
        by_class: what :func:`imu_lab.damage_by_class` gave.
        count: how many forget samples, the most damaging on top.
    """
    order = by_class.abs().max(axis=1).sort_values(ascending=False, kind="stable").index[:count][::-1]
    shown = by_class.loc[order]
    top = float(np.abs(shown.to_numpy()).max()) if shown.size else 1.0
    heat = dict(
        type="heatmap", meta={"role": "damage"}, z=shown.to_numpy(), x=[theme.text(name) for name in shown.columns],
        y=np.arange(len(shown)), zmin=-(top or 1.0), zmax=top or 1.0,
        customdata=np.repeat(shown.index.to_numpy()[:, None], shown.shape[1], 1),
        colorscale=[[at, colour] for (at, _), (_, colour) in zip(theme.DIVERGING, reversed(theme.DIVERGING))],
        colorbar=dict(title=dict(text="predicted damage (nats)", side="right", font=dict(size=12)), thickness=12,
                      outlinewidth=0),
        hovertemplate="example %{customdata}<br>on class %{x}: %{z:.4g} nats<extra></extra>",
    )  # fmt: skip
    layout = {
        "title.text": live.heading(
            "Who hurts whom", "first order, mean over the kept samples of each class; orange: damage"
        ),
        "yaxis.tickvals": np.arange(len(shown)).tolist(),
        "yaxis.ticktext": [str(example) for example in shown.index],
    }
    frame = dict(xaxis=dict(anchor="y", type="category", title=dict(text="kept class")),
                 yaxis=dict(anchor="x", title=dict(text="forget sample (index)")))  # fmt: skip
    return live.draw(live.Content([heat], layout, frame))
