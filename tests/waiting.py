"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 60.0


def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return as soon as the condition holds; fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what this test waits for never came"
        time.sleep(0.002)


def threads(name: str) -> list[threading.Thread]:
    """The threads of this name that are running."""
    return [thread for thread in threading.enumerate() if thread.name == name]
