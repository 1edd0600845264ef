"""One way to draw: a figure is its frame (axes, template) and its content, and a live update writes the content again.

Content is plain dictionaries, made in microseconds. Writing them into a figure costs a message with what changed; the
template, whose transfer takes a quarter of a second in a browser, is sent once, when the figure is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import plotly.graph_objects as go

from . import theme

FIXED = ("type", "mode", "xaxis", "yaxis")  # what a trace is; a change of these needs new traces
KEPT = ("hoverinfo", "fill", "cliponaxis", "legendgroup", "xgap", "ygap")  # follow from the role


class Content(NamedTuple):
    """What a figure shows.

    Attributes:
        traces: each a plotly trace as a dictionary; its ``meta`` is its identity, a dictionary with at least ``role``.
        layout: dotted path to value, such as ``{"title.text": "accuracy"}``.
        frame: axes and all else that stays while the structure does.
    """

    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    frame: dict[str, Any]


def draw(content: Content) -> go.Figure:
    """A new figure: an empty frame, written into by the same path as every later update."""
    figure = go.Figure(layout={"template": theme.NAME})
    return update(figure, content)


def update(figure: go.Figure, content: Content) -> go.Figure:
    """Write new content into a figure (or FigureWidget) that :func:`draw` made; returns that figure.

    Where the kinds of traces differ from those drawn, the traces are made again, the template stays.
    """
    if _structure(figure.data) != _structure(content.traces):
        _rebuild(figure, content)
    with figure.batch_update():
        for trace, wanted in zip(figure.data, content.traces):
            for key, value in wanted.items():
                if key not in FIXED and key not in KEPT:
                    trace[key] = value
        for path, value in content.layout.items():
            figure.layout[path] = value
    return figure


def _structure(traces: Any) -> list[tuple]:
    return [((each["meta"] or {}).get("role"), *(_get(each, key) for key in FIXED)) for each in traces]


def _get(trace: Any, key: str) -> Any:
    if isinstance(trace, Mapping):
        return trace.get(key)
    return trace[key] if key in trace else None


def _rebuild(figure: go.Figure, content: Content) -> None:
    figure.data = []
    stale = {
        name: dict(visible=False)
        for name in figure.layout.to_plotly_json()
        if name.startswith(("xaxis", "yaxis")) and name not in content.frame
    }
    shown = {name: dict(visible=True) | axis for name, axis in content.frame.items() if "axis" in name}
    figure.update_layout(content.frame | stale | shown, overwrite=True)
    figure.add_traces([dict(trace) for trace in content.traces])


def heading(title: str, subtitle: str = "") -> str:
    """A figure's title, and under it in smaller letters what it needs to be read rightly."""
    return f'{title}<br><span style="font-size:12px">{subtitle}</span>' if subtitle else title


def panel(anchor: str, words: str, size: int = 12, **place: Any) -> dict[str, Any]:
    """A line of words at the top left of the panel with axes ``x<anchor>``, ``y<anchor>``."""
    return (
        dict(
            text=words,
            xref=f"x{anchor} domain",
            yref=f"y{anchor} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            align="left",
            showarrow=False,
            font=dict(size=size),
        )
        | place
    )


def note(words: str) -> dict[str, Any]:
    """A line in the middle of an empty figure."""
    middle = dict(xref="paper", yref="paper", x=0.5, y=0.5, xanchor="center", yanchor="middle")
    return dict(text=words, showarrow=False, font=dict(size=14)) | middle
