"""The map on the page: one picture, and over it a figure that hears the mouse."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as W
import numpy as np

from ...figures import dots
from ...figures.explorer import MARGINS, Scene, area_names, mark_chosen, picture, plot_pane, shares, update_pane, words
from ..base import tables
from ..base.bundle import FigureWidget
from .thumbnail import Thumbnail


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
        thumbnail: from an example to an ``<img>``, which stands beside the dot that the mouse is over.

    Attributes:
        scene: what is drawn.
        picture, names, pane: the image, over it the names of its areas, and over both the figure that hears the mouse.
    """

    def __init__(
        self,
        scene: Scene,
        height: int,
        *,
        clicked: Callable[[int], Any],
        lassoed: Callable[[np.ndarray], Any],
        deselected: Callable[[], Any],
        thumbnail: Callable[[int], str] = lambda example: "",
    ) -> None:
        self.scene, self._height = scene, height
        self.caption = W.HTML(tables.caption(words(scene))).add_class("imu-caption")
        self.picture = W.Image(value=picture(scene), format="png", layout=under_the_pane(height))
        self.picture.add_class("imu-map-picture")  # and no tooltip: with one, ipywidgets 8.1 shows no image at all
        self.names = W.HTML(named_areas(scene, height), layout=under_the_pane(height)).add_class("imu-map-names")
        self.pane = FigureWidget(plot_pane(scene).update_layout(height=height, autosize=True)).add_class("imu-map")
        self._hear(clicked, lassoed, deselected)
        stack = W.Box([self.picture, self.names, self.pane, Thumbnail(thumbnail)]).add_class("imu-stack")
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
        self.picture.value, self.names.value = picture(scene), named_areas(scene, self._height)
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


def named_areas(scene: Scene, height: int) -> str:
    """The names of the areas at their centroids, in a box that lies where the picture does; ``height`` of the pane."""
    names = area_names(scene)
    spans = [
        f'<span style="left: {100 * across:.1f}%; top: {100 * down:.1f}%">{escape(area.name)}</span>'
        for area, (across, down) in zip(names, shares(scene, names))
    ]
    widest = (height - MARGINS["t"] - MARGINS["b"]) * dots.WIDTH / dots.HEIGHT
    box = f"width: min(100%, {widest:.0f}px); aspect-ratio: {dots.WIDTH} / {dots.HEIGHT}"
    return f'<div style="{box}">{"".join(spans)}</div>'


def _corners(outline: Any) -> np.ndarray:
    """(m, 2) of a lasso; none for a selection without one."""
    return np.column_stack([outline.xs, outline.ys]) if outline else np.empty((0, 2))
