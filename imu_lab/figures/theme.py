"""How figures look: one template, and colours that mean the same split or method in every notebook.

The page behind a figure may be white or nearly black, so the background is transparent and every colour keeps a
contrast of at least 3 : 1 on both. Words and grids are mid-grey: no grey reaches 4.5 : 1 on white *and* on #111111, the
best possible is 4.35 : 1 on each, and that is the one used. Colours of one family stay apart for colour-blind readers,
and each comes with a dash pattern and a marker, so colour is never the only cue.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

import plotly.graph_objects as go
import plotly.io as pio

from ..core.quantities import SPLITS, describe

NAME = "imu_lab"
BACKGROUNDS = ("#ffffff", "#111111")  # JupyterLab's light and dark page
INK = "#797979"
GRID = "rgba(128, 128, 128, 0.25)"

SPLIT_COLOURS = {"forget": "#D55E00", "retain": "#0072B2", "test": "#009E73", "test-forget": "#C2619A"}
METHOD_COLOURS = {
    "imu": "#823df5",
    "uniform": "#A9772B",
    "shuffled": "#E0609A",
    "gradient-norm": "#B82E3F",
    "gradient-ascent": "#178f8f",
    "curvature-ascent": "#8787f0",
    "joint-ascent": "#a52da5",
    "retrain": "#6b6b6b",
}
FURTHER_COLOURS = ("#3b6b59", "#5a6fd0", "#8a5637", "#7f8a35", "#a830a8", "#8e6bb8")
DASHES = {
    "forget": "solid",  # splits: solid was seen in training, dashed was not
    "retain": "solid",
    "test": "7px,4px",
    "test-forget": "7px,4px",
    "imu": "solid",
    "uniform": "8px,3px",
    "shuffled": "4px,3px",
    "gradient-norm": "14px,3px,4px,3px",
    "gradient-ascent": "14px,4px",
    "curvature-ascent": "18px,3px",
    "joint-ascent": "10px,3px,2px,3px,2px,3px",
    "retrain": "2px,3px",
}
FURTHER_DASHES = (
    "10px,2px",
    "6px,2px,2px,2px",
    "12px,3px,2px,3px,2px,3px",
    "3px,2px",
    "16px,2px,2px,2px",
    "24px,3px,2px,3px",
)
# What else is built in, in the order in which it takes colours and then dashes: no two look alike. Add new names at the end.
FURTHER = (
    *("adaptive-ascent", "bad-teacher", "ce-u", "cf-k", "delete", "eu-k", "fine-tune", "gradient-difference"),
    *("imu-minibatch", "influence-step", "kl-ascent", "l1-sparse", "neggrad-plus", "newton-step", "npo", "npo-kl"),
    *("random-label", "salun", "satimp", "scrub", "simnpo", "ssd", "task-vector", "undial", "wga"),
    *(
        "inverse",
        "linear",
        "rank",
        "softmax",
        "top-fraction",
        "boundary-shrink",
        "rmu",
        "preference-optimisation",
        "imu-published",
    ),
)
SYMBOLS = {
    "forget": "circle",
    "retain": "square",
    "test": "square-open",
    "test-forget": "circle-open",
    "imu": "circle",
    "uniform": "square",
    "shuffled": "diamond",
    "gradient-norm": "triangle-up",
    "gradient-ascent": "triangle-down",
    "curvature-ascent": "hexagram",
    "joint-ascent": "cross",
    "retrain": "star",
}
FURTHER_SYMBOLS = ("pentagon", "hexagon", "star-diamond", "hourglass", "bowtie")
REFERENCE_DASH = "2px,4px"  # the retrained model's level, everywhere
EQUAL_STEPS = "equal steps"
ALIASES = {"sqrt-clipped": "imu", "retrained": "retrain"}

LONGEST = 100  # letters of a name; more would push the figure itself aside

ASCEND, DROPPED = SPLIT_COLOURS["forget"], INK
DIVERGING = ((0.0, "#D55E00"), (0.5, "#8f8f8f"), (1.0, "#0072B2"))  # negative = ascend = the colour of forgetting
REVERSED = tuple((1 - at, colour) for at, colour in reversed(DIVERGING))  # where a positive value is the bad one
SEQUENTIAL = "Cividis"  # for areas; its dark end would be lost as a dot on a dark page
DOTS = ((0.0, "#0072B2"), (0.5, "#7d7d7d"), (1.0, "#B8780E"))


def _identity(name: str) -> str:
    """What gives a label its colour: the split, the rule of an IMU run, or else the method.

    ``"imu · uniform · equal steps"`` is ``"uniform"``, ``"gradient-ascent · uniform"`` is ``"gradient-ascent"``.
    """
    parts = [part for part in str(name).split(" (")[0].split(" · ") if part != EQUAL_STEPS]
    if len(parts) == 2 and "imu" in parts[:1]:
        parts = parts[1:]
    elif len(parts) == 2 and parts[1] == "uniform":
        parts = parts[:1]
    whole = " · ".join(parts)
    return ALIASES.get(whole, whole)


def _further(name: str, choices: tuple[str, ...], each: int = 1) -> str:
    """The look of a name that has none of its own: by its place among what is built in, and of any other name by its letters,
    so the same in every notebook; the choices count too, so that names that share a colour can differ in dashes.

    Args:
        each: how many names in a row get the same.
    """
    if name in FURTHER:
        return choices[FURTHER.index(name) // each % len(choices)]
    return choices[zlib.crc32("".join([name, *choices]).encode()) % len(choices)]


def colour(name: str) -> str:
    """The colour of a split, rule, method or run label; an unknown name gets a stable further one."""
    name = _identity(name)
    return SPLIT_COLOURS.get(name) or METHOD_COLOURS.get(name) or _further(name, FURTHER_COLOURS)


def dash(name: str) -> str:
    """The dash pattern of a split, rule, method or run label; a run with equal steps has a dot after each dash."""
    return _equal_steps(_pattern(_identity(name)), name)


def _pattern(identity: str) -> str:
    return DASHES.get(identity) or _further(identity, FURTHER_DASHES, len(FURTHER_COLOURS))


def _equal_steps(pattern: str, name: str) -> str:
    if EQUAL_STEPS not in str(name).split(" (")[0].split(" · "):
        return pattern
    return ("20px,4px" if pattern == "solid" else pattern) + ",1px,4px"


def symbol(name: str) -> str:
    """The marker of a split, rule, method or run label."""
    name = _identity(name)
    return SYMBOLS.get(name) or _further(name, FURTHER_SYMBOLS)


class Look(NamedTuple):
    """How a line and its marks are drawn."""

    colour: str
    dash: str
    symbol: str


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """The look of each label beside the others: those of one method share its colour and differ in dashes and markers."""
    found: dict[str, Look] = {}
    before: Counter[str] = Counter()
    for label in labels:
        if label in found:
            continue
        turn, mine = before[_identity(label)], _identity(label)
        before[mine] += 1
        dashes = [each for each in FURTHER_DASHES if each != _pattern(mine)]
        symbols = [each for each in FURTHER_SYMBOLS if each != symbol(mine)]
        pattern = dashes[(turn - 1) % len(dashes)] if turn else _pattern(mine)
        mark = symbols[(turn - 1) % len(symbols)] if turn else symbol(mine)
        found[label] = Look(colour(label), _equal_steps(pattern, label), mark)
    return found


def faint(colour: str, opacity: float = 0.18) -> str:
    """``#rrggbb`` as a see-through colour, for bands."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def text(value: Any) -> str:
    """Words from data, safe to draw: plotly reads a little HTML in names, titles and hover. Very long ones are cut."""
    words = str(value)
    if len(words) > LONGEST:
        words = f"{words[: LONGEST - 20]}…{words[-19:]}"  # names that begin alike often differ at their end
    return escape(words).replace("%{", "%&#123;")  # which would be filled in by a hover template


def number(value: float) -> str:
    """A count for people: 5,000."""
    return f"{int(value):,}"


def share(part: float, whole: float) -> str:
    """A share in whole per cent that never rounds something to 0 % or to 100 %."""
    per_cent = 100 * part / whole if whole else 0.0
    if 0 < per_cent < 1:
        return "under 1 %"
    return "over 99 %" if 99 < per_cent < 100 else f"{per_cent:.0f} %"


def measured(template: str, name: str) -> str:
    """A value in a hover text: what it is, the number, its unit; ``template`` is such as ``"%{x:.4g}"``."""
    quantity = describe(name)
    unit = f" {text(quantity.unit)}" if quantity.unit not in ("", "no unit") else ""
    unit = f" ({unit[1:]})" if "=" in unit else unit  # what a number means, rather than what it is counted in
    return f"{text(quantity.title)} {template}{unit}"


def titled(title: str, unit: str = "") -> str:
    """An axis title: name (unit)."""
    return f"{text(title)} ({text(unit)})" if unit else text(title)


def split_words(split: str) -> str:
    """A split's name and what its samples are: ``forget, the samples to forget``."""
    return f"{text(split)}, {SPLITS[split]}" if split in SPLITS else text(split)


def folded(title: str, unit: str = "", letters: int = 22) -> str:
    """An axis title of several short lines, for panels that stand side by side; the unit has lines of its own."""
    lines = [*wrap(title, letters), *(wrap(f"({unit})", letters) if unit else [])]
    return "<br>".join(text(line) for line in lines)


def _template() -> go.layout.Template:
    axis = dict(
        gridcolor=GRID,
        linecolor=GRID,
        zeroline=False,
        ticks="outside",
        ticklen=4,
        tickcolor=GRID,
        automargin=True,
        ticklabeloverflow="allow",  # else each redraw measures every label, which takes as long as the lines
        title=dict(standoff=6, font=dict(size=12)),
    )
    layout = go.Layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(color=INK, size=12, family="system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"),
        colorway=[*SPLIT_COLOURS.values(), *METHOD_COLOURS.values()],
        colorscale=dict(diverging=DIVERGING, sequential=SEQUENTIAL),
        title=dict(
            x=0,
            xref="paper",
            xanchor="left",
            y=1,
            yref="container",
            yanchor="top",
            pad=dict(t=23),
            font=dict(size=15),
        ),
        margin=dict(l=58, r=18, t=64, b=40),
        legend=dict(orientation="h", x=0, xanchor="left", y=0, yref="container", yanchor="bottom", font=dict(size=12)),
        hoverlabel=dict(align="left", namelength=-1),
        annotationdefaults=dict(font=dict(size=12, color=INK), showarrow=False),
        coloraxis=dict(
            colorscale=DOTS, colorbar=dict(thickness=12, outlinewidth=0, tickcolor=GRID, title=dict(font=dict(size=12)))
        ),
        xaxis=axis,
        yaxis=axis,
    )
    return go.layout.Template(layout=layout)


TEMPLATE = _template()
pio.templates[NAME] = TEMPLATE  # registered, not made the default: a user's own figures keep their looks
