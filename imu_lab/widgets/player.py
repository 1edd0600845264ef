"""A button that moves a slider on, no faster than what it moves can follow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as W


class Player(W.ToggleButton):
    """Plays through a slider's values to its last one, from wherever it stands; at the end, from the beginning.

    Unlike a clock in the page it waits for each answer, so that nothing piles up; and somebody who moves the slider by
    hand sends one message instead of two.

    Args:
        slider: a whole-number slider.
        seconds: between two values, at least.
        followed: blocks until the answer to a value is there.

    Attributes:
        seconds: as above; it may be set at any time.
    """

    def __init__(self, slider: W.IntSlider, seconds: float, followed: Callable[[], Any]) -> None:
        super().__init__(icon="play", tooltip="Go through the updates.", layout=W.Layout(width="48px"))
        self._slider, self.seconds, self._followed = slider, seconds, followed
        self._stopped = threading.Event()
        self.add_class("imu-play")
        self.observe(self._toggled, "value")

    def _toggled(self, change: Any) -> None:
        self.icon = "pause" if change.new else "play"
        self._stopped.set()
        if change.new:
            self._stopped = threading.Event()  # one of its own for each thread: an old one stays stopped
            threading.Thread(target=self._play, args=(self._stopped,), name="imu_lab player", daemon=True).start()

    def _play(self, stopped: threading.Event) -> None:
        slider = self._slider
        if slider.value >= slider.max:
            slider.value = slider.min
        while slider.value < slider.max and not stopped.is_set():
            began = time.perf_counter()
            slider.value += 1
            self._followed()
            stopped.wait(max(0.0, self.seconds - (time.perf_counter() - began)))
        if not stopped.is_set():
            self.value = False
