"""The explorer and the run control in a real JupyterLab: selection, card, what-if, comparison, fork."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import in_kernel, lasso, resize

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WATCHING = Path(__file__).resolve().parents[2] / "notebooks" / "08_watching_a_model_forget.ipynb"
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


def hover_dot(page: Any, figure: str = MAP, role: str = "forget") -> dict:
    """Put the mouse on a trace's loneliest dot; returns its ``example`` and its place."""
    dot = page.evaluate(LONELY_DOT, [figure, role])
    page.mouse.move(dot["x"] - 12, dot["y"] - 12)
    page.mouse.move(dot["x"], dot["y"], steps=6)
    page.wait_for_selector(f"{figure} .hoverlayer .hovertext")
    return dot


def click_dot(page: Any, figure: str = MAP, role: str = "forget") -> int:
    """Click a trace's loneliest dot with the mouse; returns its example."""
    dot = hover_dot(page, figure, role)
    page.mouse.click(dot["x"], dot["y"])
    return dot["example"]


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
        resize(page, width, 1200)
        assert max(map(abs, page.evaluate(TILES_OFF_BY))) < 1.5, "buttons lie over the pictures"
        assert max(map(abs, page.evaluate(ROWS_OFF_BY))) < 1.5, "and over the rows"
    for place, at in ((".imu-gallery", 4), (".imu-rows", 2), (".imu-strip", 9), (".imu-near", 1)):
        wait_for(page, ".imu-explorer .imu-card", click_button(page, place, at))
    button = page.locator(".imu-explorer .imu-gallery .imu-overlay > button").nth(7)
    button.focus()
    page.keyboard.press("Enter")
    wait_for(page, ".imu-explorer .imu-card", button.get_attribute("title"))


PLACES = """() => Object.fromEntries([".imu-explorer", ".imu-explorer .imu-side", ".imu-map", ".imu-explorer .imu-card"]
    .map(each => [each.split(" ").at(-1), document.querySelector(each).getBoundingClientRect().toJSON()]))"""

# Names on the map, each with the place of its middle, as shares of the picture.
NAMES = """() => {
    const map = document.querySelector('.imu-map-names > * > div').getBoundingClientRect();
    return Array.from(document.querySelectorAll('.imu-map-names span'), each => {
        const box = each.getBoundingClientRect();
        return [each.textContent, (box.left + box.width / 2 - map.left) / map.width,
                (box.top + box.height / 2 - map.top) / map.height];
    });
}"""

NAMED = """
from imu_lab.figures.explorer import area_names, shares
names = area_names(explorer.map.scene)
print([[area.name, *place] for area, place in zip(names, shares(explorer.map.scene, names))])
"""


def test_a_small_screen_shows_map_names_thumbnail_and_card_at_once(notebook: Callable[..., Any]) -> None:
    page = notebook(WATCHING)
    page.wait_for_selector(".imu-map-picture", timeout=SECONDS * 1000)
    resize(page, 1280, 800)  # beside the file browser: less than 900 for the panel

    shown, held = page.evaluate(NAMES), ast.literal_eval(in_kernel(page, NAMED))
    assert len(held) > 3 and [name for name, *_ in shown] == [name for name, *_ in held]
    assert all(abs(a - b) < 0.01 for drawn, kept in zip(shown, held) for a, b in zip(drawn[1:], kept[1:]))

    example = hover_dot(page, role="kept")["example"]
    page.wait_for_selector(f".imu-thumbnail img[alt='example {example}']")
    assert "class " in page.locator(f"{MAP} .hoverlayer").text_content()
    page.mouse.move(5, 5, steps=4)
    page.wait_for_function("getComputedStyle(document.querySelector('.imu-thumbnail')).display === 'none'")

    page.evaluate("document.querySelector('.imu-explorer').scrollIntoView({block: 'start'})")
    place = page.evaluate(PLACES)
    panel, side, card = place[".imu-explorer"], place[".imu-side"], place[".imu-card"]
    assert panel["width"] < 900 and place[".imu-map"]["left"] >= side["right"], "two columns"
    assert card["right"] <= side["right"] and card["top"] < 700, "under the buttons, and on the screen"


def test_selection_card_what_if_comparison(notebook: Callable[..., Any]) -> None:
    page = notebook(WATCHING)
    page.wait_for_selector(".imu-map-picture", timeout=SECONDS * 1000)

    for width in (1000, 1600):
        resize(page, width, 1200)
        assert max(map(abs, page.evaluate(OFF_BY, [".imu-map-picture", MAP]))) < 1.5, (
            "dots lie where the mouse finds them"
        )

    example = click_dot(page)
    wait_for(page, ".imu-card", f"example {example}")
    page.wait_for_selector(".imu-explorer .imu-ledger tr.imu-chosen")

    wait_for(page, ".imu-count", "146 of 146")
    page.evaluate("figure => document.querySelector(figure).scrollIntoView({block: 'center'})", MAP)
    page.wait_for_timeout(800)  # a press soon after the click would count as a double click
    lasso(page, MAP, share=0.5)
    page.wait_for_function("() => !document.querySelector('.imu-count').textContent.includes('146 of 146')")

    page.click(".imu-what-if-drop")
    wait_for(page, ".imu-what-if-note", "Done")
    wait_for(page, ".imu-differences", "time to forget")
    page.wait_for_selector(".imu-what-if.js-plotly-plot .scatterlayer")

    page.click(".imu-start")
    wait_for(page, ".imu-run-control .imu-scores", "imu · sqrt-clipped")
    page.click(".imu-fork")
    wait_for(page, ".imu-run-control .imu-scores", "forked at")
