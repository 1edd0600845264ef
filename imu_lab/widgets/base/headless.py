"""A figure as PNG bytes, by kaleido's browser: in a thread of its own, which nobody waits for without end.

kaleido waits for its browser without limit where that starts, or loads its page again, and so would a notebook's cell.
"""

from __future__ import annotations

import asyncio
import atexit
from concurrent.futures import TimeoutError as NoAnswer  # an own class before Python 3.11
from threading import Thread
from typing import Any

import plotly.graph_objects as go

PATIENCE = 60.0  # seconds for one picture, among them those of a browser's start: 3 s on a quiet machine
TRIES = 2  # browsers, one after the other


class NoPicture(RuntimeError):
    """No picture could be made of a figure; its words say why."""


class Browser:
    """One browser, started with its first picture. Its threads are daemons, so that they keep no interpreter from ending."""

    def __init__(self) -> None:
        self._drawing: Any = None  # kaleido's
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, daemon=True, name="pictures").start()

    def png(self, figure: go.Figure, width: int, height: int, patience: float) -> bytes:
        """The picture; raises ``NoAnswer`` after so many seconds."""
        asked = asyncio.run_coroutine_threadsafe(self._png(figure, width, height), self._loop)
        try:
            return asked.result(patience)
        finally:
            asked.cancel()  # nothing where it has been answered

    async def _png(self, figure: go.Figure, width: int, height: int) -> bytes:
        if self._drawing is None:
            import kaleido

            self._drawing = kaleido.Kaleido(mathjax=False)  # which would come from a network, and no figure needs it
            await self._drawing.open()
            atexit.register(self.close)  # now, so that it comes before what cleans up the folder that was just made
        return await self._drawing.calc_fig(figure, opts=dict(format="png", width=width, height=height))

    def close(self) -> None:
        """End the browser, kindly where it still answers."""
        if self._drawing is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._drawing.close(), self._loop).result(5)
        except Exception:  # whatever it died of: it is to be gone
            self.kill()

    def kill(self) -> None:
        """End the browser's process, if it has come so far."""
        atexit.unregister(self.close)
        process = getattr(self._drawing, "subprocess", None)
        if process is not None:
            process.kill()


_browser: Browser | None = None


def png(figure: go.Figure, width: int, height: int) -> bytes:
    """The figure as a PNG of so many pixels, by this process's one browser: 0.2 s each, where a browser each takes 3.

    A browser that fails, or does not answer within ``PATIENCE``, is ended, and another one asked.

    Raises:
        NoPicture: that one failed, too.
    """
    global _browser
    for tried in range(1, TRIES + 1):
        if _browser is None:
            _browser = Browser()
        try:
            return _browser.png(figure, width, height, PATIENCE)
        except Exception as error:  # no answer in time, or whatever its browser says
            _given_up()
            if tried == TRIES:
                raise NoPicture(
                    f"the browser that draws static pictures {_why(error)}, nor did a second one"
                ) from error


def _why(error: Exception) -> str:
    if isinstance(error, NoAnswer):
        return f"gave no answer in {PATIENCE:.0f} s"
    return f"drew none ({type(error).__name__}: {' '.join(str(error).split())})"


def _given_up() -> None:
    """Let go of the browser; the next picture starts another one."""
    global _browser
    browser, _browser = _browser, None
    browser.kill()
