"""What every panel has: controls, views, a job between them, a status line, and a place where errors appear."""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from html import escape
from typing import Any

import ipywidgets as W

from . import headless, still, theme
from .closing import close_all
from .job import Job, Progress

SIDE_WIDTH = "318px"
BESIDE = "480px"  # the views stand beside the controls where they find so much room: on a screen of 1280 pixels too


class Panel(W.VBox):
    """Controls on the left, views on the right; a question goes from one to the other through a job.

    Args:
        controls: widgets for the left column.
        views: widgets for the right side.
        below: widgets under both, as wide as the panel.
        title: of the panel.
        question: reads the controls; what it returns goes to ``compute``.
        compute: ``(question, report)`` to an answer, or to a generator of answers (see :class:`Job`).
        draw: shows an answer, and may return what draws the rest of it (see :class:`Job`).
        still_rows: the rows of a static picture: figures, PNG bytes or words (see :func:`still.composed`).
        foresight: ``likely`` and ``ahead`` of the job, where answers are worked out before they are asked.

    Attributes:
        job: answers the questions.

    A callback that is wrapped in ``guarded`` shows its exceptions in the panel, as the job does; otherwise they would
    be lost, for a notebook shows no exception of a widget's callback.
    """

    def __init__(
        self,
        controls: Iterable[W.Widget],
        views: Iterable[W.Widget],
        *,
        title: str,
        question: Callable[[], Any],
        compute: Callable,
        draw: Callable[[Any], Callable[[], Any] | None],
        still_rows: Callable[[], list],
        below: Iterable[W.Widget] = (),
        **foresight: Callable,
    ) -> None:
        self.status = W.HTML("ready").add_class("imu-status")
        self.stop_button = W.Button(
            icon="stop", tooltip="Stop the computation.", layout=W.Layout(width="34px", display="none")
        )
        self.error = W.HTML().add_class("imu-error")
        self.error.layout.display = "none"
        self.title, self._question, self._still_rows = title, question, still_rows
        told = dict(on_error=self.show_error, on_progress=self._progress, on_done=self._done)
        self.job = Job(compute, draw, **told, **foresight)
        side = W.VBox(list(controls), layout=W.Layout(flex=f"0 0 {SIDE_WIDTH}", width=SIDE_WIDTH)).add_class("imu-side")
        main = W.VBox(list(views), layout=W.Layout(flex=f"1 1 {BESIDE}", min_width="0")).add_class("imu-main")
        body = W.HBox([side, main], layout=W.Layout(flex_flow="row wrap", grid_gap="0 16px"))
        super().__init__([theme.style_sheet(), self._head(), self.error, body, *below])
        self.add_class("imu-panel")

    def _head(self) -> W.HBox:
        title = W.HTML(escape(self.title), layout=W.Layout(flex="1 1 auto")).add_class("imu-title")
        self.stop_button.on_click(lambda _: self.stop())
        return W.HBox([title, self.status, self.stop_button]).add_class("imu-head")

    def ask(self, *_: Any) -> None:
        """Put the controls' question to the job; the newest one wins."""
        self.guarded(lambda: self.job.submit(self._question()))()

    def stop(self) -> None:
        """Stop the computation at its next update; what is drawn stays."""
        self.job.stop()
        self.stop_button.layout.display = "none"
        self.status.value = "stopped"

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the newest question is answered and drawn; for scripts, tests and static pictures."""
        return self.job.wait(timeout)

    def close(self) -> None:
        """Take the panel from the page, and free all that it holds: else each would stay for as long as the kernel."""
        close_all(self.children)
        self.layout.close()
        super().close()

    def guarded(self, callback: Callable) -> Callable:
        """``callback``, with its exceptions shown in the panel and collected in ``Job.errors``."""

        @wraps(callback)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return callback(*arguments, **named)
            except Exception as error:  # ipywidgets would swallow it
                Job.fail(error)
                self.show_error(error)

        return call

    def show_error(self, error: BaseException) -> None:
        """One escaped line; what was drawn before stays."""
        self._tell(f"{type(error).__name__}: {error}", "alert")
        self.status.value = "no answer; see the message"
        self.stop_button.layout.display = "none"

    def _tell(self, words: str, role: str) -> None:
        self.error.value = f'<p role="{role}">{escape(" ".join(words.split()))}</p>'
        self.error.layout.display = None

    def clear_error(self) -> None:
        """Take the message away."""
        if self.error.value:
            self.error.value, self.error.layout.display = "", "none"

    def _done(self, warned: list[str]) -> None:
        if warned:
            self._tell(warned[-1], "status")
        else:
            self.clear_error()
        self.stop_button.layout.display = "none"
        self.status.value = "up to date"

    def _progress(self, progress: Progress) -> None:
        if self.job.stopped:
            return
        self.stop_button.layout.display = None
        parts = [f"{progress.what or 'computing'} … {duration(progress.seconds)}"]
        if progress.total:
            parts.append(f"{progress.done} of {progress.total}")
        if progress.left is not None:
            parts.append(f"about {duration(progress.left)} left")
        self.status.value = escape(" · ".join(parts))

    def picture(self) -> bytes:
        """The panel as it stands, as one PNG.

        Raises:
            headless.NoPicture: the browser that draws figures gave no answer.
        """
        self.wait()
        return still.composed(self.title, self._still_rows())

    def _repr_mimebundle_(self, **how: Any) -> Any:
        bundle = super()._repr_mimebundle_(**how)
        if os.environ.get("IMU_LAB_STATIC") and bundle is not None:
            data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
            try:
                data = {**data, "image/png": base64.b64encode(self.picture()).decode()}
            except headless.NoPicture as error:  # the panel itself is there
                warnings.warn(f"{self.title} has no static picture: {error}", stacklevel=2)
            return (data, *rest) if rest else data
        return bundle


def duration(seconds: float) -> str:
    """A time for people: milliseconds, seconds or minutes."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
