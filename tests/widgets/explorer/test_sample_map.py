"""The map on the page: what goes to the picture, what to the figure over it, and what comes back from the mouse."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from plotly.callbacks import InputDeviceState, LassoSelector, Points

from imu_lab.figures.explorer import MARGINS, Scene
from imu_lab.widgets.explorer.sample_map import SampleMap, under_the_pane
from imu_lab.widgets.explorer.thumbnail import Thumbnail


def scene(step: int = 0) -> Scene:
    places = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    forgotten, lost = np.array([True, True, False]), np.zeros(3, dtype=bool)
    colours = np.array([0.1, 0.9]) / (1 + step)
    return Scene(np.array([7, 8, 9]), places, np.array(["a", "a", "b"]), forgotten, lost, colours, "confidence",
                 None, None, None, step, "a plane")  # fmt: skip


@pytest.fixture
def heard() -> list:
    return []


@pytest.fixture
def shown(heard: list) -> SampleMap:
    return SampleMap(scene(), 430, clicked=lambda example: heard.append(example),
                     lassoed=lambda corners: heard.append(corners.tolist()),
                     deselected=lambda: heard.append("all"))  # fmt: skip


def test_another_update_changes_picture_and_words_alone(shown: SampleMap) -> None:
    picture, pane = shown.picture.value, json.loads(shown.pane.to_json())
    assert Image.open(io.BytesIO(picture)).size[0] > 500 and "After update 0" in shown.caption.value
    shown.show(scene(1))
    assert shown.picture.value != picture and "After update 1" in shown.caption.value
    assert json.loads(shown.pane.to_json()) == pane and shown.scene.step == 1


def test_a_click_tells_the_example_and_a_lasso_its_corners(shown: SampleMap, heard: list) -> None:
    kept, forget = shown.pane.data[:2]
    forget._dispatch_on_click(Points(point_inds=[1], trace_name="forget", trace_index=1), InputDeviceState())
    forget._dispatch_on_click(Points(point_inds=[], trace_name="forget", trace_index=1), InputDeviceState())
    outline = LassoSelector(xs=[0, 1, 1], ys=[0, 0, 1], type="lasso")
    for trace in shown.pane.data:
        trace._dispatch_on_selection(Points(point_inds=[], trace_name="", trace_index=0), outline)
    kept._dispatch_on_selection(Points(point_inds=[], trace_name="", trace_index=0), None)
    kept._dispatch_on_deselect(Points(point_inds=[], trace_name="", trace_index=0))
    assert heard == [8, [[0, 0], [1, 0], [1, 1]], [], "all"]


def test_the_picture_under_the_mouse_is_sent_to_the_page_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict] = []
    monkeypatch.setattr(Thumbnail, "send", lambda self, content, buffers=None: sent.append(content))
    Thumbnail(lambda example: f"<img alt='{example}'>").tell(9)
    assert sent == [{"example": 9, "image": "<img alt='9'>"}]


def test_the_ring_comes_and_goes(shown: SampleMap) -> None:
    shown.mark(np.array([1.0, 2.0]))
    assert (shown.pane.layout.shapes[0].xanchor, shown.pane.layout.shapes[0].yanchor) == (1.0, 2.0)
    shown.mark(None)
    assert not shown.pane.layout.shapes


def test_the_picture_lies_between_the_margins_of_the_figure(shown: SampleMap) -> None:
    place, margin = under_the_pane(430), shown.pane.layout.margin
    assert (margin.l, margin.r, margin.t, margin.b) == tuple(MARGINS[side] for side in "lrtb") and not margin.autoexpand
    assert (place.left, place.top) == (f"{margin.l}px", f"{margin.t}px")
    assert place.width == f"calc(100% - {margin.l + margin.r}px)" and place.height == f"{430 - margin.t - margin.b}px"
