"""Two runs side by side, in five views: a shared plane, prediction matrices, gaps by class, layers, and an attack."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..measures.membership import SCORES
from ..studies.side_by_side import A, B, SideBySide
from . import live, marks, theme
from .takes import takes

COLOURS = {A: "#8e6bb8", B: "#A9772B"}  # not those of splits, which stand beside them
DASHES = {A: "solid", B: "8px,3px", "original": "2px,4px", "retrained": theme.REFERENCE_DASH}
MATRICES = (A, B, "retrained")
BINS = 40
BARE = dict(xaxis=dict(visible=False), yaxis=dict(visible=False))  # no axes where nothing is shown


@takes(SideBySide, "what imu.side_by_side(run_a, run_b) gives")
def plot_side_by_side(
    record: SideBySide, *, view: str = "plane", score: str = "loss", model: str = A, threshold: float | None = None
) -> go.Figure:
    """One view of two runs.

    Args:
        view: ``"plane"`` (the same samples as both models answer them, in one plane), ``"matrices"`` (answers by true class),
            ``"classes"`` (gaps to the retrained model by class), ``"layers"`` (likeness of features to the retrained
            model's), or ``"attack"`` (an attack's scores with its threshold).
        score, model, threshold: of the attack; the threshold is the median of all scores by default.

    Raises:
        UnknownName: no such view, score or model.
    """
    return live.draw(content(record, view, score, model, threshold))


def content(
    record: SideBySide, view: str, score: str = "loss", model: str = A, threshold: float | None = None
) -> live.Content:
    """What the figure of a view shows."""
    if view not in VIEWS:
        raise unknown("view", view, VIEWS)
    needed = {"attack": "scores"}.get(view, view)
    if needed in record.missing:
        why = live.note("<br>".join(map(theme.text, wrap(record.missing[needed], 60))))
        return live.Content([], {"title.text": live.heading(TITLES[view]), "annotations": [why]}, BARE)
    if view == "attack":
        return _attack(record, score, model, threshold)
    return VIEWS[view](record)


def label(record: SideBySide, name: str) -> str:
    """``A: imu · uniform``, ready to be drawn."""
    return theme.text(f"{name}: {record.names[name]}" if name in record.names else name)


def _plane(record: SideBySide) -> live.Content:
    """A panel for each run; lines join nothing, for the samples are the same and the plane is one."""
    traces, titles = [], []
    for number, name in enumerate((A, B)):
        axis, mine = marks.axis(number), record.plane[record.plane["model"] == name]
        for split, rows in mine.groupby("split", sort=False):
            words = [f"{each}, answered {answer}" for each, answer in zip(rows["label"], rows["answer"])]
            traces.append(
                marks.dots(
                    str(split),
                    rows["x"].to_numpy(),
                    rows["y"].to_numpy(),
                    colour=theme.colour(str(split)),
                    symbol=theme.symbol(str(split)),
                    among=len(record.plane),
                    size=5,
                    opacity=0.6,
                    name=theme.text(split),
                    legendgroup=theme.text(split),
                    showlegend=not number,
                    customdata=np.column_stack([rows["example"], [theme.text(each) for each in words]]),
                    hovertemplate="sample %{customdata[0]}, labelled %{customdata[1]}<extra></extra>",
                    xaxis=f"x{axis}",
                    yaxis=f"y{axis}",
                )
            )
        titles.append(live.panel(axis, theme.text(name), 13))
    frame = _panels(2, "first direction (nats)", "second direction (nats)")
    for side in "xy":
        reach = _reach(record.plane.loc[record.plane["model"].isin([A, B]), side])
        frame |= {
            f"{side}axis{marks.axis(at)}": frame[f"{side}axis{marks.axis(at)}"] | {"range": reach} for at in range(2)
        }
    words = "The same samples as A and B answer them, in one plane"
    return live.Content(traces, {"title.text": live.heading(TITLES["plane"], words), "annotations": titles}, frame)


def _reach(values: pd.Series) -> list[float]:
    room = 0.06 * (np.ptp(values) or 1.0)
    return [float(values.min() - room), float(values.max() + room)]


def _matrices(record: SideBySide) -> live.Content:
    """Shares of answers by true class, for classes that have samples."""
    names = [name for name in MATRICES if name in record.matrices]
    traces, titles = [], []
    for number, name in enumerate(names):
        axis, counts = marks.axis(number), record.matrices[name]
        counts = counts[counts.sum(axis=1) > 0]
        shares = counts.div(counts.sum(axis=1), axis=0)
        traces.append(
            dict(
                type="heatmap",
                meta={"role": "matrix", "model": name},
                x=[theme.text(each) for each in counts.columns],
                y=[theme.text(each) for each in counts.index],
                z=shares.to_numpy(),
                customdata=counts.to_numpy(),
                zmin=0,
                zmax=1,
                colorscale=theme.SEQUENTIAL,
                showscale=not number,
                colorbar=marks.colour_bar("share of the class's samples"),
                hovertemplate="truth %{y}, answered %{x}<br>share %{z:.3f}, %{customdata} samples<extra></extra>",
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
            )
        )
        titles.append(live.panel(axis, theme.text(name), 13))
    frame = _panels(len(names), "answer (class)", "true class (class)")
    for side, at in ((side, at) for side in "xy" for at in range(len(names))):
        frame[f"{side}axis{marks.axis(at)}"] |= {"type": "category"}
    words = f"To samples of {theme.text(record.split)}; the goal is the retrained model"
    return live.Content(traces, {"title.text": live.heading(TITLES["matrices"], words), "annotations": titles}, frame)


def _classes(record: SideBySide) -> live.Content:
    """A dot per class and run: how far its accuracy on unseen samples is from the retrained model's."""
    rows = record.classes[~record.classes["seen"].astype(bool)]
    known = bool(rows["goal"].notna().any())
    traces = [
        dict(
            type="scatter",
            mode="markers",
            meta={"role": "class", "model": name},
            name=label(record, name),
            x=(rows[f"{name} gap"] if known else rows[name]).to_numpy(dtype=float),
            y=[theme.text(each) for each in rows["class"]],
            customdata=np.column_stack([rows[name], rows["samples"]]),
            marker=dict(color=COLOURS[name], symbol="circle" if name == A else "diamond-open", size=10),
            hovertemplate=f"<b>{label(record, name)}</b>, class %{{y}}<br>accuracy %{{customdata[0]:.3f}} on %{{customdata[1]}} "
            "unseen samples<br>%{x:+.3f}<extra></extra>",
        )
        for name in (A, B)
    ]
    what = "accuracy minus the retrained model's (share correct)" if known else "accuracy (share correct)"
    frame = dict(
        xaxis=dict(title=dict(text=what), zeroline=known, zerolinecolor=theme.INK),
        yaxis=dict(title=dict(text="class (class)"), type="category", autorange="reversed"),
    )
    words = (
        "On unseen samples of every class; 0 is the retrained model" if known else "On unseen samples of every class"
    )
    return live.Content(traces, {"title.text": live.heading(TITLES["classes"], words)}, frame)


def _layers(record: SideBySide) -> live.Content:
    """A line per run and split through the layers."""
    traces = [
        dict(
            type="scatter",
            mode="lines+markers",
            meta={"role": "layer", "model": name, "split": str(split)},
            name=f"{label(record, name)}, {theme.text(split)}",
            x=[theme.text(each) for each in rows["layer"]],
            y=rows[name].to_numpy(dtype=float),
            line=dict(color=theme.colour(str(split)), dash=DASHES[name], width=2),
            marker=dict(symbol="circle" if name == A else "diamond-open", size=8),
            hovertemplate=f"<b>{label(record, name)}</b>, layer %{{x}}<br>{theme.text(split)}: CKA %{{y:.4f}}<extra></extra>",
        )
        for split, rows in record.layers.groupby("split", sort=False)
        for name in (A, B)
    ]
    frame = dict(
        xaxis=dict(title=dict(text="layer (by name)"), type="category"),
        yaxis=dict(title=dict(text=theme.folded("linear CKA with the retrained model", "share"))),
    )
    words = "1 is the retrained model's features, up to a turn"
    return live.Content(traces, {"title.text": live.heading(TITLES["layers"], words)}, frame)


def _attack(record: SideBySide, score: str, model: str, threshold: float | None) -> live.Content:
    """How often each score is seen, of members and of others, and the line that an attack draws between them."""
    rows = record.scores[record.scores["model"] == model]
    at = float(rows[score].median()) if threshold is None else threshold
    got = record.rates(model, score, at)
    edges = np.histogram_bin_edges(record.scores[score], BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    traces = []
    for member, split, words in ((True, "forget", "members: the forget set"), (False, "test-forget", "never seen")):
        values = rows.loc[rows["member"] == member, score]
        share = np.histogram(values, edges)[0] / max(1, len(values))
        traces.append(
            dict(
                type="bar",
                meta={"role": "scores", "member": member},
                name=words,
                x=middles,
                y=share,
                width=np.diff(edges),
                marker=dict(color=theme.faint(theme.colour(split), 0.6), line=dict(width=0)),
                hovertemplate=f"<b>{words}</b><br>{theme.text(score)} about %{{x:.3g}}<br>share %{{y:.3f}}<extra></extra>",
            )
        )
    side = "at or above" if SCORES[score].sign > 0 else "at or below"
    rates = f"rightly of {theme.share(got['true'], 1)} of the members and wrongly of {theme.share(got['false'], 1)}"
    told = f"{label(record, model)}: {side} {at:.3g} an attack says 'member', {rates} of those never seen"
    layout = {"title.text": live.heading(TITLES["attack"], told), "shapes": [marks.upright(at, 2.0)]}
    quantity = describe(score)
    unit = SCORES[score].unit
    frame = dict(
        barmode="overlay",
        xaxis=dict(title=dict(text=theme.titled(quantity.title, unit))),
        yaxis=dict(title=dict(text="samples (share of each side)")),
    )
    return live.Content(traces, layout, frame)


def _panels(count: int, across: str, up: str) -> dict[str, Any]:
    """Panels beside each other."""
    gap = 0.06
    width = (1 - gap * (count - 1)) / max(1, count)
    frame: dict[str, Any] = dict(margin=dict(t=92))
    for number in range(count):
        axis, left = marks.axis(number), number * (width + gap)
        frame[f"xaxis{axis}"] = dict(domain=[left, left + width], anchor=f"y{axis}", title=dict(text=across))
        frame[f"yaxis{axis}"] = dict(anchor=f"x{axis}", title=dict(text=up if not number else ""))
    return frame


VIEWS: dict[str, Callable[..., live.Content]] = {
    "plane": _plane,
    "matrices": _matrices,
    "classes": _classes,
    "layers": _layers,
    "attack": _attack,
}
TITLES = {
    "plane": "Where both models put the same samples",
    "matrices": "What they answer",
    "classes": "Class by class",
    "layers": "How deep the edit goes",
    "attack": "Who an attack takes for a member",
}
