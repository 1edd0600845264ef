"""Outputs of a cell that stay covered until somebody asks for them, where there is somebody who can."""

from __future__ import annotations

import base64
import os
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import ipywidgets as W
from IPython import get_ipython
from IPython.display import display
from IPython.utils.capture import capture_output

from .closing import close_all

VIEW = "application/vnd.jupyter.widget-view+json"


def running_cell() -> tuple[str, str] | None:
    """The cell that a notebook on a screen runs just now, and which run of it this is; None where nobody could click.

    Who runs notebooks without a screen (nbconvert, ``make notebooks``) does not say which cell it runs.
    """
    shell = get_ipython()
    if os.environ.get("IMU_LAB_STATIC") or not hasattr(shell, "get_parent"):
        return None
    request = shell.get_parent() or {}
    cell = request.get("metadata", {}).get("cellId")
    return (cell, request["header"]["msg_id"]) if cell else None


class _Made(NamedTuple):
    """What one run of a cell has made, and what the run before it had."""

    run: str
    now: list[weakref.ref]
    before: list[weakref.ref]


_made: dict[str, _Made] = {}  # by cell


def predecessor(widget: W.Widget) -> W.Widget | None:
    """What stood in this widget's place when its cell ran before; it is to be closed, or it would stay with the kernel."""
    if (running := running_cell()) is None:
        return None
    cell, run = running
    if cell not in _made or _made[cell].run != run:
        _made[cell] = _Made(run, [], _made[cell].now if cell in _made else [])
    now, before = _made[cell].now, _made[cell].before
    now.append(weakref.ref(widget))
    return before[len(now) - 1]() if len(now) <= len(before) else None


class Covered:
    """Things to show, each an output of its own, and nothing of them on the page before ``uncover``.

    A covered output is an empty widget with the thing beside it in the same bundle. Where widgets are shown, nothing is
    seen; where they are not (a stored notebook, a printed page, an editor without them), the thing is. Uncovering puts
    the thing alone in the output's place, so it is drawn then, as wide as its place, and stays without a kernel. A page
    that was loaded again no longer knows the output's name; there the widget, which it knows, shows the thing.
    """

    def __init__(self, things: Sequence[Any]) -> None:
        self.things = things
        self._waiting: list[tuple[str, W.Output, dict]] = []
        self._empty: list[W.Output] = []

    def show(self, head: Any, covered: bool) -> None:
        """Put out ``head``, a bundle, and then everything, covered or plainly."""
        display(head[0] if isinstance(head, tuple) else head, raw=True)
        if not covered:
            display(*self.things)
            return
        for output in self._drawn():
            name, empty = uuid4().hex, W.Output()
            view = {VIEW: empty._repr_mimebundle_()[VIEW]}
            display(output["data"] | view, metadata=output["metadata"], raw=True, display_id=name)
            self._waiting.append((name, empty, output))
            self._empty.append(empty)

    def _drawn(self) -> list[dict]:
        """What a cell would put out of the things, each made once."""
        with capture_output(stdout=False, stderr=False) as caught:
            display(*self.things)
        return [{"data": {kind: _text(value) for kind, value in (each.data or {}).items()}, "metadata": each.metadata or {}}
                for each in caught.outputs]  # fmt: skip

    def uncover(self) -> None:
        """Show what is covered."""
        waiting, self._waiting = self._waiting, []
        for name, empty, output in waiting:
            display(output["data"], metadata=output["metadata"], raw=True, display_id=name, update=True)
            empty.outputs = ({"output_type": "display_data", **output},)

    def close(self) -> None:
        """Free the widgets that cover."""
        close_all(self._empty)
        self._waiting, self._empty = [], []


def _text(value: Any) -> Any:
    """What a bundle holds, as it is sent: bytes in base64."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
