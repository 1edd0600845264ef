"""What first order predicts, against what was measured: of one step, and of what a run did to the kept samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from ..studies.collateral import collateral, damage_by_class, damage_by_sample
from ..studies.one_step import OneStepCheck
from . import live, marks, theme
from .takes import of_a_run, takes


@takes(OneStepCheck, "what imu.one_step_check(task, model) gives")
def plot_one_step(check: OneStepCheck) -> go.Figure:
    """A dot per sample: predicted against measured change of the target's loss; on the line the prediction came true.

    Crosses are samples whose plain gradient step, the one that unlearning takes, moves the loss the other way than the
    influence says. ``customdata``: example.

    Args:
        check: from :func:`imu_lab.one_step_check`.
    """
    table = check.table
    opposed = np.sign(table["plain_measured"].to_numpy()) != np.sign(table["predicted"].to_numpy())
    hover = "example %{customdata}<br>predicted %{x:.3g} nats<br>measured %{y:.3g} nats<extra></extra>"
    traces = [
        marks.equal(marks.ends(table["predicted"])),
        _dots(table[~opposed], "plain step agrees", "circle", theme.colour("retain"), hover, len(table)),
        _dots(table[opposed], "plain step goes the other way", "x", theme.colour("forget"), hover, len(table)),
    ]
    words = "On the dotted line, each prediction came true."
    words += f" Correlation: {check.correlation:.4f}." if len(check) else ""
    axes = "predicted change of the loss, −η · influence (nats)", "measured change of the loss (nats)"
    return _drawn("Does the number come true?", words, traces, *axes)


@takes(
    pd.DataFrame,
    "the table of imu.collateral(run)",
    columns=("example", "label", "predicted", "measured", "lost"),
    made=of_a_run(collateral),
)
def plot_collateral(table: pd.DataFrame) -> go.Figure:
    """A dot per kept sample of :func:`imu_lab.collateral`: predicted against measured damage; crosses were lost.

    The line is where both agree. Where first order predicts nothing of a run, the margin before stands across.
    ``customdata``: example.
    """
    lost = table["lost"].to_numpy(dtype=bool)
    predicted = table["predicted"].notna().any() or not len(table)
    across = "predicted" if predicted else "margin_before"
    hover = _damage_hover(across)
    traces = [
        _dots(table[~lost], "still as before", "circle", theme.colour("retain"), hover, len(table), across),
        _dots(table[lost], "lost: right before, wrong after", "x", theme.colour("forget"), hover, len(table), across),
    ]
    words = f"{theme.number(lost.sum())} of {theme.number(len(table))} kept samples were lost. "
    words += "Higher means more damage." if predicted else "First order predicts nothing of such a run."
    line = [marks.equal(_common(table))] if predicted else []
    axes = (theme.titled(*describe(name)[:2]) for name in (across, "measured"))
    return _drawn("Collateral damage", words, line + traces, *axes)


@takes(
    pd.DataFrame,
    "the table of imu.damage_by_sample(run) or imu.ablate_pressure(run)",
    columns=("example", "label", "predicted", "measured", "intervention"),
    made=of_a_run(damage_by_sample),
)
def plot_damage_by_sample(table: pd.DataFrame) -> go.Figure:
    """A dot per forget sample: the damage that it does, predicted and measured. ``customdata``: example.

    The line is where both agree. Samples that were not measured are not drawn.

    Args:
        table: what :func:`imu_lab.damage_by_sample` gave, where each is measured alone, or :func:`imu_lab.ablate_pressure`.
    """
    measured = table[table["measured"].notna()]
    how = theme.text(", ".join(measured["intervention"].unique())) if "intervention" in measured else ""
    dots = _dots(
        measured, "a forget sample", "circle", theme.colour("forget"), _damage_hover("predicted"), len(measured)
    )
    words = f"{theme.number(len(measured))} forget samples measured{f', {how}' if how else ''}. "
    words += "Higher means more damage to the kept samples."
    axes = (theme.titled(*describe(name)[:2]) for name in ("predicted", "measured"))
    return _drawn("Who does the damage", words, [marks.equal(_common(measured)), dots], *axes)


def _drawn(title: str, words: str, traces: list[dict[str, Any]], across: str, up: str) -> go.Figure:
    frame = dict(
        xaxis=dict(anchor="y", title=dict(text=across)), yaxis=dict(anchor="x", title=dict(text=up)), showlegend=True
    )
    return live.draw(live.Content(traces, {"title.text": live.heading(title, words)}, frame))


def _common(table: pd.DataFrame) -> list[float]:
    """The ends of the range that both damages have."""
    both = table[["predicted", "measured"]].dropna().to_numpy(dtype=float)
    return [max(both.min(0)), min(both.max(0))] if len(both) else []


def _damage_hover(across: str) -> str:
    return (
        f"example %{{customdata}}, %{{text}}<br>{theme.measured('%{x:.4g}', across)}<br>"
        "measured damage %{y:.4g} nats<extra></extra>"
    )


def _dots(
    rows: pd.DataFrame, role: str, symbol: str, colour: str, hover: str, among: int, across: str = "predicted"
) -> dict[str, Any]:
    words = {"text": [theme.text(label) for label in rows["label"]]} if "label" in rows else {}
    place = rows[across].to_numpy(dtype=float), rows["measured"].to_numpy(dtype=float)
    about = dict(customdata=rows["example"].to_numpy(), hovertemplate=hover, **words)
    return marks.dots(role, *place, colour=colour, symbol=symbol, among=among, **about)


def _is_damage(table: pd.DataFrame) -> bool:
    """Whether a table is of numbers alone, a row for each of some samples by their ids."""
    ids = table.index.dtype.kind in "iu" and not isinstance(table.index, pd.RangeIndex)
    return table.empty or ids and all(kind.kind == "f" for kind in table.dtypes)


@takes(pd.DataFrame, "the table of imu.damage_by_class(run)", fits=_is_damage, made=of_a_run(damage_by_class))
def plot_damage(by_class: pd.DataFrame, *, count: int = 40) -> go.Figure:
    """Heat map: for the forget samples that do most, the damage that first order predicts on each kept class.

    Args:
        by_class: what :func:`imu_lab.damage_by_class` gave.
        count: how many forget samples, the most damaging on top.
    """
    order = by_class.abs().max(axis=1).sort_values(ascending=False, kind="stable").index[:count][::-1]
    shown = by_class.loc[order]
    top = float(np.abs(shown.to_numpy()).max()) if shown.size else 1.0
    classes, rows = (list(range(size)) for size in shown.shape[::-1])
    names = [theme.text(name) for name in shown.columns]
    heat = dict(
        type="heatmap",
        meta={"role": "damage"},
        x=classes,
        y=rows,
        z=shown.to_numpy(),
        zmin=-(top or 1.0),
        zmax=top or 1.0,
        customdata=np.repeat(shown.index.to_numpy()[:, None], shown.shape[1], 1),
        text=[names] * len(shown),
        colorscale=theme.REVERSED,
        colorbar=marks.colour_bar("predicted damage (nats)"),
        hovertemplate="example %{customdata}<br>on class %{text}: %{z:.4g} nats<extra></extra>",
    )
    words = "First order, mean over the kept samples of each class. Orange means damage; the most is on top."
    layout = {
        "title.text": live.heading("Who hurts whom", words),
        "xaxis.tickvals": classes,
        "xaxis.ticktext": names,
        "yaxis.tickvals": rows,
        "yaxis.ticktext": [str(example) for example in shown.index],
    }
    frame = dict(
        xaxis=dict(anchor="y", title=dict(text="kept class")),
        yaxis=dict(anchor="x", title=dict(text="forget sample (index)")),
    )
    return live.draw(live.Content([heat], layout, frame))
