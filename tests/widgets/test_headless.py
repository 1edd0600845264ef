"""Static pictures when the browser that draws them does not answer: the cell goes on, and so does the interpreter's end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace
from typing import Any

import plotly.graph_objects as go
import pytest

from imu_lab.widgets.base import headless
from imu_lab.widgets.base.panel import Panel


class Drawing:
    """A stand-in for kaleido's browser. ``answers`` says what each one made does: wait, fail, or draw."""

    made: list[Drawing] = []
    answers: list[str] = []

    def __init__(self, **_: Any) -> None:
        self.answer, self.killed = self.answers[len(self.made)], False
        self.subprocess = SimpleNamespace(kill=lambda: setattr(self, "killed", True))
        self.made.append(self)

    async def open(self) -> None:
        if self.answer == "never starts":
            await asyncio.Event().wait()

    async def calc_fig(self, figure: go.Figure, opts: dict) -> bytes:
        if self.answer == "never draws":
            await asyncio.Event().wait()
        if self.answer == "blocks":
            time.sleep(3)
        if self.answer == "fails":
            raise RuntimeError("the browser\nclosed")
        return f"{opts['width']} x {opts['height']}".encode()

    async def close(self) -> None:
        pass


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> type[Drawing]:
    """Stand-ins in the place of kaleido's browsers, and no patience."""
    made = type("Made", (Drawing,), {"made": [], "answers": []})
    monkeypatch.setitem(sys.modules, "kaleido", SimpleNamespace(Kaleido=made))
    monkeypatch.setattr(headless, "PATIENCE", 0.2)
    monkeypatch.setattr(headless, "_browser", None)
    yield made
    if headless._browser is not None:
        headless._given_up()


@pytest.mark.parametrize("fault", ["never starts", "never draws", "blocks", "fails"])
def test_another_browser_is_asked_where_one_gives_no_picture_and_stays(browsers: type[Drawing], fault: str) -> None:
    browsers.answers = [fault, "draws"]
    assert headless.png(go.Figure(), 40, 30) == b"40 x 30" == headless.png(go.Figure(), 40, 30)
    assert [each.killed for each in browsers.made] == [True, False]


@pytest.mark.parametrize("fault, words", [
    ("never starts", "gave no answer in 0 s, nor did a second one"),
    ("never draws", "gave no answer in 0 s, nor did a second one"),
    ("fails", r"drew none \(RuntimeError: the browser closed\), nor did a second one"),
])  # fmt: skip
def test_two_that_give_none_are_told_in_a_sentence_and_the_next_picture_tries_anew(
    browsers: type[Drawing], fault: str, words: str
) -> None:
    browsers.answers = [fault, fault, "draws"]
    with pytest.raises(headless.NoPicture, match=words):
        headless.png(go.Figure(), 40, 30)
    assert [each.killed for each in browsers.made] == [True, True]
    assert headless.png(go.Figure(), 40, 30) == b"40 x 30"


def test_a_panel_is_shown_without_its_picture_where_none_can_be_made(
    browsers: type[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    browsers.answers = ["never draws"] * 2
    monkeypatch.setenv("IMU_LAB_STATIC", "1")
    figure = go.Figure(layout_template="imu_lab")
    panel = Panel([], [], title="A panel", question=lambda: 1, compute=lambda *_: 1, draw=lambda _: None,
                  still_rows=lambda: [[figure, figure]])  # fmt: skip
    with pytest.warns(UserWarning, match="A panel has no static picture: the browser .* gave no answer"):
        bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and "image/png" not in bundle
    assert len(browsers.made) == 2, "one figure tells that none can be drawn"
    panel.close()


@pytest.mark.slow
def test_a_browser_that_hangs_keeps_no_interpreter_from_ending() -> None:
    code = textwrap.dedent("""
        import sys, time
        from types import SimpleNamespace
        import plotly.graph_objects as go
        from imu_lab.widgets.base import headless

        class Hanging:
            def __init__(self, **_): self.subprocess = SimpleNamespace(kill=lambda: None)
            async def open(self): pass
            async def calc_fig(self, *_, **__): time.sleep(600)
            async def close(self): time.sleep(600)

        sys.modules["kaleido"] = SimpleNamespace(Kaleido=Hanging)
        headless.PATIENCE = 0.2
        try:
            headless.png(go.Figure(), 40, 30)
        except headless.NoPicture as error:
            print(error)
    """)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0 and "nor did a second one" in ended.stdout, ended.stderr
