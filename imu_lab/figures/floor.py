"""What a distance to the retrained model is read against: how far two of those are from each other, and doing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import marks, theme

FLOOR, NOTHING = "noise floor: two retrained models", "doing nothing"
NOTHING_DASH = "10px,6px"


def across(role: str, ends: list[float], level: float, colour: str, split: str, **more: Any) -> dict[str, Any]:
    """A level from one end of a panel to the other; empty where it is not known."""
    known = bool(np.isfinite(level))
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": role, "split": split},
        x=ends if known else [],
        y=[level, level] if known else [],
        line=dict(color=colour, width=1),
        showlegend=False,
    ) | more  # fmt: skip


def nothing(ends: list[float], level: float, colour: str, split: str, **more: Any) -> dict[str, Any]:
    """Where the original model is that nothing was done to."""
    words = f"<b>{NOTHING}</b><br>{theme.text(split)} %{{y:.4g}}<extra></extra>"
    line = dict(color=colour, width=1, dash=NOTHING_DASH)
    drawn = dict(name=NOTHING, legendgroup=NOTHING, line=line, hovertemplate=words)
    return across("nothing", ends, level, colour, split, **drawn, **more)


def band(ends: list[float], floor: float, goal: float, colour: str, split: str, **more: Any) -> dict[str, Any]:
    """From the goal, which the retrained model has beside itself, to what two of them have beside each other."""
    corners = dict(x=[*ends, *ends[::-1]], y=[goal, goal, floor, floor]) if np.isfinite(floor) else {}
    drawn = dict(name=FLOOR, legendgroup="retrained", fill="toself", fillcolor=theme.faint(colour), hoverinfo="skip")
    return across("noise floor", ends, floor, colour, split, **drawn) | dict(line=dict(width=0)) | corners | more


def area(across: tuple[float, float], up: tuple[float, float]) -> dict[str, Any]:
    """Between these ends of both axes two retrained models are of each other."""
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "noise floor"},
        name=FLOOR,
        x=[*across, *across[::-1]],
        y=[up[0], up[0], up[1], up[1]],
        fill="toself",
        fillcolor=theme.faint(theme.INK, 0.35),
        line=dict(width=0),
        hoverinfo="skip",
    )


def star(place: Sequence[float], name: str, words: str) -> dict[str, Any]:
    """Where the retrained model stands, in both axes; ``words`` are under the mouse."""
    look = dict(colour=theme.colour("retrain"), symbol=theme.symbol("retrain"), size=15)
    return marks.dots("retrained", *([at] for at in place), **look, name=name, hovertemplate=words, cliponaxis=False)


def key(role: str, name: str, group: str, dash: str, shown: bool) -> dict[str, Any]:
    """The legend's entry for a level that stands in several panels, in no split's colour."""
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": role},
        name=name,
        legendgroup=group,
        x=[None],
        y=[None],
        line=dict(color=theme.INK, dash=dash, width=2),
        hoverinfo="skip",
        showlegend=shown,
        xaxis="x",
        yaxis="y",
    )
