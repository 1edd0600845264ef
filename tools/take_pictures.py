"""Take the README's pictures from a real JupyterLab: two that move, and two that stand still.

``python tools/take_pictures.py`` (needs Chromium): the workbench while damping moves, the explorer while a run is
played, the explorer in the dark theme, run control with a fork. It drives the browser as the tests do.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import build_notebooks
import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

sys.path.insert(0, str(build_notebooks.ROOT / "tests"))
import browser  # noqa: E402  (the helpers of the browser tests)

PICTURES = build_notebooks.NOTEBOOKS / "pictures"
MAX_BYTES = 1_400_000
SETUP = """import warnings
import imu_lab as imu
warnings.simplefilter("ignore")
task = imu.tasks.Classification("digits", forget_class=3)
original, retrained = imu.train(task), imu.train(task, "retain")
run = imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=60, reference=retrained)"""
PANELS = {
    "workbench": "panel = imu.workbench(task, original, reference=retrained)\npanel",
    "explorer": "panel = imu.explore(run)\npanel",
    "run_control": "panel = imu.run_control(task, original, reference=retrained)\npanel",
}
CLIP = """() => {
    const panel = document.querySelector('.imu-panel');
    panel.scrollIntoView({block: 'start'});
    const box = panel.getBoundingClientRect();
    return {x: box.left - 4, y: box.top - 4, width: box.width + 8, height: Math.min(box.height + 8, innerHeight - box.top - 30)};
}"""
KEY = "([control, key]) => { const handle = document.querySelector(control + ' .noUi-handle'); handle.focus(); " \
      "handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true})); }"  # fmt: skip
THEME = "async theme => { await window.jupyterapp.commands.execute('apputils:change-theme', {theme}) }"
FOLD = "async () => { await window.jupyterapp.commands.execute('application:toggle-left-area') }"


@contextmanager
def jupyterlab() -> Iterator[tuple[Any, str, Path]]:
    """A browser, the address of a JupyterLab of its own, and the folder that it serves."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        folder = Path(home) / "notebooks"
        folder.mkdir()
        browser.write_settings(Path(home) / "settings")
        url = f"http://127.0.0.1:{browser.free_port()}"
        import subprocess

        with (Path(home) / "log").open("wb") as log:
            server = subprocess.Popen(
                browser.server_command(url, folder), env=browser.isolated(Path(home)), stdout=log, stderr=log
            )
        try:
            browser.wait_until_up(server, url, Path(home) / "log")
            chromium = driver.chromium.launch(executable_path=browser.chromium_path(), args=browser.CHROMIUM_FLAGS)
            yield chromium, url, folder
            chromium.close()
        finally:
            browser.stop(server)


def opened(chromium: Any, url: str, folder: Path, panel: str, width: int, height: int) -> Any:
    """A page that shows one panel, with what it needs computed."""
    notebook = new_notebook(cells=[new_code_cell(SETUP), new_code_cell(PANELS[panel])])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / f"{panel}.ipynb")
    page = chromium.new_context(viewport={"width": width, "height": height}).new_page()
    browser.collect_problems(page, url)
    browser.open_notebook(page, url, f"{panel}.ipynb")
    page.evaluate(FOLD)
    page.set_default_timeout(300_000)
    page.evaluate(browser.RUN_ALL_CELLS)
    page.wait_for_selector(".imu-panel")
    browser.in_kernel(page, "getattr(panel, 'wait', lambda seconds: None)(120)")
    page.wait_for_timeout(3000)
    return page


def shot(page: Any) -> Image.Image:
    """What the panel shows now."""
    return Image.open(io.BytesIO(page.screenshot(clip=page.evaluate(CLIP)))).convert("RGB")


def stored(frames: list[Image.Image], name: str, width: int, milliseconds: int = 350) -> None:
    """Store a picture, or several as one that moves; smaller until it is light enough."""
    for wide in (width, width * 4 // 5, width * 3 // 5):
        small = [
            each.resize((wide, round(each.height * wide / each.width)), Image.Resampling.LANCZOS) for each in frames
        ]
        buffer = io.BytesIO()
        if len(small) > 1:
            small[0].save(
                buffer, "WEBP", save_all=True, append_images=small[1:], duration=milliseconds, loop=0, quality=72
            )
        else:
            small[0].quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() < MAX_BYTES:
            break
    (PICTURES / name).write_bytes(buffer.getvalue())
    print(f"{name}: {len(frames)} frames, {wide} pixels wide, {buffer.tell() / 1000:,.0f} kB", flush=True)


def workbench(page: Any) -> None:
    """Damping moves to and fro; then another sample is chosen by its place in the figure."""
    frames = [shot(page)]
    for key in ["ArrowLeft"] * 8 + ["ArrowRight"] * 8:
        page.evaluate(KEY, [".imu-damping", key])
        page.wait_for_timeout(700)
        browser.in_kernel(page, "panel.wait(60)")
        frames.append(shot(page))
    stored(frames, "workbench.webp", 1000)


def explorer(page: Any) -> None:
    """A run, scrubbed from its first update to its last."""
    frames = []
    for step in [0, *range(16, 56, 2), 60]:
        browser.in_kernel(page, f"panel.step.value = {step}")
        page.wait_for_timeout(900)
        frames.append(shot(page))
    stored([*frames, frames[-1], frames[-1]], "explorer.webp", 1000, 250)
    page.evaluate(THEME, "JupyterLab Dark")
    page.wait_for_timeout(4000)
    stored([shot(page)], "explorer_dark.png", 1200)
    page.evaluate(THEME, "JupyterLab Light")


def run_control(page: Any) -> None:
    """A run, and a fork that left it."""
    page.click(".imu-start")
    browser.in_kernel(page, "panel.wait(120)")
    page.wait_for_selector(".imu-run-control .imu-scores tr")
    browser.in_kernel(page, "panel.rewind.value = 28")
    for _ in range(7):  # to much smaller steps
        page.evaluate(KEY, [".imu-lr", "ArrowLeft"])
        page.wait_for_timeout(300)
    page.click(".imu-fork")
    page.wait_for_function("() => document.querySelector('.imu-scores').textContent.includes('forked')")
    page.wait_for_selector(".imu-run-control .imu-curves .scatterlayer .trace", state="attached")
    page.wait_for_timeout(3000)
    stored([shot(page)], "run_control.png", 1200)


def main(arguments: list[str] | None = None) -> int:
    """The command line: names of the pictures to take, all without."""
    known = {
        "workbench": (workbench, 1280, 1350),
        "explorer": (explorer, 1440, 1150),
        "run_control": (run_control, 1280, 1200),
    }
    names = (sys.argv[1:] if arguments is None else arguments) or list(known)
    with jupyterlab() as (chromium, url, folder):
        for name in names:
            take, width, height = known[name]
            take(opened(chromium, url, folder, name, width, height))
    return 0


if __name__ == "__main__":
    sys.exit(main())
