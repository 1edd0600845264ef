"""The trajectories of a selection, as a figure that hears clicks and marks one sample's row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as W
import numpy as np

from ... import figures
from ...core.records import Run
from ..base import tables
from ..base.bundle import FigureWidget


class Paths(W.VBox):
    """Confidence of each sample at each update, in the colours of the map; its title stands above it as words that wrap.

    Args:
        run: shown at first.
        height: in pixels.
        clicked: takes the example whose row is clicked.

    Attributes:
        figure: the heat map. examples: (r,) the example of each of its rows.
    """

    def __init__(self, run: Run, height: int, clicked: Callable[[int], Any]) -> None:
        self._clicked, self._chosen = clicked, None
        self.caption = W.HTML().add_class("imu-caption")
        self.figure = FigureWidget(figures.plot_trajectories(run)).add_class("imu-paths")
        self.figure.update_layout(height=height, autosize=True, margin=dict(t=12, r=20))
        self.figure.data[0].on_click(self._row_clicked)
        super().__init__([self.caption, self.figure])
        self.show(run)

    def show(self, run: Run) -> None:
        """Show the trajectories of this run."""
        figures.update_trajectories(self.figure, run)
        heat = next(trace for trace in self.figure.data if trace.type == "heatmap")
        heat.colorscale = figures.theme.DOTS  # one quantity has one colour scale in a panel
        cells = heat.customdata
        self.examples = np.asarray(cells)[:, 0] if len(cells) else np.empty(0, dtype=int)
        self.caption.value = tables.caption(self.figure.layout.title.text)
        self.mark(self._chosen)

    def mark(self, example: int | None) -> None:
        """Draw a line across the row of this example, where it is shown."""
        self._chosen = example
        rest = [shape for shape in self.figure.layout.shapes if shape.name != "chosen"]
        look = dict(color=figures.colour("forget"), width=2, dash="dot")
        line = dict(type="line", name="chosen", xref="paper", x0=0, x1=1, line=look)
        at = np.flatnonzero(self.examples == example) if example is not None else []
        self.figure.layout.shapes = [*rest, *[line | dict(y0=int(row), y1=int(row)) for row in at]]

    def _row_clicked(self, trace: Any, points: Any, _: Any) -> None:
        if points.ys and 0 <= round(points.ys[0]) < len(self.examples):
            self._clicked(int(self.examples[round(points.ys[0])]))
