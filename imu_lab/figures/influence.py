"""Influences: how they are distributed, which samples deserve pressure and which are dropped; and how they go with fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Influence
from . import live, marks, theme
from .takes import takes

KNOWN = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)  # where the axis of p(y) has its ticks
SIDES = {"ascend": (theme.ASCEND, "circle"), "dropped": (theme.DROPPED, "x")}  # of zero: colour, marker
FARTHEST = 1e-7  # 1 − p(y) below which samples stand together: single precision knows no more


class InfluenceInfo(NamedTuple):
    """What is drawn.

    Attributes:
        edges: (b + 1,) bin edges; one of them is 0.
        counts: (b,) samples in each bin.
        values: (n,) influences, sorted from the most negative.
        examples: (n,) their example ids.
        colours: (n,) the quantity that colours them, or None.
        colour_by: its name.
        opposed: share of samples whose plain gradient step has the other sign; NaN if unknown.
    """

    edges: np.ndarray
    counts: np.ndarray
    values: np.ndarray
    examples: np.ndarray
    colours: np.ndarray | None
    colour_by: str | None
    opposed: float


@takes(Influence, "what imu.influence(task, model) gives")
def plot_influence(scores: Influence, *, colour_by: str | None = None) -> go.Figure:
    """Histogram of the influences, and below it every sample as a dot that can be clicked (``customdata``: example).

    Args:
        scores: the record.
        colour_by: a column of ``scores.context``, such as ``"loss"``, that colours the dots.
    """
    return live.draw(_content(_influence_info(scores, colour_by)))


def update_influence(figure: go.Figure, scores: Influence, *, colour_by: str | None = None) -> go.Figure:
    """Show other influences in a figure that :func:`plot_influence` made."""
    return live.update(figure, _content(_influence_info(scores, colour_by)))


def _influence_info(scores: Influence, colour_by: str | None = None) -> InfluenceInfo:
    """Sorts and counts; samples without a finite influence are left out."""
    columns = [name for name in scores.context.columns if name != "example"]
    if colour_by is not None and colour_by not in columns:
        raise unknown("column to colour by", colour_by, columns)
    values = np.asarray(scores.values, dtype=float)
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    edges = _bins(values[order])
    return InfluenceInfo(
        edges,
        np.histogram(values[order], edges)[0],
        values[order],
        scores.frame["example"].to_numpy()[order],
        None if colour_by is None else scores.context[colour_by].to_numpy(dtype=float)[order],
        colour_by,
        scores.opposed if len(order) else float("nan"),
    )


def _bins(values: np.ndarray) -> np.ndarray:
    """Edges of 10 to 60 equal bins that cover the values and 0, with 0 on an edge: no bar holds both signs."""
    if not len(values) or not np.any(values):
        return np.array([-1.0, 0.0, 1.0])
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    spread = np.subtract(*np.percentile(values, [75, 25]))
    width = 2 * spread / len(values) ** (1 / 3)  # Freedman and Diaconis
    width = float(np.clip(width, (high - low) / 60, (high - low) / 10))
    below, above = int(-low // width) + (low < 0), int(high // width) + 1 if high > 0 else 0
    return width * np.arange(-below, above + 1)


def _content(info: InfluenceInfo) -> live.Content:
    negative = info.values < 0
    quantity = describe("influence")
    layout = {
        "title.text": live.heading(_headline(int(negative.sum()), len(negative)), _subtitle(info)),
        "annotations": _annotations(int(negative.sum()), len(negative)),
        "coloraxis.colorbar.title.text": _colour_title(info.colour_by),
        "xaxis2.title.text": f"{theme.titled(quantity.title, quantity.unit)}; negative: ascend on this sample",
    }
    ranks = np.arange(1, len(negative) + 1)
    traces = [_bars(info), _dots(info, ranks, negative, "ascend"), _dots(info, ranks, ~negative, "dropped")]
    return live.Content(traces, layout, _frame())


def _bars(info: InfluenceInfo) -> dict[str, Any]:
    """The histogram; bars left of zero in the colour of ascent."""
    left, right = info.edges[:-1], info.edges[1:]
    between = "from %{customdata[0]:.4g} to %{customdata[1]:.4g}"
    return dict(
        type="bar",
        meta={"role": "histogram"},
        name="samples",
        x=(left + right) / 2,
        y=info.counts,
        width=right - left,
        customdata=np.column_stack([left, right]),
        marker=dict(color=[theme.ASCEND if edge < 0 else theme.DROPPED for edge in left], line=dict(width=0)),
        hovertemplate=f"%{{y}} samples with an<br>{theme.measured(between, 'influence')}<extra></extra>",
        showlegend=False,
    )


def _dots(info: InfluenceInfo, ranks: np.ndarray, chosen: np.ndarray, role: str) -> dict[str, Any]:
    """One clickable dot per sample of one sign."""
    colour, symbol = SIDES[role]
    return marks.dots(
        role,
        info.values[chosen],
        ranks[chosen],
        colour=colour if info.colours is None else info.colours[chosen],
        symbol=symbol,
        among=len(ranks),
        size=6,
        marker={} if info.colours is None else {"coloraxis": "coloraxis"},
        xaxis="x2",
        yaxis="y2",
        customdata=info.examples[chosen],
        hovertemplate=f"example %{{customdata}}<br>{theme.measured('%{x:.4g}', 'influence')}<br>rank %{{y}}"
        f"<extra>{role}</extra>",
        showlegend=False,
    )


def _headline(negative: int, count: int) -> str:
    if not count:
        return "No influences to show"
    of = f"{theme.number(negative)} of {theme.number(count)} samples"
    return f"{of} ({theme.share(negative, count)}) ask for pressure"


def _subtitle(info: InfluenceInfo) -> str:
    if not len(info.values) or not np.isfinite(info.opposed):
        return "Left of 0: a step up this sample's loss raises the loss of the whole forget set."
    opposed = theme.share(info.opposed, 1.0)
    return f"Left of 0: pressing it raises the whole set's loss. The plain gradient disagrees in sign for {opposed}."


def _annotations(negative: int, count: int) -> list[dict[str, Any]]:
    """What each side of zero means, written on that side."""
    side = dict(xref="x", yref="y domain", x=0, y=1, showarrow=False, font=dict(size=11), yanchor="bottom")
    return [
        side | dict(text=f"← ascend: {theme.number(negative)}", xanchor="right", xshift=-6),
        side | dict(text=f"dropped: {theme.number(count - negative)} →", xanchor="left", xshift=6),
    ]


def _colour_title(name: str | None) -> str:
    quantity = describe(name or "")
    return theme.titled(quantity.title, quantity.unit).replace(" (", "<br>(")


def _frame() -> dict[str, Any]:
    return dict(
        xaxis=dict(anchor="y", matches="x2", showticklabels=False, ticks=""),
        yaxis=dict(anchor="x", domain=[0.5, 0.97], title=dict(text="samples<br>(count per bin)"), rangemode="tozero"),
        xaxis2=dict(anchor="y2"),
        yaxis2=dict(anchor="x2", domain=[0, 0.42], title=dict(text="rank<br>(1 = lowest)"), tickformat=",d"),
        bargap=0,
        shapes=[marks.upright(0, 1.5, xref="x2")],
    )


@takes(Influence, "what imu.influence(task, model) gives")
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
        _known(scores, confidence, chosen, role) for chosen, role in ((negative, "ascend"), (~negative, "dropped"))
    ]
    layout = {
        "title.text": live.heading(
            "Influence against fit", "Left: samples that the model hardly knows. Below 0: pressed."
        )
    }
    frame = {
        "xaxis": {
            "title": {"text": "p(y) before unlearning (probability)"},
            "type": "log",
            "autorange": "reversed",
            "tickvals": [1 - known for known in KNOWN],
            "ticktext": [f"{known:g}" for known in KNOWN],
        },
        "yaxis": {"title": {"text": f"{theme.titled(*describe('influence')[:2])}; negative: ascend"}, "zeroline": True},
        "showlegend": True,
    }
    return live.draw(live.Content(traces, layout, frame))


def _known(scores: Influence, confidence: np.ndarray, chosen: np.ndarray, role: str) -> dict[str, Any]:
    colour, symbol = SIDES[role]
    return marks.dots(
        role,
        np.maximum(1 - confidence[chosen], FARTHEST),
        scores.values[chosen],
        colour=colour,
        symbol=symbol,
        among=len(confidence),
        customdata=np.column_stack([scores.frame["example"].to_numpy()[chosen], confidence[chosen]]),
        hovertemplate="example %{customdata[0]:.0f}<br>p(y) %{customdata[1]:.5f}<br>"
        f"{theme.measured('%{y:.4g}', 'influence')}<extra>{role}</extra>",
    )
