"""The map on the page: one picture, and over it a figure that hears the mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as W
import numpy as np

from ...figures.explorer import MARGINS, Scene, mark_chosen, picture, plot_pane, update_pane, words
from ..base import tables
from ..base.bundle import FigureWidget


class SampleMap(W.VBox):
    """Every sample at its place, over the areas of the classes.

    From update to update only the picture changes, which is an image of its own: to draw the figure again would take
    the browser three times as long.

    Args:
        scene: what is shown at first.
        height: in pixels.
        clicked: takes the example whose dot was clicked.
        lassoed: takes the (m, 2) corners of an outline drawn around samples.
        deselected: is called at a double click.

    Attributes:
        scene: what is drawn.
        picture, pane: the image, and the figure over it.
    """

    def __init__(
        self,
        scene: Scene,
        height: int,
        *,
        clicked: Callable[[int], Any],
        lassoed: Callable[[np.ndarray], Any],
        deselected: Callable[[], Any],
    ) -> None:
        self.scene = scene
        self.caption = W.HTML(tables.caption(words(scene))).add_class("imu-caption")
        self.picture = W.Image(value=picture(scene), format="png", layout=under_the_pane(height))
        self.picture.add_class("imu-map-picture")  # and no tooltip: with one, ipywidgets 8.1 shows no image at all
        self.pane = FigureWidget(plot_pane(scene).update_layout(height=height, autosize=True)).add_class("imu-map")
        self._hear(clicked, lassoed, deselected)
        stack = W.Box([self.picture, self.pane]).add_class("imu-stack")
        super().__init__([self.caption, stack])

    def _hear(self, clicked: Callable, lassoed: Callable, deselected: Callable) -> None:
        def dot(trace: Any, points: Any, _: Any) -> None:
            if points.point_inds:
                clicked(int(trace.customdata[points.point_inds[0]]))

        for trace in self.pane.data:
            trace.on_click(dot)
        first = self.pane.data[0]  # of all traces, for each tells of the same outline
        # The page sends the outline only, not a list of fifty thousand samples.
        first.on_selection(lambda _, __, outline: lassoed(_corners(outline)))
        first.on_deselect(lambda *_: deselected())

    def show(self, scene: Scene) -> None:
        """Draw this; only what differs is sent."""
        self.picture.value = picture(scene)
        update_pane(self.pane, scene)
        self.caption.value = tables.caption(words(scene))
        self.scene = scene

    def mark(self, place: np.ndarray | None) -> None:
        """Put the ring around this place, or take it away."""
        mark_chosen(self.pane, place)

    def wipe(self) -> None:
        """Take away an outline that is no longer what is selected."""
        self.pane.plotly_relayout({"selections": []})


def under_the_pane(height: int) -> W.Layout:
    """Where the picture lies: between the pane's margins, and as large as plotly makes axes of its proportions."""
    across, down = MARGINS["l"] + MARGINS["r"], MARGINS["t"] + MARGINS["b"]
    return W.Layout(
        left=f"{MARGINS['l']}px",
        top=f"{MARGINS['t']}px",
        width=f"calc(100% - {across}px)",
        height=f"{height - down}px",
        object_fit="contain",
        object_position="center top",
        margin="0",
    )


def _corners(outline: Any) -> np.ndarray:
    """(m, 2) of a lasso; none for a selection without one."""
    return np.column_stack([outline.xs, outline.ys]) if outline else np.empty((0, 2))
