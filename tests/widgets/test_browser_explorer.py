"""The explorer and the run control in a real JupyterLab: selection, card, what-if, comparison, fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WATCHING = Path(__file__).resolve().parents[1] / "notebooks" / "08_watching_a_model_forget.ipynb"
MAP = ".imu-map.js-plotly-plot"
SECONDS = 60

# The dot of a trace that is farthest from all others: in a crowd the mouse would meet a neighbour.
LONELY_DOT = """([figure, role]) => {
    const plot = document.querySelector(figure), trace = plot._fullData.find(each => each.meta.role === role);
    plot.scrollIntoView({block: 'center'});
    const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
    const places = Array.from(trace.x, (x, at) => [xaxis.d2p(x), yaxis.d2p(trace.y[at])]);
    const others = plot._fullData.filter(each => each.meta.role !== 'scale')
        .flatMap(each => Array.from(each.x, (x, at) => [xaxis.d2p(x), yaxis.d2p(each.y[at])]));
    const room = ([x, y]) => others.map(([u, v]) => Math.hypot(u - x, v - y)).sort((a, b) => a - b)[1];
    const rooms = places.map(room), at = rooms.indexOf(Math.max(...rooms));
    return {x: box.left + xaxis._offset + places[at][0], y: box.top + yaxis._offset + places[at][1],
            example: trace.customdata[at]};
}"""

PLOT_BOX = """figure => {
    const plot = document.querySelector(figure), {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.left + xaxis._offset, box.top + yaxis._offset, xaxis._length, yaxis._length];
}"""

# How far the picture of the map lies from the axes over it: left, top, width and height, in pixels.
OFF_BY = """([image, figure]) => {
    const picture = document.querySelector(image), plot = document.querySelector(figure);
    const {xaxis, yaxis} = plot._fullLayout, axes = plot.getBoundingClientRect(), place = picture.getBoundingClientRect();
    const {naturalWidth: wide, naturalHeight: high} = picture;
    const scale = Math.min(place.width / wide, place.height / high);
    return [place.left + (place.width - scale * wide) / 2 - axes.left - xaxis._offset,
            place.top - axes.top - yaxis._offset, scale * wide - xaxis._length, scale * high - yaxis._length];
}"""

# How far the first and the last button over the gallery lie from the corners of its image.
TILES_OFF_BY = """() => {
    const gallery = document.querySelector('.imu-explorer .imu-gallery'), buttons = gallery.querySelectorAll('button');
    const image = gallery.querySelector('img').getBoundingClientRect();
    const [first, last] = [buttons[0], buttons[buttons.length - 1]].map(each => each.getBoundingClientRect());
    return [first.left - image.left, first.top - image.top, last.right - image.right, last.bottom - image.bottom];
}"""

# How far each button over the ledger lies from its row, above and below.
ROWS_OFF_BY = """() => {
    const rows = document.querySelectorAll('.imu-explorer .imu-ledger tbody tr');
    const buttons = document.querySelectorAll('.imu-explorer .imu-ledger .imu-rows button');
    return [rows.length - buttons.length, ...Array.from(buttons, (button, at) => {
        const over = button.getBoundingClientRect(), row = rows[at].getBoundingClientRect();
        return Math.max(Math.abs(over.top - row.top), Math.abs(over.bottom - row.bottom));
    })];
}"""

SAYS = "([selector, words]) => document.querySelector(selector)?.textContent.includes(words)"


def wait_for(page: Any, selector: str, words: str) -> None:
    """Return once an element's text holds these words."""
    page.wait_for_function(SAYS, arg=[selector, words], timeout=SECONDS * 1000)


def click_dot(page: Any, figure: str = MAP, role: str = "forget") -> int:
    """Click a trace's loneliest dot with the mouse; returns its example."""
    dot = page.evaluate(LONELY_DOT, [figure, role])
    page.mouse.move(dot["x"] - 12, dot["y"] - 12)
    page.mouse.move(dot["x"], dot["y"], steps=6)
    page.wait_for_selector(f"{figure} .hoverlayer .hovertext")
    page.mouse.click(dot["x"], dot["y"])
    return dot["example"]


def lasso(page: Any, figure: str = MAP, share: float = 1.0) -> None:
    """Draw a lasso around the middle of the figure with the mouse."""
    left, top, width, height = page.evaluate(PLOT_BOX, figure)
    inset = (1 - share) / 2
    corners = [(inset, inset), (1 - inset, inset), (1 - inset, 1 - inset), (inset, 1 - inset), (inset, inset)]
    corners = [(left + 2 + x * (width - 4), top + 2 + y * (height - 4)) for x, y in corners]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def click_button(page: Any, place: str, at: int) -> str:
    """Click one of the transparent buttons with the mouse, at its middle; returns what it is called."""
    button = page.locator(f".imu-explorer {place} .imu-overlay > button").nth(at)
    button.scroll_into_view_if_needed()
    box, name = button.bounding_box(), button.get_attribute("title")
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    return name


def test_pictures_and_rows_are_clicked(notebook: Callable[..., Any]) -> None:
    page = notebook(WATCHING)
    page.wait_for_selector(".imu-map-picture", timeout=SECONDS * 1000)
    for width in (1000, 1600):
        page.set_viewport_size({"width": width, "height": 1200})
        page.wait_for_timeout(500)
        assert max(map(abs, page.evaluate(TILES_OFF_BY))) < 1.5, "buttons lie over the pictures"
        assert max(map(abs, page.evaluate(ROWS_OFF_BY))) < 1.5, "and over the rows"
    for place, at in ((".imu-gallery", 4), (".imu-rows", 2), (".imu-strip", 9), (".imu-near", 1)):
        wait_for(page, ".imu-explorer .imu-card", click_button(page, place, at))
    button = page.locator(".imu-explorer .imu-gallery .imu-overlay > button").nth(7)
    button.focus()
    page.keyboard.press("Enter")
    wait_for(page, ".imu-explorer .imu-card", button.get_attribute("title"))


def test_selection_card_what_if_comparison(notebook: Callable[..., Any]) -> None:
    page = notebook(WATCHING)
    page.wait_for_selector(".imu-map-picture", timeout=SECONDS * 1000)

    for width in (1000, 1600):
        page.set_viewport_size({"width": width, "height": 1200})
        page.wait_for_timeout(500)
        assert max(map(abs, page.evaluate(OFF_BY, [".imu-map-picture", MAP]))) < 1.5, (
            "dots lie where the mouse finds them"
        )

    example = click_dot(page)
    wait_for(page, ".imu-card", f"example {example}")
    page.wait_for_selector(".imu-explorer .imu-ledger tr.imu-chosen")

    wait_for(page, ".imu-count", "146 of 146")
    page.evaluate("figure => document.querySelector(figure).scrollIntoView({block: 'center'})", MAP)
    page.wait_for_timeout(800)  # a press soon after the click would count as a double click
    lasso(page, share=0.5)
    page.wait_for_function("() => !document.querySelector('.imu-count').textContent.includes('146 of 146')")

    page.click(".imu-what-if-drop")
    wait_for(page, ".imu-what-if-note", "done")
    wait_for(page, ".imu-differences", "time to forget")
    page.wait_for_selector(".imu-what-if.js-plotly-plot .scatterlayer")

    page.click(".imu-start")
    wait_for(page, ".imu-run-control .imu-scores", "imu · sqrt-clipped")
    page.click(".imu-fork")
    wait_for(page, ".imu-run-control .imu-scores", "forked at")
