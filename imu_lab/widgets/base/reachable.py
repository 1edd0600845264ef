"""Names for controls, and an order of Tab that leaves none out, for those who use no mouse or do not see the page."""

from __future__ import annotations

from pathlib import Path

import anywidget


class Reachable(anywidget.AnyWidget):
    """Shows nothing, and tends all controls of the page in panels (class ``imu-panel`` or ``imu-reachable``).

    ipywidgets gives sliders no name, icons none that can be read out, and opens the parts of an accordion by mouse alone.
    Samples in a grid (class ``imu-overlay``) become one stop of Tab, with arrow keys between them.
    In JupyterLab the words below a result that is covered (class ``imu-waiting``) wait with it.
    """

    _esm = "".join((Path(__file__).parent / name).read_text("utf-8") for name in ("untold.js", "reachable.js"))


_reachable: Reachable | None = None


def reachable() -> Reachable:
    """This kernel's one, made when first asked for, and again if somebody closed it: one for each panel would be waste."""
    global _reachable
    if _reachable is None or _reachable.comm is None:
        _reachable = Reachable()
    return _reachable
