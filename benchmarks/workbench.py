"""The workbench in a real browser: a slider's move to the curves, and a key held down beside a bare slider."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from .explorer import laboratory
from .measure import Row

MOVES, PRESSES = 20, 60
UNFORESEEN, LEAPS = ("ArrowLeft", "PageDown"), 5  # a slider that goes on as it went is answered before it is asked

BENCH = """
import ipywidgets, imu_lab as imu
from imu_lab.widgets.base.bundle import FigureWidget
FigureWidget()
task = imu.tasks.Classification("digits", forget_class=3, seed=0)
original, retrained = (imu.train(task, split, seed=0, progress=lambda *_: None) for split in ("train", "retain"))
bench = imu.workbench(task, original, reference=retrained)
bare = ipywidgets.FloatSlider(0, min=0, max=100, step=1)
bare.add_class("bare")
bare.observe(lambda change: None, "value")  # as every slider that is worth moving
display(ipywidgets.VBox([bare, bench]))
"""

READY = """() => { const look = () => ['.imu-curves', '.imu-influence'].every(name =>
    document.querySelector(name + '.js-plotly-plot .main-svg'))
    ? (window.panelsSeen = Date.now()) : requestAnimationFrame(look); look() }"""

# A key held down repeats about 30 times a second. Milliseconds from the first press to the frame after the last.
HELD = """async ([control, key, presses]) => {
    const handle = document.querySelector(control + ' .noUi-handle'), start = performance.now();
    handle.focus();
    for (let press = 1; press <= presses; press++) {
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
        const left = start + 33 * press - performance.now();
        await new Promise(resolve => setTimeout(resolve, Math.max(0, left)));
    }
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def rows() -> Iterator[Row]:
    """Each figure of the workbench beside its target."""
    with laboratory() as opened:
        page = opened(notebook(), READY)
        unfold(page, ".imu-damping")
        times = [slider(page, ".imu-damping", ".imu-curves.js-plotly-plot", key, 1) for key in UNFORESEEN * LEAPS]
        yield Row(f"damping slider to curves, one position and then several, median of {len(times)}",
                  statistics.median(times), 100, unit="ms")  # fmt: skip
        for name, control in {"damping": ".imu-damping", "rate": ".imu-lr"}.items():
            unfold(page, control)
            for figure in (".imu-curves", ".imu-influence")[: 2 if name == "damping" else 1]:
                moved = slider(page, control, f"{figure}.js-plotly-plot")
                yield Row(f"{name} slider to {figure[5:]}, median of {MOVES}", moved, 100, unit="ms")
        for name, control in {"rate": ".imu-lr", "damping": ".imu-damping"}.items():
            unfold(page, control)
            # Back over positions whose runs are at hand: answers come fastest there.
            for key in ("ArrowRight", "ArrowLeft"):
                bare, ours = (page.evaluate(HELD, [slid, key, PRESSES]) for slid in (".bare", control))
                page.wait_for_timeout(2_000)
            yield Row(f"a key held for {PRESSES} presses on the {name} slider, its runs at hand / on a bare slider", ours / bare,
                      1.1, unit="x")  # fmt: skip


def notebook() -> Any:
    """One cell that shows a bare slider and the workbench on digits."""
    from nbformat.v4 import new_code_cell, new_notebook

    return new_notebook(cells=[new_code_cell(BENCH)],
                        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})  # fmt: skip


def unfold(page: Any, control: str) -> None:
    """Open the part of the controls in which this one stands."""
    from browser import PART_HEADS

    heads = page.locator(PART_HEADS)
    for at in range(heads.count()):
        if page.is_visible(f"{control} .noUi-handle"):
            return
        heads.nth(at).click()
        page.wait_for_timeout(500)


def slider(page: Any, control: str, figure: str, key: str = "ArrowLeft", events: int = MOVES) -> float:
    """Median milliseconds from a key press to the redrawn figure."""
    from browser import slider_latency

    return statistics.median(slider_latency(page, control, figure, key, events))
