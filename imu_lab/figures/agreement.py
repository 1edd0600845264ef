"""How far estimators agree: on the order, from draw to draw, sample by sample; and what damping does to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from . import live, marks, theme
from .takes import takes


@takes(
    pd.DataFrame,
    "the table of imu.rank_correlations(scores)",
    fits=lambda table: list(table.index) == list(table.columns),
)
def plot_agreement(correlations: pd.DataFrame) -> go.Figure:
    """A square of rank correlations: 1 is the same order, 0 no relation, −1 the opposite order.

    Args:
        correlations: from :func:`imu_lab.rank_correlations`.
    """
    labels = [theme.text(name) for name in correlations.index]
    values, places = correlations.to_numpy(dtype=float), list(range(len(labels)))
    trace = {
        "type": "heatmap",
        "meta": {"role": "agreement"},
        "z": values,
        "x": places,
        "y": places,
        "customdata": [[[one, other] for other in labels] for one in labels],
        "zmin": -1,
        "zmax": 1,
        "colorscale": theme.DIVERGING,
        "text": np.where(np.isnan(values), "", np.char.mod("%.2f", values)),
        "texttemplate": "%{text}",
        "hovertemplate": "%{customdata[0]} and %{customdata[1]}<br>rank correlation %{z:.3f}<extra></extra>",
        "colorbar": marks.colour_bar("rank correlation (−1 to 1)"),
    }
    title = live.heading(
        "Do they put the samples in the same order?", "1: the same order. 0: no relation. −1: the opposite order."
    )
    return live.draw(live.Content([trace], {"title.text": title}, _square(places, labels)))


def _square(places: list[int], labels: list[str]) -> dict[str, Any]:
    axis = {"title": {"text": "estimator"}, "showgrid": False, "tickvals": places, "ticktext": labels}
    return {"xaxis": axis, "yaxis": axis | {"autorange": "reversed"}}


@takes(
    pd.DataFrame,
    "the table of imu.damping_effect(sweep)",
    columns=("damping", "correlation", "spearman", "indifferent"),
)
def plot_damping(effect: pd.DataFrame) -> go.Figure:
    """Agreement with the plain product of gradients at each damping: at 1 the preconditioner does nothing.

    Args:
        effect: from :func:`imu_lab.damping_effect`.
    """
    indifferent = effect.loc[effect["indifferent"], "damping"].min()
    traces = [_line(effect, "correlation", "imu"), _line(effect, "spearman", "uniform")]
    said = "At 1, the preconditioner does nothing."
    if indifferent == indifferent:
        said = f"From λ = {indifferent:g} on, the preconditioner does nothing."
    frame = {
        "xaxis": {
            "title": {"text": "damping λ (in the units of the Fisher diagonal)"},
            "type": "log",
            "exponentformat": "power",
        },
        "yaxis": {"title": {"text": "correlation with gradient-dot (−1 to 1)"}},
    }
    return live.draw(live.Content(traces, {"title.text": live.heading("What damping does", said)}, frame))


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
        "hovertemplate": f"damping λ = %{{x:g}}<br>correlation {names[column]} %{{y:.4f}}<extra></extra>",
    }


SYMBOLS = ("circle", "square", "diamond", "triangle-up")


@takes(
    pd.DataFrame,
    'tables of imu.rank_stability(draws) by what was drawn, such as {"training seeds": table}',
    columns=("estimator", "spearman", "low", "high", "draws"),
    by_label=True,
)
def plot_stability(tables: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Mean rank correlation between draws, with its 95 % interval; 1 is the same order every time.

    Args:
        tables: from :func:`imu_lab.rank_stability`, by what was drawn, such as ``"training seeds"``.
    """
    estimators = list(dict.fromkeys(name for table in tables.values() for name in table["estimator"]))
    traces = [
        _draws(label, table, estimators, place, len(tables)) for place, (label, table) in enumerate(tables.items())
    ]
    frame = {
        "xaxis": {
            "title": {"text": "rank correlation between draws (−1 to 1, mean over pairs)"},
            "range": [-0.35, 1.05],
        },
        "yaxis": marks.rows([theme.text(name) for name in estimators], "estimator"),
        "shapes": [marks.upright()],
        "showlegend": True,
    }
    title = live.heading(
        "Does the order survive another draw?", "Right: the same order every time. At 0, no more than chance."
    )
    return live.draw(live.Content(traces, {"title.text": title}, frame))


def _draws(label: str, table: pd.DataFrame, estimators: list[str], place: int, count: int) -> dict[str, Any]:
    """One kind of draw; kinds stand one under the other within an estimator's row."""
    middle = table["spearman"].to_numpy()
    about = table[["estimator", "low", "high", "draws"]].assign(estimator=table["estimator"].map(theme.text))
    return marks.dots(
        "stability",
        middle,
        [estimators.index(name) + 0.5 * ((place + 0.5) / count - 0.5) for name in table["estimator"]],
        colour=theme.colour(label),
        symbol=SYMBOLS[place % len(SYMBOLS)],
        size=9,
        meta={"role": "stability", "draw": label},
        name=theme.text(label),
        error_x=marks.interval(middle, table["low"], table["high"]),
        customdata=about.to_numpy(),
        hovertemplate="%{customdata[0]}<br>%{x:.2f} (95 % interval %{customdata[1]:.2f} to %{customdata[2]:.2f})"
        f"<br>%{{customdata[3]}} draws: {theme.text(label)}<extra></extra>",
    )


@takes(
    pd.DataFrame, "the table of imu.largest_disagreements(one, other)", columns=("example", "rank_one", "rank_other")
)
def plot_disagreements(table: pd.DataFrame, *, one: str = "one", other: str = "other") -> go.Figure:
    """A row per sample: a dot at its rank with one estimator, a square at its rank with the other, a line between.

    ``imu.gallery(task, table["example"])`` shows the samples themselves. ``customdata``: example.

    Args:
        table: from :func:`imu_lab.largest_disagreements`.
        one, other: what the two estimators are called.
    """
    names = {"rank_one": (one, "circle", theme.ASCEND), "rank_other": (other, "square", theme.SPLIT_COLOURS["retain"])}
    dots = [_ranks(table, column, *about) for column, about in names.items()]
    frame = {
        "xaxis": {"title": {"text": "rank (1 = most negative influence: pressed hardest)"}, "rangemode": "tozero"},
        "yaxis": marks.rows([str(example) for example in table["example"]], "sample (index)"),
        "showlegend": True,
    }
    title = live.heading(
        "Where two estimators disagree most", "Left means pressed harder. The largest difference in rank is on top."
    )
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


def _ranks(table: pd.DataFrame, column: str, name: str, symbol: str, colour: str) -> dict[str, Any]:
    return marks.dots(
        column,
        table[column].to_numpy(),
        np.arange(len(table)),
        colour=colour,
        symbol=symbol,
        size=10,
        name=theme.text(name),
        customdata=table["example"].to_numpy(),
        hovertemplate=f"example %{{customdata}}<br>{theme.text(name)}: rank %{{x:.0f}}<extra></extra>",
    )
