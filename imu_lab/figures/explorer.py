"""The map of the explorer: every sample at its place, the border of the model at one update, and what is selected."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..results import describe
from . import live, theme

# Faint areas, told apart by eye and by their border; a class keeps its colour from update to update.
AREAS = ("#0072B2", "#D55E00", "#009E73", "#C2619A", "#A9772B", "#5a6fd0", "#8f8f8f", "#7f8a35", "#823df5", "#178f8f")
OPACITY = 0.16
CLICKABLE = ("forget", "kept", "lost")


class Scene(NamedTuple):
    """What is drawn.

    Attributes:
        examples: (n,) ids, the forget set first. places: (n, 2) in the plane. labels: (n,) names.
        forgotten: (n,) whether each is to be forgotten.
        lost: (n,) kept samples that were right and are wrong now.
        colours: (f,) the quantity of the forget samples. colour_by: its name.
        selected: rows among the forget samples, or None for no selection.
        chosen: the row whose card is shown, or None.
        regions: places across, up, and (g, g) class numbers; None without a border.
        step: the update. about: how the plane was made.
    """

    examples: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    forgotten: np.ndarray
    lost: np.ndarray
    colours: np.ndarray
    colour_by: str
    selected: np.ndarray | None
    chosen: int | None
    regions: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    step: int
    about: str


def plot_map(scene: Scene) -> go.Figure:
    """Each sample as a dot that can be clicked or lassoed (``customdata``: example), over the areas of the classes."""
    return live.draw(_content(scene))


def update_map(figure: go.Figure, scene: Scene) -> go.Figure:
    """Show another update, colour or selection in a figure that :func:`plot_map` made; only what differs is sent."""
    return live.update(figure, _content(scene))


def _content(scene: Scene) -> live.Content:
    gone, kept = scene.forgotten, ~scene.forgotten & ~scene.lost
    traces = [
        _areas(scene),
        _dots(scene, "kept", kept, dict(size=4, color=theme.INK, opacity=0.45)),
        _dots(scene, "lost", scene.lost, dict(size=7, color=theme.colour("test-forget"), symbol="x")),
        _dots(scene, "forget", gone, _coloured(scene)),
        _ring(scene),
    ]
    layout = {
        "title.text": live.heading(f"After update {scene.step}", _subtitle(scene)),
        "coloraxis.cmin": 0 if describe(scene.colour_by).unit == "probability" else None,
        "coloraxis.cmax": 1 if describe(scene.colour_by).unit == "probability" else None,
        "coloraxis.colorbar.title.text": theme.titled(*describe(scene.colour_by)[:2]).replace(" (", "<br>("),
    }
    quiet = dict(showticklabels=False, ticks="", showgrid=False)
    frame = dict(xaxis=dict(anchor="y", **quiet), yaxis=dict(anchor="x", **quiet), dragmode="lasso", showlegend=False)
    return live.Content(traces, layout, frame)


def _subtitle(scene: Scene) -> str:
    words = [theme.text(scene.about)]
    if scene.regions is not None:
        words.append("areas: the class that the model names on this plane")
    if scene.lost.any():
        words.append(f"{theme.number(scene.lost.sum())} kept samples lost (crosses)")
    return " · ".join(words)


def _areas(scene: Scene) -> dict[str, Any]:
    x, y, classes = scene.regions if scene.regions is not None else (np.zeros(1), np.zeros(1), np.zeros((1, 1)))
    count = len(AREAS)
    scale = [[at, AREAS[k]] for k in range(count) for at in (k / count, (k + 1) / count)]
    return dict(type="heatmap", meta={"role": "areas"}, x=x, y=y, z=classes % count, zmin=-0.5, zmax=count - 0.5,
                colorscale=scale, showscale=False, hoverinfo="skip",
                opacity=OPACITY if scene.regions is not None else 0.0)  # fmt: skip


def _dots(scene: Scene, role: str, mine: np.ndarray, marker: dict[str, Any]) -> dict[str, Any]:
    found = dict(
        type="scattergl",
        mode="markers",
        meta={"role": role},
        name=role,
        x=scene.places[mine, 0],
        y=scene.places[mine, 1],
        customdata=scene.examples[mine],
        marker=marker,
        hovertemplate="example %{customdata}<extra>" + role + "</extra>",
    )
    if role == "forget":
        found["selectedpoints"] = None if scene.selected is None else scene.selected.tolist()  # plotly.js wants a list
        found["unselected"] = dict(marker=dict(opacity=0.12))
    return found


def _coloured(scene: Scene) -> dict[str, Any]:
    return dict(size=7 if scene.forgotten.sum() < 2000 else 5, color=scene.colours, coloraxis="coloraxis")


def _ring(scene: Scene) -> dict[str, Any]:
    at = [] if scene.chosen is None else [scene.chosen]
    return dict(type="scattergl", mode="markers", meta={"role": "chosen"}, x=scene.places[at, 0], y=scene.places[at, 1],
                marker=dict(size=17, symbol="circle-open", color="#D55E00", line=dict(width=3)),
                hoverinfo="skip")  # fmt: skip
