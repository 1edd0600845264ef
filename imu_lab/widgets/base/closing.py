"""Frees widgets: one that is not closed stays for as long as its kernel, with all that it refers to."""

from __future__ import annotations

from collections.abc import Iterable

import ipywidgets as W


def close_all(widgets: Iterable[W.Widget]) -> None:
    """Close these widgets, what they hold, and what they look like."""
    for widget in widgets:
        close_all(getattr(widget, "children", ()))
        looks = (getattr(widget, name, None) for name in ("layout", "style"))
        close_all(look for look in looks if isinstance(look, W.Widget))  # a figure's layout is none
        widget.close()
