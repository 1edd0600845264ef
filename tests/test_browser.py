"""The main job in a real JupyterLab: run all cells, drag a slider, click a dot, and look at what the browser drew."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

START_HERE = Path(__file__).resolve().parents[1] / "notebooks" / "00_start_here.ipynb"
CURVES, INFLUENCE = ".imu-curves.js-plotly-plot", ".imu-influence.js-plotly-plot"
SECONDS = 60

IN_KERNEL = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({code, store_history: false});
    let printed = '';
    future.onIOPub = message => { if (message.header.msg_type === 'stream') printed += message.content.text };
    await future.done;
    return printed;
}"""

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
FIRST_DOT = """([figure, role]) => {
    const plot = document.querySelector(figure), trace = plot._fullData.find(each => each.meta.role === role);
    plot.scrollIntoView({block: 'center'});
    const {xaxis, yaxis} = plot._fullLayout._plots[trace.xaxis + trace.yaxis], box = plot.getBoundingClientRect();
    return {x: box.left + xaxis._offset + xaxis.d2p(trace.x[0]), y: box.top + yaxis._offset + yaxis.d2p(trace.y[0]),
            example: trace.customdata[0]};
}"""

# From the key that moves the slider to the figure's redraw, by the page's own clock; null where nothing was redrawn.
TIME_A_KEY = """async ([control, figure, key, patience]) => {
    const plot = document.querySelector(figure), handle = document.querySelector(control + ' .noUi-handle');
    handle.focus();
    return await new Promise(resolve => {
        const start = performance.now();
        const redrawn = () => { plot.removeListener('plotly_afterplot', redrawn); resolve(performance.now() - start) };
        plot.on('plotly_afterplot', redrawn);
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
        setTimeout(() => { plot.removeListener('plotly_afterplot', redrawn); resolve(null) }, patience);
    });
}"""


def in_kernel(page: Any, code: str) -> str:
    """What ``code`` prints in the notebook's kernel."""
    return page.evaluate(IN_KERNEL, code)


def slider_latency(
    page: Any,
    control: str = ".imu-damping",
    figure: str = CURVES,
    key: str = "ArrowLeft",
    events: int = 20,
    rest: int = 700,
) -> list[float]:
    """Milliseconds from a key press on a slider to the redrawn figure, once per event.

    Every press moves the slider to a new position, so every answer is computed; ``rest`` milliseconds after each let
    the controls and the other figures finish. Presses that change nothing that is drawn are left out.

    Args:
        page: of a notebook that shows a workbench (the ``notebook`` fixture gives one).
        control, figure: CSS selectors of the slider and of the figure.
        key: what moves the slider.
    """
    times = []
    for _ in range(events):
        times.append(page.evaluate(TIME_A_KEY, [control, figure, key, 10_000]))
        page.wait_for_timeout(rest)
    return [milliseconds for milliseconds in times if milliseconds is not None]


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

    times = slider_latency(page, control=".imu-lr", key="ArrowRight", events=3)
    assert times and statistics.median(times) < 5000, "benchmarks measure it; here it must only be alive"

    card = page.locator(".imu-card")
    assert "Click a dot" in card.inner_text()
    dot = page.evaluate(FIRST_DOT, [INFLUENCE, "ascend"])
    page.mouse.move(dot["x"] - 5, dot["y"] - 5)
    page.mouse.move(dot["x"], dot["y"], steps=4)
    page.wait_for_selector(f"{INFLUENCE} .hoverlayer .hovertext")  # plotly clicks what is hovered
    page.mouse.click(dot["x"], dot["y"])
    page.wait_for_function(
        "example => document.querySelector('.imu-card').innerText.includes(`example ${example}`)", arg=dot["example"]
    )

    page.locator(".imu-switch", has_text="equal steps").locator("input").check()
    drawn_lines(page, lambda held: all("equal steps" in label for label, *_ in held))


# The lines and markers as the page has drawn them: the paths themselves, not the data they were made from.
DRAWN_PATHS = """figure => [...document.querySelectorAll(figure + ' .scatterlayer path')].map(path =>
    [path.getAttribute('d'), path.getAttribute('transform'), path.closest('.trace').style.opacity])"""

WATCHED = f"""figure => {{ const plot = document.querySelector(figure); window.seen = [];
    for (const event of ['plotly_beforeplot', 'plotly_afterplot'])
        plot.on(event, () => window.seen.push([event, ({DRAWN_PATHS})(figure)])) }}"""


def test_points_that_move_are_where_a_whole_redraw_puts_them(notebook: Callable[..., Any]) -> None:
    page = notebook(START_HERE)
    drawn_lines(page)
    page.evaluate(WATCHED, CURVES)
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        before = page.evaluate(DRAWN_PATHS, CURVES)
        page.evaluate("window.seen.length = 0")
        assert slider_latency(page, key=key, events=1)
        drawn_lines(page)
        events, told = zip(*page.evaluate("window.seen"))
        assert set(events) == {"plotly_afterplot"}, "no axis is drawn again where only points move"
        moved = page.evaluate(DRAWN_PATHS, CURVES)
        assert before != moved == told[-1], "who waits for a redraw is told when it is made"
        in_kernel(page, f"{LINES}\npanel.figures['curves'].layout.datarevision = {time.monotonic()}")
        page.wait_for_function("window.seen.some(([event]) => event === 'plotly_beforeplot')")
        page.wait_for_function("window.seen.at(-1)[0] === 'plotly_afterplot'")
        assert page.evaluate(DRAWN_PATHS, CURVES) == moved


def test_figures_share_one_bundle(notebook: Callable[..., Any], tmp_path: Path) -> None:
    import nbformat

    cells = [
        "import plotly.graph_objects as go, ipywidgets as W\nfrom imu_lab.widgets import FigureWidget",
        "W.VBox([FigureWidget(go.Figure(go.Scatter(y=[1, 2, 3]))) for _ in range(4)])",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "four_figures.ipynb"
    nbformat.write(made, path)
    page = notebook(path)
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length === 4")
    sizes = in_kernel(
        page,
        "from ipywidgets.widgets.widget import _instances as made\n"
        "print(sum(len(w.get_state().get('_esm', '')) > 10**6 or len(w.get_state().get('bundle', '')) "
        "> 10**6 for w in made.values()))",
    )
    assert sizes.strip() == "1", "one widget carries the bundle"
