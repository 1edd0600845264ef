"""The main job in a real JupyterLab: run all cells, drag a slider, click a dot, and look at what the browser drew."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import CURVES, PART_HEADS, in_kernel, resize, slider_latency

pytestmark = [pytest.mark.browser, pytest.mark.slow]

START_HERE = Path(__file__).resolve().parents[2] / "notebooks" / "00_start_here.ipynb"
INFLUENCE = ".imu-influence.js-plotly-plot"
SECONDS = 60

# The kernel's side of the story: the panel that notebook 00 shows, and what its runs hold.
LINES = """
import json
panel = [value for value in Out.values() if type(value).__name__ == "Workbench"][-1]
assert panel.wait(60)
print(json.dumps([[run.label, split, list(run.series(split, "accuracy"))] for run in panel.answer.runs
                  for split in ("forget", "retain", "test", "test-forget")]))
"""

DRAWN_LINES = """figure => [...document.querySelector(figure).data].filter(trace => trace.meta.role === 'line')
    .map(trace => [trace.meta.run, trace.meta.split, Array.from(trace.y)])"""

ARE_DRAWN = f"""([figure, wanted]) => {{
    const key = lines => JSON.stringify(lines.map(line => JSON.stringify(line)).sort());
    return key(({DRAWN_LINES})(figure)) === key(wanted);
}}"""

# Where the first dot of a trace is on the page, in pixels.
# The dot that stands farthest from the others: of two that touch, plotly may hover the other one.
LONE_DOT = """([figure, role]) => {
    const plot = document.querySelector(figure), trace = plot._fullData.find(each => each.meta.role === role);
    plot.scrollIntoView({block: 'center'});
    const {xaxis, yaxis} = plot._fullLayout._plots[trace.xaxis + trace.yaxis], box = plot.getBoundingClientRect();
    const dots = Array.from(trace.x, (x, at) => [xaxis.d2p(x), yaxis.d2p(trace.y[at])]);
    const room = dots.map(([x, y], at) => Math.min(...dots.filter((_, other) => other !== at)
        .map(([otherX, otherY]) => Math.hypot(x - otherX, y - otherY))));
    const at = room.indexOf(Math.max(...room));
    return {x: box.left + xaxis._offset + dots[at][0], y: box.top + yaxis._offset + dots[at][1],
            example: trace.customdata[at]};
}"""


def drag(page: Any, control: str, pixels: int) -> None:
    """Drag a slider's handle with the mouse."""
    handle = page.locator(f"{control} .noUi-handle")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(x + pixels * step / 10, y)
        page.wait_for_timeout(30)
    page.mouse.up()


def drawn_lines(page: Any, wanted: Callable[[list], bool] = bool) -> list:
    """What the kernel holds, once that is as wanted and the browser's curves are exactly that.

    Asked again until both agree: the page sends a slider's last value only when the kernel has taken up the one before,
    so the kernel can be asked too early.
    """
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        held = json.loads(in_kernel(page, LINES))
        if wanted(held) and page.evaluate(ARE_DRAWN, [CURVES, held]):
            return held
        page.wait_for_timeout(200)
    raise AssertionError("the browser never drew what the kernel holds, or the kernel never got there")


def test_the_main_job(notebook: Callable[..., Any]) -> None:
    page = notebook(START_HERE)
    before = drawn_lines(page)

    drag(page, ".imu-damping", -30)
    drawn_lines(page, lambda held: held != before)  # another damping gives another run

    page.locator(f"{PART_HEADS}:has-text('3 · Unlearning')").click()  # and the first part folds
    page.wait_for_selector(".imu-lr .noUi-handle")
    assert not page.is_visible(".imu-damping .noUi-handle")
    times = slider_latency(page, control=".imu-lr", key="ArrowRight", events=3)
    assert times and statistics.median(times) < 5000, "benchmarks measure it; here it must only be alive"

    card = page.locator(".imu-card")
    assert "Click a dot" in card.inner_text()
    dot = page.evaluate(LONE_DOT, [INFLUENCE, "ascend"])
    page.mouse.move(dot["x"] - 5, dot["y"] - 5)
    page.mouse.move(dot["x"], dot["y"], steps=4)
    page.wait_for_selector(f"{INFLUENCE} .hoverlayer .hovertext")  # plotly clicks what is hovered
    page.mouse.click(dot["x"], dot["y"])
    page.wait_for_function(
        "example => document.querySelector('.imu-card').innerText.includes(`example ${example}`)", arg=dot["example"]
    )

    page.locator(".imu-step-norm .imu-switch input").check()
    drawn_lines(page, lambda held: all("equal steps" in label for label, *_ in held))

    resize(page, 1280, 800)  # beside the file browser: less than 900 for the panel
    panel, side, curves, ledger = (page.locator(each).first.bounding_box() for each in PARTS)
    assert panel["width"] < 900 and curves["x"] >= side["x"] + side["width"], "two columns"
    assert curves["y"] - panel["y"] < 120 and ledger["width"] > 0.9 * panel["width"]
    assert max(page.evaluate(OVERLAPS)) <= 0, "no part of the right side lies over the next one"


PARTS = (".imu-panel", ".imu-side", CURVES, ".imu-ledger")

# By how many pixels each part of the right side reaches into the one below it.
OVERLAPS = """() => {
    const drawn = Array.from(document.querySelectorAll('.imu-main > .widget-vbox > *'));
    const low = part => Math.max(...[part, ...part.querySelectorAll('.js-plotly-plot, .main-svg')]
        .map(each => each.getBoundingClientRect().bottom));
    return drawn.slice(1).map((part, at) => low(drawn[at]) - part.getBoundingClientRect().top);
}"""


# A figure as the page has drawn it: lines, axes, legend and all, not the data they were made from.
DRAWN = "figure => [...document.querySelectorAll(figure + ' .main-svg')].map(layer => layer.innerHTML)"

WATCHED = f"""figure => {{ const plot = document.querySelector(figure); window.seen = [];
    for (const event of ['plotly_beforeplot', 'plotly_afterplot'])
        plot.on(event, () => window.seen.push([event, ({DRAWN})(figure)])) }}"""

REDRAW = "import time; panel.figures['curves'].layout.datarevision = time.monotonic()"
FADE = """
figure, label = panel.figures["curves"], panel.answer.runs[-1].label
with figure.batch_update():
    for trace in figure.data:
        trace.opacity = 0.25 if trace.meta.get("run") == label else 1.0
"""


def redrawn(page: Any, kind: str) -> None:
    """Wait until an update that was asked for has been drawn as this kind begins or ends."""
    page.wait_for_function("kind => window.seen.some(([event]) => event === kind)", arg=kind)
    page.wait_for_function("window.seen.at(-1)[0] === 'plotly_afterplot'")


def test_points_that_move_are_where_a_whole_redraw_puts_them(notebook: Callable[..., Any]) -> None:
    page = notebook(START_HERE)
    drawn_lines(page)
    page.evaluate(AT_REST, CURVES)
    page.evaluate(WATCHED, CURVES)
    moves = [
        lambda key=key: slider_latency(page, key=key, events=1) for key in ("ArrowLeft", "ArrowLeft", "ArrowRight")
    ]
    for move in (*moves, lambda: in_kernel(page, FADE)):
        before = page.evaluate(DRAWN, CURVES)
        page.evaluate("window.seen.length = 0")
        move()
        drawn_lines(page)
        redrawn(page, "plotly_afterplot")
        events, told = zip(*page.evaluate("window.seen"))
        assert set(events) == {"plotly_afterplot"}, "no axis is drawn again where only points move"
        moved = page.evaluate(DRAWN, CURVES)
        assert before != moved == told[-1], "who waits for a redraw is told when it is made"
        in_kernel(page, REDRAW)
        redrawn(page, "plotly_beforeplot")
        assert page.evaluate(DRAWN, CURVES) == moved


MIXED = """
import plotly.graph_objects as go
from imu_lab.widgets.base.bundle import FigureWidget
fixed = dict(range=[0, 10], autorange=False)
line = go.Scatter(x=[0, 1, 2], y=[1, 2, 3])
alone = FigureWidget(go.Figure(line, dict(xaxis=fixed, yaxis=fixed))).add_class("test-alone")
mixed = FigureWidget(go.Figure([line, go.Bar(x=[1], y=[2])], dict(xaxis=fixed, yaxis=fixed))).add_class("test-mixed")
"""

# A new figure is drawn again when it learns how wide its place is: this waits until a second has passed without.
AT_REST = """async figure => {
    const plot = document.querySelector(figure);
    let last = performance.now();
    plot.on('plotly_beforeplot', () => last = performance.now());
    while (performance.now() - last < 1000) await new Promise(resolve => setTimeout(resolve, 100));
}"""

COUNTED = """figure => { const plot = document.querySelector(figure); plot.full = 0;
    plot.on('plotly_beforeplot', () => plot.full += 1) }"""


def test_what_a_moved_point_would_spoil_is_drawn_whole(notebook: Callable[..., Any], tmp_path: Path) -> None:
    page = notebook(written(tmp_path, MIXED, "import ipywidgets as W\nW.VBox([alone, mixed])"))
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length === 2")
    alone, mixed = ".test-alone.js-plotly-plot", ".test-mixed.js-plotly-plot"
    for figure in (alone, mixed):
        page.evaluate(AT_REST, figure)
        page.evaluate(COUNTED, figure)
    line_is = "([figure, y]) => document.querySelector(figure)._fullData[0].y[0] === y"
    for code, figure, y, whole in (
        ("alone.data[0].update(y=[4, 5, 6])", alone, 4, 0),
        ("mixed.data[0].update(y=[4, 5, 6])", mixed, 4, 1),  # else the bars would vanish
        ("alone.data[0].update(y=[7, 5, 6], x=[5, 6, 7])", alone, 7, 0),
        ("alone.data[0].update(y=[3, 4])\nalone.layout.yaxis.autorange = True", alone, 3, 1),
        ("alone.data[0].update(y=[5, 9])", alone, 5, 2),  # the axis follows
    ):
        in_kernel(page, code)
        page.wait_for_function(line_is, arg=[figure, y])
        page.wait_for_timeout(300)
        assert page.evaluate("figure => document.querySelector(figure).full", figure) == whole, code
    assert page.evaluate("figure => document.querySelectorAll(figure + ' .barlayer path').length", mixed) == 1
    low, high = page.evaluate("figure => document.querySelector(figure)._fullLayout.yaxis.range", alone)
    assert 4 < low < 5 and 9 < high < 10


TOLD = """
import traitlets
told = []
figure, trace = panel.figures["influence"], next(t for t in panel.figures["influence"].data if t.meta["role"] == "ascend")
trace.on_hover(lambda *_: told.append("hover"), append=True)
trace.on_unhover(lambda *_: told.append("unhover"), append=True)
trace.on_click(lambda *_: told.append("click"), append=True)
figure.observe(lambda change: change.name.startswith("_js2py") and change.new and told.append(change.name), traitlets.All)
"""


def test_the_page_tells_of_clicks_and_of_nothing_else(notebook: Callable[..., Any]) -> None:
    page = notebook(START_HERE)
    drawn_lines(page)
    in_kernel(page, TOLD)
    slider_latency(page, figure=INFLUENCE, events=1)  # a redraw, of which plotly's own figures report every property
    drawn_lines(page)
    page.evaluate(AT_REST, INFLUENCE)
    for _ in range(2):
        dot = page.evaluate(LONE_DOT, [INFLUENCE, "ascend"])
        page.mouse.move(dot["x"] - 60, dot["y"] - 60)
        page.mouse.move(dot["x"], dot["y"], steps=4)
        page.wait_for_selector(f"{INFLUENCE} .hoverlayer .hovertext")
    assert json.loads(in_kernel(page, "print(json.dumps(told))")) == []
    page.mouse.click(dot["x"], dot["y"])
    page.wait_for_function(
        "example => document.querySelector('.imu-card').innerText.includes(`example ${example}`)", arg=dot["example"]
    )
    # The kernel takes a click and a question in two threads: the card can be here before the callback after it has run.
    deadline = time.monotonic() + SECONDS
    while "click" not in json.loads(in_kernel(page, "print(json.dumps(told))")):
        assert time.monotonic() < deadline, "the click never reached the kernel"
        page.wait_for_timeout(50)


def written(folder: Path, *cells: str) -> Path:
    """A notebook with these cells."""
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, folder / "made.ipynb")
    return folder / "made.ipynb"


def test_figures_share_one_bundle(notebook: Callable[..., Any], tmp_path: Path) -> None:
    figures = "W.VBox([FigureWidget(go.Figure(go.Scatter(y=[1, 2, 3]))) for _ in range(4)])"
    imports = "import plotly.graph_objects as go, ipywidgets as W\nfrom imu_lab.widgets.base.bundle import FigureWidget"
    page = notebook(written(tmp_path, imports, figures))
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length === 4")
    sizes = in_kernel(
        page,
        "from ipywidgets.widgets.widget import _instances as made\n"
        "print(sum(len(w.get_state().get('_esm', '')) > 10**6 or len(w.get_state().get('bundle', '')) "
        "> 10**6 for w in made.values()))",
    )
    assert sizes.strip() == "1", "one widget carries the bundle"
