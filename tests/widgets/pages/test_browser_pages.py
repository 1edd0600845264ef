"""Pages in a real browser, opened as files: click, brush and scrub without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
from browser import collect_problems, fail_on, taken_problems

import imu_lab as imu

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[[Path], Any]]:
    """``opened(path) -> page``, once all is drawn; nothing may go wrong in it, and nothing may be fetched."""
    pages = []

    def open_file(path: Path, width: int = 1280, height: int = 800) -> Any:
        page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
        pages.append(page)
        collect_problems(page, "file://")
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_file
    problems = [problem for page in pages for problem in taken_problems(page)]
    for page in pages:
        page.context.close()
    fail_on(problems)


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("digits class"), cases.original("digits class")
    weights = imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=20, reference=cases.retrained("digits class"))


def drag(page: Any, selector: str, *corners: tuple[float, float]) -> None:
    """Press the mouse, go through corners (shares of the element's width and height), and let go."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def ids(page: Any) -> list[int]:
    return [int(each) for each in page.input_value("#ids").split(", ") if each]


def walk_rows(page: Any) -> None:
    """The rows are one stop of Tab, arrow keys go through them, and Enter chooses one without losing it."""
    place = "Array.from(document.querySelectorAll('#ledger tbody tr')).indexOf(document.activeElement)"
    stops = "Array.from(document.querySelectorAll('#ledger tbody tr'), each => each.tabIndex).filter(each => each === 0).length"
    page.focus("#ledger tbody tr[tabindex='0']")
    for key, expected in (("Home", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", 0), ("End", 9), ("ArrowDown", 9),
                          ("ArrowUp", 8), ("Enter", 8), ("ArrowUp", 7)):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate(place) == expected and page.evaluate(stops) == 1, key
    assert page.locator("#ledger tbody tr").nth(8).get_attribute("class") == "imu-chosen"


CHECKSUM = """name => { const canvas = document.getElementById(name), data = canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data; let sum = 0; data.forEach((each, at) => sum += each * (at % 97));
    return sum }"""


def test_click_brush_and_scrub_in_the_page_of_a_run(opened: Callable, run: imu.Run, tmp_path: Path) -> None:
    page = opened(run.report(tmp_path / "run.html"))
    page.wait_for_selector("#curves .scatterlayer")
    ledger = run.samples.set_index("example").fillna({"time_to_forget": np.inf})
    assert ids(page) == run.samples["example"].tolist()

    page.click("#ledger tbody tr:nth-child(3)")
    example = int(page.inner_text("#ledger tr.imu-chosen td:nth-child(2)"))
    assert example == ledger["pressure"].sort_values(ascending=False, kind="stable").index[2]
    assert f"example {example}" in page.inner_text("#card") and "after update 0" in page.inner_text("#answers")

    drag(page, "#map", (0.02, 0.02), (0.3, 0.02), (0.3, 0.9), (0.02, 0.9))
    drawn = ids(page)
    assert 0 < len(drawn) < len(ledger) and page.inner_text("#count").startswith(f"{len(drawn)} of 146")
    drag(page, ".imu-histogram:nth-child(3) svg", (0.02, 0.5), (0.3, 0.5))
    both = ids(page)
    assert set(both) < set(drawn), "filters work together"
    assert ledger.loc[both, "pressure"].max() < ledger.loc[list(set(drawn) - set(both)), "pressure"].min()
    assert page.locator("#ledger tbody tr").count() == min(10, len(both))
    page.click("#all")
    assert len(ids(page)) == len(ledger)

    drag(page, "#paths", (0.5, 0.02), (0.5, 0.2))
    slowest = ids(page)
    assert 0 < len(slowest) < len(ledger) / 2
    assert ledger.loc[slowest, "time_to_forget"].min() >= ledger["time_to_forget"].drop(slowest).median()
    page.click("#all")

    before, words = page.evaluate(CHECKSUM, "map"), page.inner_text("#map-words")
    page.focus("#step")
    page.keyboard.press("Home")
    page.wait_for_selector("#map-words:has-text('After update 0')")
    assert words not in page.inner_text("#map-words") and page.evaluate(CHECKSUM, "map") != before
    page.click("#play")
    page.wait_for_selector("#step-now:text-is('20 of 20')")
    assert page.evaluate("document.querySelectorAll('[role=img]:not([aria-label]), img:not([alt])').length") == 0

    walk_rows(page)
    page.focus("#map")
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        said.append(page.inner_text("#card"))
    assert said[0] == said[2] != said[1], "arrow keys go through the samples"

    for part in ("#map", "#paths", "#card"):
        page.evaluate("scrollTo(0, 0)")
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] < 800 and box["x"] + box["width"] <= 1280, "on one screen"


APART = """() => { const place = document.getElementById('map').getBoundingClientRect();
    const boxes = Array.from(document.querySelectorAll('#names span'), each => each.getBoundingClientRect());
    const inside = each => each.left >= place.left - 1 && each.right <= place.right + 1 && each.top >= place.top - 1
        && each.bottom <= place.bottom + 1;
    const apart = (one, other) => one.right <= other.left || other.right <= one.left || one.bottom <= other.top + 2
        || other.bottom <= one.top + 2;
    return [boxes.length, boxes.every(inside), boxes.every((one, at) => boxes.slice(at + 1).every(other => apart(one, other)))] }"""
WHOLE_WORDS = """() => Array.from(document.querySelectorAll('#answers th')).every(each => { const range = document.createRange();
    range.selectNodeContents(each); return new Set(Array.from(range.getClientRects(), line => line.top)).size <= 1 })"""


@pytest.mark.parametrize("name", ["a person with a rather long name number {} of the faculty", "passenger {}"])
def test_long_names_have_room_on_the_map_and_beside_numbers(opened: Callable, tmp_path: Path, name: str) -> None:
    names = [name.format(at) for at in range(30)]
    labels = torch.arange(600) % 30
    around = torch.nn.functional.one_hot(labels, 30).float()
    points = around + 0.1 * torch.randn(600, 30, generator=torch.Generator().manual_seed(0))
    head = torch.nn.Linear(30, 30, bias=False)
    head.weight.data = torch.eye(30) * 5
    task = imu.tasks.Classification.from_data(
        head, (points, labels), (points[:60] + 0.01, labels[:60]), forget_class=7, classes=names
    )
    run = imu.unlearn(task, imu.train(task), steps=2, lr=1e-3)
    page = opened(run.report(tmp_path / "names.html"))
    count, inside, apart = page.evaluate(APART)
    assert count >= 3 and inside and apart
    page.click("#ledger tbody tr:nth-child(1)")
    assert names[7] in page.inner_text("#answers") and page.evaluate(WHOLE_WORDS)
    page.focus("#step")
    page.keyboard.press("End")
    right = "() => Math.max(...Array.from(document.querySelectorAll('#answers td'), each => each.getBoundingClientRect().right))"
    assert page.evaluate(right) <= page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("getComputedStyle(document.documentElement).overflowY") == "scroll", "no width is lost later"


def test_a_dot_is_clicked_where_it_is_drawn(opened: Callable, run: imu.Run, tmp_path: Path) -> None:
    page = opened(run.report(tmp_path / "run.html"), 1440, 900)
    page.click("#ledger tbody tr:nth-child(1)")
    chosen = page.inner_text("#ledger tr.imu-chosen td:nth-child(2)")
    found = page.evaluate("""() => { const canvas = document.getElementById('map'), { width, height } = canvas;
        const data = canvas.getContext('2d').getImageData(0, 0, width, height).data, ring = [];
        for (let at = 0; at < data.length; at += 4)
            if (data[at] === 213 && data[at + 1] === 94 && data[at + 2] === 0 && data[at + 3] === 255)
                ring.push([at / 4 % width, Math.floor(at / 4 / width)]);
        const middle = side => { const all = ring.map(each => each[side]); return (Math.min(...all) + Math.max(...all)) / 2 };
        return [middle(0) / width, middle(1) / height] }""")
    page.click("#ledger tbody tr:nth-child(2)")
    drag(page, "#map", tuple(found))
    assert page.inner_text("#ledger tr.imu-chosen td:nth-child(2)") == chosen


def test_sliders_move_the_figures_of_a_saved_workbench(opened: Callable, tmp_path: Path) -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    bench = imu.workbench(task, original, reference=cases.retrained("digits class"), steps=8)
    assert bench.wait(120)
    page = opened(bench.save(tmp_path / "bench.html", {"damping": [1e-3, 1e-1]}))
    bench.close()
    drawn = "() => document.getElementById('influence').data.find(each => each.mode === 'markers').x.map(Number)"
    before = page.evaluate(drawn)
    page.focus("input[data-name=damping]")
    page.keyboard.press("End")
    page.wait_for_selector(".slider output:text-is('0.1')")
    page.wait_for_timeout(500)
    scores = imu.influence(task, original, damping=0.1).values
    assert cases.close(np.sort(page.evaluate(drawn)), np.sort(scores), 1e-3) and before != page.evaluate(drawn)
    page.click("#ledger tbody tr:nth-child(2)")
    assert page.inner_text("#ledger tr.imu-chosen td:nth-child(2)") in page.inner_text("#card")
    assert page.evaluate("document.querySelectorAll('#influence .shapelayer path').length") >= 1
    place = page.evaluate("""() => { const plot = document.getElementById('intensity'), box = plot.getBoundingClientRect();
        const trace = plot._fullData.find(each => each.mode === 'markers'), { xaxis, yaxis } = plot._fullLayout;
        return [box.left + xaxis._offset + xaxis.d2p(trace.x[0]), box.top + yaxis._offset + yaxis.d2p(trace.y[0])] }""")
    page.mouse.move(place[0] - 6, place[1] - 6)
    page.mouse.move(*place, steps=4)
    page.wait_for_selector("#intensity .hoverlayer .hovertext")
    before = page.inner_text("#card")
    page.mouse.click(*place)
    page.wait_for_timeout(300)
    assert page.inner_text("#card") != before
    walk_rows(page)
    for part in ("#sliders", "#curves", "#influence"):
        page.evaluate("scrollTo(0, 0)")
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] < 800, "on one screen"
