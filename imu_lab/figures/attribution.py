"""Where models look: pictures in grey, with what speaks for and against the true person laid over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from ..measures.attribution import Attribution
from ..tasks.protocol import offered
from . import live, theme
from .pictures import address, pictures_to_draw, tile
from .takes import takes

FULL = 0.9  # how much of the picture the strongest place covers
STRONGEST = 0.99  # quantile of |values| that has full colour, so that one place does not pale all others


@takes(Attribution, "what imu.gradcam(task, model) gives, one or several", several=True)
def plot_attribution(attributions: Attribution | Iterable[Attribution], *, pictures: int = 6) -> go.Figure:
    """One row per attribution, one column per picture, all on one scale; the first row shows the pictures themselves.

    Args:
        attributions: of the same pictures: before, after, and ``after - before``.
        pictures: how many to show, spread evenly over those there are.

    Raises:
        ValueError: no attribution or no picture, attributions of different pictures, or a task that does not show them.
    """
    several = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not several or not len(several[0]):
        raise ValueError("there are no pictures to show; make an attribution with imu.gradcam(task, model)")
    first = several[0]
    if any(not np.array_equal(first.examples, other.examples) for other in several):
        raise ValueError("these attributions are of different pictures; make them from the same examples")
    chosen = np.unique(np.linspace(0, len(first) - 1, min(pictures, len(first))).round().astype(int))
    pixels = _pictures(first, chosen)
    strongest = float(np.quantile(np.abs([each.maps[chosen] for each in several]), STRONGEST)) or 1.0
    images = [tile(address(picture), column, 0) for column, picture in enumerate(pixels)]
    for row, each in enumerate(several, 1):
        laid = [overlaid(picture, values / strongest) for picture, values in zip(pixels, each.maps[chosen])]
        images += [tile(address(picture), column, row) for column, picture in enumerate(laid)]
    truth = "class" if offered(first.task).ranked is None else "person"
    rows = ["picture", *(each.label for each in several)]
    return live.draw(_content(images, rows, len(chosen), strongest, truth))


def _pictures(seen: Attribution, chosen: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w, 3) of those that were looked at.

    Raises:
        ValueError: the task has none of this part of its data.
    """
    return pictures_to_draw(
        seen.task,
        seen.examples[chosen],
        seen.source,
        'lay the attribution over; its values are in .maps, and imu.gradcam(task, model, task.split("forget")) looks at '
        "training samples",
    )


def overlaid(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 3): the picture in pale grey under colours for values in [-1, 1]."""
    grey = 60 + 0.7 * pixels.mean(2, keepdims=True)
    low, _, high = (np.array(hex_to_rgb(colour), dtype=float) for _, colour in theme.DIVERGING)
    strength = FULL * np.abs(values)[..., None].clip(0, 1)
    return ((1 - strength) * grey + strength * np.where(values[..., None] < 0, low, high)).round().astype(np.uint8)


def _content(images: list[dict[str, Any]], rows: list[str], columns: int, strongest: float, truth: str) -> live.Content:
    layout = {
        "title.text": live.heading(
            f"Where the model looks for this {truth}",
            f"Blue speaks for the identity of the true {truth}, orange against it.",
        ),
        "images": images,
        "yaxis.tickvals": list(range(len(rows))),
        "yaxis.ticktext": [theme.text(row) for row in rows],
    }
    plain = dict(showgrid=False, showline=False, ticks="", fixedrange=True)
    frame = dict(
        xaxis=plain | dict(range=[-0.5, columns - 0.5], showticklabels=False),
        yaxis=plain | dict(range=[len(rows) - 0.5, -0.5]),
        height=136 * len(rows) + 90,
        margin=dict(t=66, b=20),
    )
    return live.Content([_scale(strongest)], layout, frame)


def _scale(strongest: float) -> dict[str, Any]:
    """An unseen point that carries the colour scale."""
    bar = dict(title=dict(text="Grad-CAM<br>(logits)"), thickness=12, len=0.8)
    scale = dict(colorscale=theme.DIVERGING, cmin=-strongest, cmax=strongest)
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "scale"},
        x=np.array([0.0]),
        y=np.array([0.0]),
        showlegend=False,
        hoverinfo="skip",
        marker=dict(color=np.array([0.0]), opacity=0, showscale=True, colorbar=bar) | scale,
    )
