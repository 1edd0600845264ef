"""Marks that several figures use: dots that turn into WebGL when they are many, the line of equal values, a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import theme

MANY = 1500  # points above which WebGL draws them; below, SVG is as fast and spends no browser context


def dots(role: str, x: Any, y: Any, *, colour: Any, symbol: str, among: int = 0, size: int = 7, **more: Any) -> dict:
    """A trace of dots named after its role.

    Args:
        role: what they are; the name of the trace, unless ``more`` has one.
        among: how many dots the figure has in all its traces.
        more: further parts of the trace; ``marker`` is added to colour, symbol and size.
    """
    marker = dict(size=size, color=colour, symbol=symbol) | more.pop("marker", {})
    return dict(
        type="scattergl" if among > MANY else "scatter",
        mode="markers",
        meta={"role": role},
        name=role,
        x=x,
        y=y,
        marker=marker,
    ) | more  # fmt: skip


def equal(ends: Any) -> dict[str, Any]:
    """A dotted line on which prediction and measurement are equal; ``ends`` are its first and last value, or none."""
    ends = [float(end) for end in ends]
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "equal"},
        name="predicted = measured",
        x=ends,
        y=ends,
        line=dict(color=theme.INK, width=1, dash="dot"),
        hoverinfo="skip",
    )


def ends(values: Any) -> list[float]:
    """The smallest and the largest value; nothing where there are none."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return [float(known.min()), float(known.max())] if len(known) else []


def upright(at: float = 0.0, width: float = 1.0, **place: Any) -> dict[str, Any]:
    """A shape: a line from the bottom to the top of the figure, or of the panel in ``place``."""
    return dict(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line=dict(color=theme.INK, width=width)) | place


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """The key of a colour scale, with its title along it."""
    return dict(title=dict(text=title, side="right", font=dict(size=12)), thickness=12, outlinewidth=0) | more


def interval(middle: Any, low: Any, high: Any, **more: Any) -> dict[str, Any]:
    """The bars of an interval around each of some points, as ``error_x``."""
    middle, low, high = (np.asarray(values, dtype=float) for values in (middle, low, high))
    return dict(array=high - middle, arrayminus=middle - low, symmetric=False, thickness=2, width=4) | more


def rows(names: Sequence[str], title: str, **more: Any) -> dict[str, Any]:
    """An axis upwards with a row for each name, the first on top."""
    places = dict(tickvals=list(range(len(names))), ticktext=list(names), range=[len(names) - 0.5, -0.5])
    return dict(title=dict(text=title)) | places | more


def axis(number: int) -> str:
    """The suffix of the names of a panel's axes; panels are counted from 0."""
    return str(number + 1) if number else ""
