"""A button that moves a slider on, no faster than what it moves can follow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as W

PLAY, PAUSE = "Go through the updates.", "Stop here."


class Player(W.ToggleButton):
    """Plays through a slider's values to its last one, from wherever it stands; at the end, from the beginning.

    Unlike a clock in the page it waits until the kernel has drawn each answer, so that no question is skipped; and
    somebody who moves the slider by hand sends one message instead of two.

    Args:
        slider: a whole-number slider.
        seconds: between two values, at least.
        followed: blocks until the answer to a value is drawn.
        guarded: wraps what runs in the thread, so that its exceptions appear in the panel.

    Attributes:
        seconds: as above; it may be set at any time.
    """

    def __init__(
        self,
        slider: W.IntSlider,
        seconds: float,
        followed: Callable[[], Any],
        guarded: Callable[[Callable], Callable] = lambda callback: callback,
    ) -> None:
        super().__init__(icon="play", tooltip=PLAY, layout=W.Layout(width="48px"))
        self._slider, self.seconds, self._followed, self._guarded = slider, seconds, followed, guarded
        self._stopped = threading.Event()
        self.add_class("imu-play")
        self.observe(self._toggled, "value")

    def _toggled(self, change: Any) -> None:
        self.icon, self.tooltip = ("pause", PAUSE) if change.new else ("play", PLAY)
        self._stopped.set()
        if change.new:
            self._stopped = threading.Event()  # one of its own for each thread: an old one stays stopped
            play = self._guarded(self._play)
            threading.Thread(target=play, args=(self._stopped,), name="imu_lab player", daemon=True).start()

    def _play(self, stopped: threading.Event) -> None:
        slider = self._slider
        try:
            if slider.value >= slider.max:
                self._show(slider.min, stopped)
            while slider.value < slider.max and not stopped.is_set():
                self._show(slider.value + 1, stopped)
        finally:
            if not stopped.is_set():
                self.value = False

    def _show(self, value: int, stopped: threading.Event) -> None:
        began = time.perf_counter()
        self._slider.value = value
        self._followed()
        stopped.wait(max(0.0, self.seconds - (time.perf_counter() - began)))
