"""One way to draw: a figure is its frame (axes, template) and its content, and a live update writes the content again.

Content is plain dictionaries, made in microseconds. Writing them into a figure costs a message with what changed; the
template, whose transfer takes a quarter of a second in a browser, is sent once, when the figure is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from . import theme

SMALL = re.compile(r"(.*?<br><span[^>]*>)(.*)(</span>)", re.DOTALL)  # what heading() makes: a title, its small words
LETTERS, LINE = 104, 20  # of the small words in a line of 634 pixels; pixels of a line
STRUCTURE = ("type", "mode", "xaxis", "yaxis")  # what a trace is; a change of these needs new traces


class Content(NamedTuple):
    """What a figure shows.

    Attributes:
        traces: each a plotly trace as a dictionary; its ``meta`` is its identity, a dictionary with at least ``role``.
        layout: dotted path to value, such as ``{"title.text": "accuracy"}``.
        frame: axes, with all that does not change from one answer to the next.
    """

    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    frame: dict[str, Any]


NOTHING = Content([], {}, {})


def draw(content: Content) -> go.Figure:
    """A new figure: empty, then written into by the same path as every later update."""
    return update(go.Figure(layout={"template": theme.NAME}), content)


def update(figure: go.Figure, content: Content) -> go.Figure:
    """Write new content into a figure (or FigureWidget) that :func:`draw` made; returns that figure.

    Only what differs from the content written last is touched. Where the kinds of traces differ, they are made again;
    the template stays.
    """
    content = _told(content)
    before = drawn = written(figure)
    figure._imu_drawn = NOTHING  # until all is written: after an error nothing may be taken for drawn
    if not (len(figure.data) == len(drawn.traces) and _structure(drawn.traces) == _structure(content.traces)):
        drawn = NOTHING
        if _structure(figure.data) != _structure(content.traces):
            figure.data = []
            figure.add_traces([dict(trace) for trace in content.traces])
            drawn = Content(content.traces, {}, {})
    if drawn.frame != content.frame:
        _reframe(figure, content.frame)
        drawn = drawn._replace(layout={})
    pairs = zip_longest(figure.data, content.traces, drawn.traces, fillvalue={})
    changes = [(trace, _changes(_unstructured(wanted), known)) for trace, wanted, known in pairs]
    changes = [
        (target, new) for target, new in [*changes, (figure.layout, _changes(content.layout, drawn.layout))] if new
    ]
    if changes:  # an empty batch would be sent, and answered by the page
        with figure.batch_update():
            for target, new in changes:
                for key, value in new.items():
                    target[key] = value
    _make_room(figure, before, content)
    figure._imu_drawn = content
    return figure


def _make_room(figure: go.Figure, before: Content, now: Content) -> None:
    """Leave room for each line of the title, where nobody else has said how much there is: a panel shows titles elsewhere."""
    given = now.frame.get("margin", {}).get("t")
    if figure.layout.margin.t in (given, _room(before)) and figure.layout.margin.t != _room(now):
        figure.layout.margin = (now.frame.get("margin", {}) | ({} if _room(now) is None else {"t": _room(now)})) or None


def _room(content: Content) -> float | None:
    """The pixels that a title takes; None where they are the template's."""
    given = content.frame.get("margin", {}).get("t")
    further = content.layout.get("title.text", "").count("<br>") - 1
    return given if further < 1 else (given or theme.TEMPLATE.layout.margin.t) + LINE * further


def _told(content: Content) -> Content:
    """With a line in the middle where there is nothing to see, unless the figure says something there itself."""
    said = content.layout.get("annotations", [])
    if not said and not content.layout.get("images") and not any(_has_marks(trace) for trace in content.traces):
        said = [note("nothing to show")]
    title = content.layout.get("title.text")
    told = {} if title is None else {"title.text": folded(title)}
    return content._replace(layout=content.layout | told | {"annotations": said})


def _has_marks(trace: Mapping[str, Any]) -> bool:
    """Whether a trace shows data; one that does not answer to the mouse is a line for the eye."""
    values = trace.get("z", trace.get("x"))
    return trace.get("hoverinfo") != "skip" and values is not None and np.size(values) > 0


def written(figure: go.Figure) -> Content:
    """What was written into a figure last; nothing where that failed."""
    return getattr(figure, "_imu_drawn", NOTHING)


def _changes(wanted: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted and not yet so."""
    return {key: value for key, value in wanted.items() if key not in known or not _same(known[key], value)}


def _unstructured(trace: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in trace.items() if key not in STRUCTURE}


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)  # NaN differs from itself: written again, which is right if needless
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _structure(traces: Any) -> list[tuple]:
    return [((_get(each, "meta") or {}).get("role"), *(_get(each, key) for key in STRUCTURE)) for each in traces]


def _get(trace: Any, key: str) -> Any:
    return trace.get(key) if isinstance(trace, Mapping) else (trace[key] if key in trace else None)


def _reframe(figure: go.Figure, frame: dict[str, Any]) -> None:
    """Write the axes anew, and hide those of an earlier structure: plotly cannot take an axis away.

    A batch of its own, for within one batch a range that equals the old one would be dropped.
    """
    axes = ("xaxis", "yaxis")
    shown = {name: dict(visible=True) | value if name.startswith(axes) else value for name, value in frame.items()}
    there = [name for name in figure.layout if name.startswith(axes)]
    stale = {name: dict(visible=False) for name in there if name not in frame}
    with figure.batch_update():
        for name, value in (shown | stale).items():
            figure.layout[name] = value


def heading(title: str, *sentences: str) -> str:
    """A figure's title, and under it in smaller letters, in sentences, what it needs to be read rightly."""
    words = " ".join(_sentence(each) for each in sentences if each)
    return f'{title}<br><span style="font-size:12px">{words}</span>' if words else title


def folded(title: str) -> str:
    """A title whose small words stand in lines that a figure of 700 pixels does not cut; a sentence stays in one if it can."""
    found = SMALL.fullmatch(unfolded(title))
    if found is None:
        return title
    head, words, end = found.groups()
    lines: list[str] = []
    for sentence in re.split(r"(?<=[.!?]) ", words):
        if lines and len(lines[-1]) + 1 + len(sentence) <= LETTERS:
            lines[-1] += f" {sentence}"
        else:
            lines += wrap(sentence, LETTERS, break_long_words=False, break_on_hyphens=False)
    return head + "<br>".join(lines) + end


def unfolded(title: str) -> str:
    """The same title for a place where words wrap by themselves."""
    found = SMALL.fullmatch(title)
    return title if found is None else found[1] + found[2].replace("<br>", " ") + found[3]


def _sentence(words: str) -> str:
    whole = words[:1].upper() + words[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


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


VEILED = "grey: kept accuracy down 5 points"  # what a veil means


def veil(xref: str, start: float, end: float, colour: str, layer: str) -> dict[str, Any]:
    """A shape that greys a figure from top to bottom between two updates; nothing is drawn around it."""
    across = dict(xref=xref, x0=float(start), x1=float(end))
    up = dict(yref="paper", y0=0, y1=1)
    return dict(type="rect", name="after the limit", fillcolor=colour, line=dict(width=0), layer=layer) | across | up


def note(words: str) -> dict[str, Any]:
    """A line in the middle of an empty figure."""
    middle = dict(xref="paper", yref="paper", x=0.5, y=0.5, xanchor="center", yanchor="middle")
    return dict(text=words, showarrow=False, font=dict(size=14)) | middle
