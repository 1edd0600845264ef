"""Where people lie among each other, as several models see them: one panel for each, all in one plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..measures.retrieval import EmbeddingMap
from . import live, marks, theme
from .pictures import address, pictures_to_draw, tile
from .takes import takes

LOOKS = (("#0072B2", "square"), ("#009E73", "diamond"), ("#8e6bb8", "triangle-up"), ("#A9772B", "cross"))


@takes(EmbeddingMap, "what imu.embedding_map(task, models) gives")
def plot_embedding(known: EmbeddingMap) -> go.Figure:
    """A point for each held-out picture; the forgotten persons and those most like them stand out, with a portrait.

    All panels share one plane and one scale, so that a group that spreads or moves has really done so.

    Raises:
        ValueError: a map without pictures.
    """
    points = known.points
    if points.empty:
        raise ValueError("the map holds no pictures; make one with imu.embedding_map(task, models)")
    models = list(dict.fromkeys(points["model"]))
    traces, images, titles = [], [], []
    for number, model in enumerate(models):
        axis, mine = marks.axis(number), points[points["model"] == model]
        traces += [_trace(person, rows, axis, number == 0) for person, rows in _groups(mine)]
        if not number:  # colours tell who is who in the other panels
            images = [_portrait(known, mine, person, rows) for person, rows in _groups(mine) if person is not None]
        titles.append(live.panel(axis, theme.text(model), 13))
    layout = {
        "title.text": live.heading(
            "Who lies near whom",
            "Near means alike. The plane is the one in which the first model keeps the people in colour furthest apart.",
        ),
        "annotations": titles,
        "images": images,
    }
    return live.draw(live.Content(traces, layout, _frame(points, len(models))))


def _groups(points: pd.DataFrame) -> list[tuple[int | None, pd.DataFrame]]:
    """The others as one group (None), then each person that stands out, the forgotten last and so on top."""
    groups: list[tuple[int | None, pd.DataFrame]] = [(None, points[points["role"] == "other"])]
    for role in ("alike", "forgotten"):
        mine = points[points["role"] == role]
        groups += [(person, rows) for person, rows in mine.groupby("person")]
    return groups


def _look(person: int | None, role: str, among: int) -> dict[str, Any]:
    if person is None:
        return dict(color=theme.INK, symbol="circle", size=4, opacity=0.35)
    if role == "forgotten":
        return dict(color=theme.colour("forget"), symbol="star", size=12, opacity=0.95)
    colour, symbol = LOOKS[among % len(LOOKS)]
    return dict(color=colour, symbol=symbol, size=8, opacity=0.85)


def _trace(person: int | None, rows: pd.DataFrame, axis: str, legend: bool) -> dict[str, Any]:
    role = "other" if person is None else rows["role"].iloc[0]
    name = {"other": "everybody else", "forgotten": f"person {person}, to forget"}.get(role, f"person {person}")
    words = [f"person {p}, camera {c}" for p, c in zip(rows["person"], rows["camera"])]
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": role, "person": -1 if person is None else int(person)},
        name=name,
        legendgroup=name,
        showlegend=legend,
        x=rows["x"].to_numpy(),
        y=rows["y"].to_numpy(),
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        customdata=words,
        marker=_look(person, role, 0 if person is None else int(person)),
        hovertemplate="%{customdata}<extra></extra>",
    )


def _portrait(known: EmbeddingMap, everybody: pd.DataFrame, person: int, rows: pd.DataFrame) -> dict[str, Any]:
    """The person's first picture beside their points, on the side away from the middle of all."""
    colour = _look(person, rows["role"].iloc[0], person)["color"]
    source = address(pictures_to_draw(known.task, [rows["example"].iloc[0]], "test")[0], colour)
    tall = 0.28 * np.ptp(known.points["y"])
    middle, own = (table[["x", "y"]].mean().to_numpy() for table in (everybody, rows))
    outwards = (own - middle) / (np.linalg.norm(own - middle) or 1.0)
    away = ((rows[["x", "y"]].to_numpy() - own) @ outwards).max() + np.abs(outwards) @ (0.3 * tall, 0.55 * tall)
    ends = [_range(known.points[side].to_numpy()) for side in "xy"]  # within them, or an axis would cut it
    place = [np.clip(at, low + tall / 2, high - tall / 2) for at, (low, high) in zip(own + away * outwards, ends)]
    return tile(source, *place, tall, tall)


def _frame(points: pd.DataFrame, count: int) -> dict[str, Any]:
    """Panels side by side; one unit is as long across as upwards."""
    frame: dict[str, Any] = dict(height=440, margin=dict(t=92, b=72))
    ranges = {side: _range(points[side].to_numpy()) for side in "xy"}
    gap = 0.03
    width = (1 - gap * (count - 1)) / count
    for number in range(count):
        axis = marks.axis(number)
        left = number * (width + gap)
        plain = dict(showticklabels=False, ticks="", mirror=True)
        frame[f"xaxis{axis}"] = plain | dict(domain=[left, left + width], anchor=f"y{axis}", range=ranges["x"])
        frame[f"yaxis{axis}"] = plain | dict(anchor=f"x{axis}", range=ranges["y"], scaleanchor=f"x{axis}")
        frame[f"xaxis{axis}"]["title"] = dict(text="first direction (unit embeddings)")
    frame["yaxis"]["title"] = dict(text="second direction (unit embeddings)")
    return frame


def _range(values: np.ndarray) -> list[float]:
    room = 0.32 * np.ptp(values)
    return [float(values.min() - room), float(values.max() + room)]
