"""The explorer in a real browser: on screen, click to card, scrubbing, and a lasso over 50,000 samples."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .measure import Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

CLICKS, FRAMES = 20, 60
MAP, PICTURE, PATHS = ".imu-map.js-plotly-plot", ".imu-map-picture", ".imu-paths.js-plotly-plot"

# A task of so many forget samples with a linear readout: the size of the data, none of the training.
MADE = """
import time, torch, imu_lab as imu
from imu_lab.widgets.base.bundle import FigureWidget
def made(count, steps):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count + 2000) % 10
    points = torch.randn(len(labels), 32, generator=generator) + 2 * torch.randn(10, 32, generator=generator)[labels]
    head = torch.nn.Linear(32, 10)
    task = imu.tasks.Classification.from_data(head, (points, labels), (points[:200], labels[:200]),
                                              forget_indices=range(count))
    model = imu.train(task)
    return imu.unlearn(task, model, steps=steps, lr=1e-3, progress=lambda *_: None)
"""

# The time between an event on the page and the first moment at which all of these texts or figures have changed.
TIMED = """([event, watched, redrawn]) => new Promise(resolve => {
    let start = null, left = watched.length + redrawn.length;
    const done = () => { if (start !== null && --left === 0) resolve(performance.now() - start) };
    document.addEventListener(event, () => { start ??= performance.now() }, {once: true, capture: true});
    for (const selector of watched) {
        const observer = new MutationObserver(() => { if (start !== null) { observer.disconnect(); done() } });
        observer.observe(document.querySelector(selector), {childList: true, subtree: true, characterData: true});
    }
    for (const selector of redrawn) {
        const plot = document.querySelector(selector), picture = plot.tagName === 'IMG';
        let seen = false;
        const drawn = () => { if (start !== null && !seen) { seen = true; done() } };
        picture ? plot.addEventListener('load', drawn) : plot.on('plotly_afterplot', drawn);
    }
    setTimeout(() => resolve(null), 20000);
})"""

# Frames of the picture that reached the page a second, while what is given goes through the updates.
SHOWN = """async ([image, scrub]) => {
    const picture = document.querySelector(image), times = [], seen = () => times.push(performance.now());
    picture.addEventListener('load', seen);
    await eval(scrub)();
    await new Promise(resolve => setTimeout(resolve, 500));
    picture.removeEventListener('load', seen);
    return 1000 * (times.length - 1) / (times.at(-1) - times[0]);
}"""

# A key held down repeats about 30 times a second.
HELD = f"""async () => {{
    const handle = document.querySelector('.imu-step .noUi-handle');
    handle.focus();
    for (let frame = 0; frame < {FRAMES}; frame++) {{
        handle.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight', bubbles: true, cancelable: true}}));
        await new Promise(resolve => setTimeout(resolve, 33));
    }}
}}"""

PLAYED = """async () => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const code = 'explorer.play.seconds = 0.04; explorer.play.value = True';
    await kernel.requestExecute({code, store_history: false}).done;
    const button = document.querySelector('.imu-play');
    while (button.classList.contains('mod-active')) await new Promise(resolve => setTimeout(resolve, 50));
}"""

SEEN = f"""() => {{ const look = () => [{MAP!r}, {PATHS!r}].every(name => document.querySelector(name + ' .main-svg'))
    ? (window.panelsSeen = Date.now()) : requestAnimationFrame(look); look() }}"""


def rows() -> Iterator[Row]:
    """Each figure of the explorer beside its target."""
    with laboratory() as opened:
        page = opened(notebook(5_000, FRAMES))
        yield Row(
            "finished run of 5,000 samples to the explorer on screen, bundle in the page",
            on_screen(page),
            2.5,
            unit="s",
        )
        yield Row("click to card, median of 20, 5,000 samples", click_to_card(page), 100, unit="ms")
        what = f"scrubbing {FRAMES} updates on 5,000 samples, one picture"
        yield Row(f"{what}: played", scrubbing(page, PLAYED), 24, True, "frames/s")
        yield Row(f"{what}: arrow key held down", scrubbing(page, HELD), 20, True, "frames/s")
        page = opened(notebook(50_000, 20))
        yield Row("lasso over 50,000 samples to the last linked view", lasso_time(page), 1.2, unit="s")


def notebook(count: int, steps: int) -> Any:
    """Cells that make a run, bring the bundle to the page, and show the explorer; each tells the kernel's clock."""
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [f"{MADE}\nrun = made({count}, {steps})", "FigureWidget()",
             "began = time.time()\nexplorer = imu.explore(run)\nexplorer"]  # fmt: skip
    return new_notebook(cells=[new_code_cell(cell) for cell in cells],
                        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})  # fmt: skip


@contextmanager
def laboratory() -> Iterator[Any]:
    """A JupyterLab and a browser; gives a function that opens a notebook with all its cells run."""
    import browser
    import nbformat
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        home = Path(name)
        (home / "notebooks").mkdir()
        browser.write_settings(home / "settings")
        url = f"http://127.0.0.1:{browser.free_port()}"
        log = home / "server.log"
        with log.open("wb") as stream:
            server = subprocess.Popen(browser.server_command(url, home / "notebooks"), env=browser.isolated(home),
                                      stdout=stream, stderr=stream, start_new_session=True)  # fmt: skip
        chromium = driver.chromium.launch(executable_path=browser.chromium_path(), args=browser.CHROMIUM_FLAGS)

        def opened(book: Any, seen: str = SEEN) -> Any:
            path = home / "notebooks" / f"{len(book.cells)}-{abs(hash(str(book)))}.ipynb"
            nbformat.write(book, path)
            page = chromium.new_context(viewport={"width": 1600, "height": 1500}).new_page()
            browser.collect_problems(page, url)
            browser.open_notebook(page, url, path.name)
            page.evaluate(seen)
            page.set_default_timeout(300_000)
            page.evaluate(browser.RUN_ALL_CELLS)
            page.wait_for_function("() => window.panelsSeen", timeout=60_000)
            return page

        try:
            browser.wait_until_up(server, url, log)
            yield opened
        finally:
            chromium.close()
            browser.stop(server)


def on_screen(page: Any) -> float:
    """Seconds from the cell's beginning to both figures on the page."""
    from browser import in_kernel

    return page.evaluate("window.panelsSeen") / 1000 - float(in_kernel(page, "print(began)"))


def click_to_card(page: Any) -> float:
    """Median milliseconds from the mouse button's release over a dot to the new card."""
    places = """name => { const plot = document.querySelector(name); plot.scrollIntoView({block: 'center'});
        const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
        const trace = plot._fullData.find(each => each.meta.role === 'forget');
        return Array.from({length: 40}, (_, k) => 101 * k).map(at =>
            [box.left + xaxis._offset + xaxis.d2p(trace.x[at]), box.top + yaxis._offset + yaxis.d2p(trace.y[at])]) }"""
    times = []
    for x, y in page.evaluate(places, MAP)[:CLICKS]:
        page.mouse.move(x - 9, y - 9)
        page.mouse.move(x, y, steps=4)
        page.wait_for_timeout(300)
        page.evaluate(f"arguments => {{ window.timed = ({TIMED})(arguments) }}", ["mouseup", [".imu-card"], []])
        page.mouse.click(x, y)
        taken = page.evaluate("window.timed")
        times += [taken] if taken is not None else []
        page.wait_for_timeout(500)
    return statistics.median(times)


def scrubbing(page: Any, how: str) -> float:
    """Frames shown a second from the first update to the last."""
    from browser import in_kernel

    in_kernel(page, "explorer.step.value = 0; explorer.wait()")
    page.evaluate(f"document.querySelector({MAP!r}).scrollIntoView({{block: 'center'}})")
    page.wait_for_timeout(1500)
    return page.evaluate(SHOWN, [PICTURE, how])


def lasso_time(page: Any) -> float:
    """Seconds from the end of a lasso around most samples to the last of count, ledger, map and trajectories."""
    from browser import lasso

    page.evaluate(f"document.querySelector({MAP!r}).scrollIntoView({{block: 'center'}})")
    page.wait_for_timeout(1500)
    watched = [[".imu-count", ".imu-explorer .imu-ledger .imu-table"], [PICTURE, PATHS]]
    page.evaluate(f"arguments => {{ window.timed = ({TIMED})(arguments) }}", ["mouseup", *watched])
    lasso(page, MAP, share=0.6)
    return page.evaluate("window.timed") / 1000
