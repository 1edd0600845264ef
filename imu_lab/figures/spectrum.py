"""The curvature of a readout by powers of ten, and how a gradient and its turned step are spread over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..studies.spectrum import Spectrum
from . import live, theme
from .takes import takes

SHARES = {
    "directions": ("all directions", "", theme.INK),
    "gradient": ("the mean gradient, which a plain step follows", "/", theme.colour("uniform")),
    "step": ("the step of curvature-ascent", "\\", theme.colour("curvature-ascent")),
}


@takes(Spectrum, "the record of imu.curvature_spectrum(task, model)")
def plot_spectrum(spectrum: Spectrum) -> go.Figure:
    """How much of a gradient lies where the answers bend much, and how much of the step that curvature makes of it.

    Args:
        spectrum: from :func:`imu_lab.curvature_spectrum`.
    """
    table = spectrum.by_decade()
    decades = [_decade(low, high) for low, high in zip(table["from"], table["to"])]
    traces = [_bars(name, decades, table[name].to_numpy()) for name in SHARES] if len(table) else []
    about = spectrum.settings
    whose, of = theme.text(about.get("curvature", "train")), theme.text(about.get("target", "forget"))
    said = f"Curvature S ⊗ G of the {whose} split, gradient of the {of} split, ρ = {about.get('rho', 0):g}."
    frame = {
        "xaxis": {"title": {"text": "curvature of a direction (mean = 1)"}, "type": "category"},
        "yaxis": {"title": {"text": "share of directions, or of squared length (0 to 1)"}, "rangemode": "tozero"},
        "barmode": "group",
    }
    words = live.heading("Where the answers bend, and where a step goes", said if len(table) else "")
    return live.draw(live.Content(traces, {"title.text": words}, frame))


def _bars(name: str, decades: list[str], shares: np.ndarray) -> dict[str, Any]:
    words, pattern, colour = SHARES[name]
    return {
        "type": "bar",
        "meta": {"role": name},
        "name": words,
        "x": decades,
        "y": shares,
        "marker": {"color": colour, "pattern": {"shape": pattern}},
        "hovertemplate": f"curvature %{{x}}<br>%{{y:.1%}} of {words}<extra></extra>",
    }


def _decade(low: float, high: float) -> str:
    """Two powers of ten, in words."""
    return f"flat, below {_power(high)}" if low == 0 else f"{_power(low)} to {_power(high)}"


def _power(value: float) -> str:
    exponent = round(np.log10(value))
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"10<sup>{exponent}</sup>"
