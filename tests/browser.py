"""Fixtures for tests in a real JupyterLab: ``notebook(path)`` opens a notebook, runs all its cells and gives its page.

An exception in a widget's callback shows nowhere: not in the notebook, not in the console, not in the server's log.
So the page listens to the kernel's messages, and ``page.problems`` lists everything that went wrong: errors and
warnings of the kernel, errors of the page, and every request that leaves this machine. The fixture asserts that it is
empty, after the cells have run and again at the end of the test; a test that provokes an error clears the list.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

START_SECONDS = 60
RUN_SECONDS = 180
WAIT_SECONDS = 20

# --no-sandbox: containers usually run as root. The rest keeps Chromium from calling home.
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},  # otherwise cells out of sight are not in the page
    "docmanager-extension/plugin": {"autosave": False},
}

# By path: JupyterLab may still show the notebook of an earlier test.
KERNEL_IS_IDLE = """path => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    return panel?.context?.path === path && panel.context.isReady
        && panel.sessionContext?.session?.kernel?.status === 'idle';
}"""

REPORT_KERNEL_ERRORS = """() => {
    window.jupyterapp.shell.currentWidget.sessionContext.iopubMessage.connect((_, message) => {
        const {header, content} = message;
        if (header.msg_type === 'error') reportProblem(`kernel: ${content.ename}: ${content.evalue}`);
        // JupyterLab asks for the widgets' control channel even before ipywidgets is imported; the kernel grumbles.
        const early = /No such comm/.test(content.text ?? '');
        // What a run tells of itself has its own tests, and lessons go too far on purpose.
        const told = /the run (collapsed|passed its utility limit|forgot nothing|did not reach)/.test(content.text ?? '');
        if (header.msg_type === 'stream' && content.name === 'stderr' && !early && !told)
            reportProblem(`kernel stderr: ${content.text}`);
    });
}"""

RUN_ALL_CELLS = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); }"

IN_KERNEL = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const future = kernel.requestExecute({code, store_history: false});
    let printed = '';
    future.onIOPub = message => { if (message.header.msg_type === 'stream') printed += message.content.text };
    await future.done;
    return printed;
}"""

PLOT_BOX = """figure => {
    const plot = document.querySelector(figure), {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
    return [box.left + xaxis._offset, box.top + yaxis._offset, xaxis._length, yaxis._length];
}"""

SHUT_KERNEL_DOWN = """async () => {
    try { await window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); } catch (error) { }
}"""


def chromium_path() -> str | None:
    """The Chromium or Chrome on this machine; ``IMU_LAB_CHROMIUM`` names another."""
    names = [os.environ.get("IMU_LAB_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "chrome"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless browser for the session."""
    playwright = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
    path = chromium_path()
    if path is None:
        pytest.skip("browser tests need Chromium (on Debian: apt install chromium), or IMU_LAB_CHROMIUM=its path")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One JupyterLab for the session, with its own home and settings: ``lab.url`` and the ``lab.folder`` it serves."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    folder.mkdir()
    write_settings(home / "settings")
    url = f"http://127.0.0.1:{free_port()}"
    log = home / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            server_command(url, folder), env=isolated(home), stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        wait_until_up(server, url, log)
        yield SimpleNamespace(url=url, folder=folder)
    finally:
        stop(server)


@pytest.fixture
def notebook(lab: SimpleNamespace, chromium: Any) -> Iterator[Callable[..., Any]]:
    """``notebook(path) -> page``: a copy of the notebook in JupyterLab with all cells run, and nothing gone wrong.

    ``script`` runs in the page before any other; problems in ``forgiven`` are none.
    """
    pages = []

    def opened(path: Path, run_seconds: float = RUN_SECONDS, script: str = "", forgiven: tuple[str, ...] = ()) -> Any:
        shutil.copy(path, lab.folder)
        page = chromium.new_context(viewport={"width": 1400, "height": 1400}).new_page()
        pages.append(page)
        page.add_init_script(script)
        collect_problems(page, lab.url, forgiven)
        open_notebook(page, lab.url, Path(path).name)
        page.set_default_timeout(run_seconds * 1000)
        page.evaluate(RUN_ALL_CELLS)
        page.set_default_timeout(WAIT_SECONDS * 1000)
        fail_on(taken_problems(page))
        return page

    yield opened
    problems = [problem for page in pages for problem in taken_problems(page)]
    for page in pages:
        page.evaluate(SHUT_KERNEL_DOWN)
        page.context.close()
    fail_on(problems)


def collect_problems(page: Any, url: str, forgiven: tuple[str, ...] = ()) -> None:
    """Give the page its list ``problems``, which fills by itself with all that is not forgiven."""
    page.problems = []

    def report(problem: str) -> None:
        if problem not in forgiven:
            page.problems.append(problem)

    page.expose_function("reportProblem", lambda problem: report(problem))  # playwright sets an attribute on it
    page.on("request", lambda request: is_external(request.url, url) and report(f"external request: {request.url}"))
    page.on("pageerror", lambda error: report(f"page: {error}"))
    page.on("console", lambda message: message.type == "error" and report(f"console: {message.text}"))


def taken_problems(page: Any) -> list[str]:
    """What has gone wrong so far, taken off the page's list, so that it is told once."""
    page.evaluate("0")  # a round trip, in which reports under way arrive
    problems = page.problems.copy()
    page.problems.clear()
    return problems


def fail_on(problems: list[str]) -> None:
    """Fail the test if there are any problems, naming them all."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def in_kernel(page: Any, code: str) -> str:
    """What ``code`` prints in the notebook's kernel."""
    return page.evaluate(IN_KERNEL, code)


def lasso(page: Any, figure: str, share: float = 1.0) -> None:
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


CURVES = ".imu-curves.js-plotly-plot"  # of a workbench
PART_HEADS = ".imu-parts > .jupyter-widget-Collapse > .jupyter-widget-Collapse-header"  # of its controls

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


# Once no figure and no panel has changed its size for a while, and each figure is as wide as its place.
SETTLED = """async () => {
    const plots = () => Array.from(document.querySelectorAll('.js-plotly-plot'));
    const sizes = () => JSON.stringify(Array.from(document.querySelectorAll('.imu-panel, .js-plotly-plot, .imu-panel img'),
        each => { const box = each.getBoundingClientRect(); return [box.width, box.height] }));
    const fits = plot => Math.abs((plot._fullLayout?.width ?? 0) - plot.clientWidth) < 2;
    let before = null, alike = 0;
    while (alike < 4) {
        await new Promise(resolve => setTimeout(resolve, 100));
        const now = sizes();
        alike = now === before && plots().every(fits) ? alike + 1 : 0;
        before = now;
    }
}"""


def resize(page: Any, width: int, height: int) -> None:
    """Give the page another size and wait until all that it shows has followed."""
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(SETTLED)


def is_external(address: str, url: str) -> bool:
    """Whether a request leaves this machine; data: and blob: addresses do not."""
    return address.startswith(("http", "ws")) and address.split("://")[1].split("/")[0] != url.split("://")[1]


def open_notebook(page: Any, url: str, name: str) -> None:
    """Open a notebook in a workspace of its own and wait for its kernel; listen to the kernel from then on."""
    page.goto(f"{url}/lab/workspaces/{uuid.uuid4().hex}/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_function(KERNEL_IS_IDLE, arg=name, timeout=START_SECONDS * 1000)
    page.evaluate(REPORT_KERNEL_ERRORS)


def server_command(url: str, folder: Path) -> list[str]:
    """The command line of the JupyterLab that serves ``folder`` at ``url``, for this machine only."""
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        "--allow-root",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={url.rsplit(':')[-1]}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
        # Where pytest is killed, nothing below stops the server: it then stops by itself.
        "--MappingKernelManager.cull_idle_timeout=3600",
        "--ServerApp.shutdown_no_activity_timeout=3600",
    ]


def isolated(home: Path) -> dict[str, str]:
    """The environment of a server that sees nothing of the settings of the person who runs the tests."""
    names = {
        "HOME": ".",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    return {**os.environ, **{name: str(home / folder) for name, folder in names.items()}}


def write_settings(folder: Path) -> None:
    """Store the JupyterLab settings of the tests."""
    for name, values in SETTINGS.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def free_port() -> int:
    """A port that nothing listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_up(server: subprocess.Popen, url: str, log: Path) -> None:
    """Return once the server answers; raise RuntimeError with the end of its log if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def stop(server: subprocess.Popen) -> None:
    """End the server, which then ends its kernels; end them all by force if that takes too long."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(5)
