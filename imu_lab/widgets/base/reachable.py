"""Names for controls, and an order of Tab that leaves none out, for those who use no mouse or do not see the page."""

from __future__ import annotations

from pathlib import Path

import anywidget


class Reachable(anywidget.AnyWidget):
    """Put it into a panel (class ``imu-panel`` or ``imu-reachable``): it shows nothing, and tends all controls there.

    ipywidgets gives sliders no name, icons none that can be read out, and opens the parts of an accordion by mouse alone.
    """

    _esm = (Path(__file__).parent / "reachable.js").read_text(encoding="utf-8")

    def __init__(self) -> None:
        super().__init__()
        self.layout.display = "none"
