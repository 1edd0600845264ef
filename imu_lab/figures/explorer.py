"""The map of the explorer: every sample at its place, the border of the model at one update, and what is selected.

All that moves from update to update is one picture. Over it lie two traces that draw nothing, but know where each sample
is: they answer to the mouse. So a redraw costs the same for a hundred samples as for fifty thousand. On a live page the
picture is an image of its own under a figure that stays (the pane): a browser exchanges an image in a fraction of the
time that it takes to draw a figure with another picture in it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import numpy as np
import plotly.graph_objects as go

from ..core.quantities import describe
from . import dots, live, theme

# Faint areas, told apart by their names and borders; a class keeps its colour from update to update.
AREAS = ("#0072B2", "#D55E00", "#009E73", "#C2619A", "#A9772B", "#5a6fd0", "#8f8f8f", "#7f8a35", "#823df5", "#178f8f")
AREA, KEPT, FAINT = 0.25, 0.9, 0.22  # opacities: of the areas, of retained samples, of what is not selected
BORDER = 0.5  # the opacity of the lines between areas
NAMED = 0.002  # an area that takes less than this share of the plane has no room for its name
LETTERS = 18  # of a name on the map; longer ones are cut
NAME_SIZE = 14  # pixels, of the letters of a name
LETTER, LINE_OF_NAME = 0.66 * NAME_SIZE, 1.15 * NAME_SIZE  # pixels that a bold letter and a line of them take
ROOM = (290, 232)  # pixels of the picture on a screen of 1280, the smallest on which names must find room
NAME_GROUND = "rgba(255, 255, 255, 0.75)"  # of names in a picture, which stands on white
SHADES = 100  # of the colour scale
MARGINS = dict(l=4, r=108, t=12, b=8, autoexpand=False)  # pixels around the axes; the colour bar is on the right
TINY, SMALL, LARGE = 6, 8, 11  # pixels of the picture: retained samples, a crowd, a few
CROWD = 2000  # forget samples; so many and more get small dots

# Numbers of the palette.
LOST = 1 + len(AREAS)
OTHER = LOST + 1
UNKNOWN = OTHER + 1  # a forget sample without a value; then its shades
GREYED = UNKNOWN + 1 + SHADES  # the same once more, for those that are not selected
LINE = GREYED + 1 + SHADES


class Scene(NamedTuple):
    """What is drawn.

    Attributes:
        examples: (n,) ids, the forget set first. places: (n, 2) in the plane. labels: (n,) names.
        forgotten: (n,) whether each is to be forgotten.
        lost: (n,) kept samples that were right and are wrong now.
        colours: (f,) the quantity of the forget samples. colour_by: its name.
        selected: rows among the forget samples, or None for no selection.
        chosen: the row whose card is shown, or None.
        regions: places across, up, and (g, g) class numbers; None without a border.
        step: the update. about: how the plane was made.
        classes: from a class number to its name; an area whose class has none stays nameless.
    """

    examples: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    forgotten: np.ndarray
    lost: np.ndarray
    colours: np.ndarray
    colour_by: str
    selected: np.ndarray | None
    chosen: int | None
    regions: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    step: int
    about: str
    classes: Mapping[int, str] | None = None


class AreaName(NamedTuple):
    """The name of a class, and its place: the centroid of the class's area."""

    x: float
    y: float
    name: str


def plot_map(scene: Scene) -> go.Figure:
    """Each sample as a dot over the areas of the classes; traces ``forget`` and ``kept`` hear clicks and know examples."""
    source = "data:image/png;base64," + base64.b64encode(picture(scene)).decode()
    whole = live.draw(_content(scene)).update_layout(title_text=words(scene))
    for x, y, name in area_names(scene):
        bold = f"<b>{theme.text(name)}</b>"
        whole.add_annotation(x=x, y=y, text=bold, font=dict(size=NAME_SIZE), bgcolor=NAME_GROUND, borderpad=0)
    return whole.add_layout_image(_place(dots.window(scene.places)) | dict(source=source, layer="below", name="dots"))


def plot_pane(scene: Scene) -> go.Figure:
    """All of the map but its picture, which lies under it, ``MARGINS`` from its sides, as large as its shape allows."""
    return live.draw(_content(scene)).update_layout(margin=MARGINS)


def update_pane(figure: go.Figure, scene: Scene) -> go.Figure:
    """Show another colour scale or chosen sample in a figure that :func:`plot_pane` made; only what differs is sent.

    The samples are the same as before, at the same places.
    """
    traces = live.written(figure).traces
    return live.update(figure, _content(scene, traces))


def mark_chosen(figure: go.Figure, place: np.ndarray | None) -> None:
    """Put the ring of a figure that :func:`plot_pane` made around this place, or take it away."""
    figure.layout.shapes = _ring(place)


def picture(scene: Scene) -> bytes:
    """A PNG of the areas and of every sample's dot."""
    (low, high), seen = _limits(scene), dots.window(scene.places)
    sheet = dots.Sheet(seen)
    if scene.regions is not None:
        x, y, classes = scene.regions
        sheet.fill(x, y, 1 + classes % len(AREAS))
        sheet.outline(LINE)
    sheet.stamp(scene.places[~scene.forgotten & ~scene.lost], dots.disc(TINY), OTHER)
    sheet.stamp(scene.places[scene.lost], dots.cross(LARGE), LOST)
    places, numbers = scene.places[scene.forgotten], _shade(scene.colours, low, high)
    shape = dots.disc(LARGE if len(places) < CROWD else SMALL)
    if scene.selected is None:
        sheet.stamp(places, shape, UNKNOWN + numbers)
    else:
        sheet.stamp(places, shape, GREYED + numbers)
        sheet.stamp(places[scene.selected], shape, UNKNOWN + numbers[scene.selected])
    return sheet.png(PALETTE)


def area_names(scene: Scene) -> list[AreaName]:
    """The names of the classes whose areas have room for one, the largest areas first.

    Areas of a linear readout are convex: centroids lie inside. A name that would lie over that of a larger area is left
    out; one that would reach out of the picture is moved in.
    """
    if scene.regions is None:
        return []
    x, y, classes = scene.regions
    named = scene.classes or {}
    numbers, sizes = np.unique(classes, return_counts=True)
    large = [int(numbers[at]) for at in np.argsort(-sizes, kind="stable") if sizes[at] >= NAMED * classes.size]
    shown = [number for number in large if number in named]
    found = []
    for number, name in zip(shown, shortened([str(named[number]) for number in shown])):
        rows, columns = np.nonzero(classes == number)
        found.append(AreaName(float(x[columns].mean()), float(y[rows].mean()), name))
    return _apart(scene, found)


def shortened(names: list[str]) -> list[str]:
    """Names of at most ``LETTERS`` letters. Of long ones, the words that most begin or end with are left out first."""
    long = [name for name in names if len(name) > LETTERS]
    starts, ends = (Counter(part for name in long for part in _parts(name[::way])) for way in (1, -1))
    half = max(1, len(long) / 2)
    return [
        name if len(name) <= LETTERS else _cut(name, _shared(name, starts, half), _shared(name[::-1], ends, half))
        for name in names
    ]


def _parts(name: str) -> list[str]:
    """The first words of a name: one, two, and so on, without the last."""
    return [name[: at + 1] for at, letter in enumerate(name) if letter == " "]


def _shared(name: str, counts: Counter, many: float) -> int:
    """How many letters at its beginning a name shares with more than so many, itself included."""
    return max((len(part) for part in _parts(name) if counts[part] > many), default=0)


def _cut(name: str, start: int, end: int) -> str:
    end = end if start + end < len(name) else 0
    inner = name[start : len(name) - end].strip()
    told = f"{'…' if start else ''}{inner}{'…' if end else ''}"
    return told if len(told) <= LETTERS else f"{told[: LETTERS // 2].rstrip()}…{told[1 - LETTERS // 2 :].lstrip()}"


def _apart(scene: Scene, names: list[AreaName]) -> list[AreaName]:
    """Those names that have room in the picture, moved into it; the first has it before all others."""
    (left, low), (right, high) = np.asarray(dots.window(scene.places)).tolist()
    unit = (right - left) / ROOM[0], (high - low) / ROOM[1]  # of the plane, a pixel
    kept: list[tuple[AreaName, float]] = []
    for name in names:
        half, up = _length(name.name) / 2 * unit[0], LINE_OF_NAME / 2 * unit[1]
        x = min(max(name.x, left + half), right - half) if 2 * half < right - left else (left + right) / 2
        moved = name._replace(x=x, y=min(max(name.y, low + up), high - up))
        if all(abs(moved.x - other.x) >= half + wide or abs(moved.y - other.y) >= 2 * up for other, wide in kept):
            kept.append((moved, half))
    return [name for name, _ in kept]


def _length(name: str) -> float:
    """Pixels that a name takes; letters of East Asia are half as wide again."""
    return LETTER * sum(1.5 if east_asian_width(letter) in "WF" else 1.0 for letter in name)


def shares(scene: Scene, names: list[AreaName]) -> list[tuple[float, float]]:
    """Where names stand in the picture: shares of its width, from the left, and of its height, from the top."""
    (left, low), (right, high) = np.asarray(dots.window(scene.places)).tolist()
    return [((name.x - left) / (right - left), (high - name.y) / (high - low)) for name in names]


def _content(scene: Scene, traces: list[dict[str, Any]] | None = None) -> live.Content:
    low, high = _limits(scene)
    listeners = traces or [
        _listener(scene, "kept", ~scene.forgotten),
        _listener(scene, "forget", scene.forgotten),
        _scale(),
    ]
    layout = {
        "coloraxis.cmin": low,
        "coloraxis.cmax": high,
        "coloraxis.colorbar.title.text": theme.titled(*describe(scene.colour_by)[:2]).replace(" (", "<br>("),
        "shapes": _ring(None if scene.chosen is None else scene.places[scene.chosen]),
    }
    return live.Content(listeners, layout, _frame(dots.window(scene.places)))


def _place(seen: dots.Window) -> dict[str, Any]:
    """Where the picture lies in the plane."""
    (left, low), (right, high) = np.asarray(seen).tolist()
    return dict(xref="x", yref="y", x=left, y=high, sizex=right - left, sizey=high - low, sizing="stretch")


def _frame(seen: dots.Window) -> dict[str, Any]:
    """The picture fills the axes, whose sides keep its proportions: so dots stay round."""
    (left, low), (right, high) = np.asarray(seen).tolist()
    ratio = (dots.HEIGHT / (high - low)) / (dots.WIDTH / (right - left))
    quiet = dict(showticklabels=False, ticks="", showgrid=False, constrain="domain", fixedrange=True)
    return dict(
        xaxis=dict(anchor="y", range=[left, right], **quiet),
        yaxis=dict(anchor="x", range=[low, high], scaleanchor="x", scaleratio=ratio, constraintoward="top", **quiet),
        coloraxis=dict(colorbar=dict(title=dict(side="right"))),  # words along the bar take the same room each time
        dragmode="lasso",
        hovermode="closest",
        showlegend=False,
    )


def words(scene: Scene) -> str:
    """The title of the map: which update it shows, and what is what."""
    sentences = [f"The plane: {theme.text(scene.about)}."]
    if scene.regions is not None:
        sentences.append("Each area shows the class that the model names there.")
    if scene.lost.any():
        sentences.append(f"Crosses mark the kept samples lost so far: {theme.number(scene.lost.sum())}.")
    return live.heading(f"After update {scene.step}", " ".join(sentences))


def _listener(scene: Scene, role: str, mine: np.ndarray) -> dict[str, Any]:
    """A trace that draws nothing, and hears the mouse at the places of the samples."""
    labels = scene.labels[mine].tolist()
    words = {label: labelled(label) for label in set(labels)}
    return dict(
        type="scatter",
        mode="none",
        meta={"role": role},
        name=role,
        x=scene.places[mine, 0],
        y=scene.places[mine, 1],
        customdata=scene.examples[mine],
        text=np.array([words[label] for label in labels], dtype=str),
        selectedpoints=[],  # plotly's Python sets it so after each lasso: then nothing is new, and nothing is sent
        line=dict(color=theme.colour("forget" if role == "forget" else "retain")),  # of the words under the mouse
        hovertemplate="example %{customdata}<br>%{text}<extra>" + role + "</extra>",
    )


def labelled(label: str) -> str:
    """A label in words, safe to draw: a number says of itself that it is a class."""
    return f"class {label}" if label.isdigit() else theme.text(label)


def _scale() -> dict[str, Any]:
    """A dot nowhere, for the sake of the colour bar."""
    return dict(type="scatter", mode="markers", meta={"role": "scale"}, x=[None], y=[None], selectedpoints=[],
                marker=dict(color=[0], coloraxis="coloraxis"), hoverinfo="skip")  # fmt: skip


def _limits(scene: Scene) -> tuple[float, float]:
    """The ends of the colour scale: 0 and 1 for probabilities, else the smallest and largest value."""
    known = scene.colours[np.isfinite(scene.colours)]
    if describe(scene.colour_by).unit == "probability" or not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _shade(colours: np.ndarray, low: float, high: float) -> np.ndarray:
    """(f,) numbers from 1 for the lowest value to ``SHADES`` for the highest; 0 where there is none."""
    share = np.clip((colours - low) / (high - low), 0, 1)
    return np.where(np.isfinite(share), 1 + np.nan_to_num(share) * (SHADES - 1) + 0.5, 0).astype(np.uint8)


def _palette() -> np.ndarray:
    """(256, 4) red, green, blue and opacity of each number."""
    stops, colours = zip(*theme.DOTS)
    at = np.linspace(0, 1, SHADES)
    shades = np.column_stack([np.interp(at, stops, [_rgb(each)[k] for each in colours]) for k in range(3)])
    found = np.zeros((256, 4), dtype=np.uint8)
    found[1:LOST] = [(*_rgb(each), round(255 * AREA)) for each in AREAS]
    found[LOST] = (*_rgb(theme.colour("test-forget")), 255)
    found[OTHER] = (*_rgb(theme.INK), round(255 * KEPT))
    found[LINE] = (*_rgb(theme.INK), round(255 * BORDER))
    for first, opacity in ((UNKNOWN, 1.0), (GREYED, FAINT)):
        found[first] = (*_rgb(theme.INK), round(255 * opacity))
        found[first + 1 : first + 1 + SHADES] = np.column_stack([shades, np.full(SHADES, 255 * opacity)]).round()
    return found


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


PALETTE = _palette()


def _ring(place: np.ndarray | None) -> list[dict[str, Any]]:
    """A circle of fixed size on the screen."""
    if place is None:
        return []
    around = dict(xsizemode="pixel", ysizemode="pixel", xanchor=float(place[0]), yanchor=float(place[1]))
    return [dict(type="circle", name="chosen", x0=-9, x1=9, y0=-9, y1=9, line=dict(color="#D55E00", width=3), **around)]
