"""Each forget sample at each update: which go first, which resist."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from ..core.messages import unknown
from ..core.quantities import describe
from ..core.records import Run
from . import live, marks, theme
from .takes import of_a_run, takes

ROWS = 1000  # more than a screen has lines; beyond, evenly spaced samples are shown
VEIL = theme.faint("#bebebe", 0.6)  # the veil over the map: a light grey, for both colour scales have a mid-grey


class TrajectoriesInfo(NamedTuple):
    """What is drawn; rows run from the sample forgotten first (row 0) to those never forgotten.

    Attributes:
        values: (r, s) the quantity of each shown sample after each recorded update.
        examples: (r,) their ids. steps: (s,) the updates.
        time_to_forget: (r,) updates; NaN for samples never forgotten.
        count: samples in the run. value: the quantity's name.
        never: how many of them were never forgotten; None where the run does not tell.
        limit: the update at which kept accuracy had fallen 5 points, or None. late: samples forgotten only after it.
        wrong: samples that were misclassified before the first update, and stayed so.
    """

    values: np.ndarray
    examples: np.ndarray
    steps: np.ndarray
    time_to_forget: np.ndarray
    count: int
    never: int | None
    value: str
    limit: int | None
    late: int
    wrong: int


@takes(Run, "one run of imu.unlearn", made=of_a_run(lambda run: run))
def plot_trajectories(run: Run, *, value: str = "confidence") -> go.Figure:
    """Heat map of samples × updates, sorted by time to forget: the first at the bottom, never forgotten on top.

    From the utility limit on, where kept accuracy has fallen 5 points, it is greyed: a collapsed model forgets nothing
    in particular. Samples whose white line lies inside the grey are counted apart.

    ``customdata`` holds each cell's example. Of more than 1,000 samples, evenly spaced ones are shown, and the title
    says so.

    Args:
        run: the record.
        value: ``"confidence"``, ``"margin"`` or ``"loss"``.
    """
    return live.draw(_content(_trajectories_info(run, value)))


def update_trajectories(figure: go.Figure, run: Run, *, value: str = "confidence") -> go.Figure:
    """Show another run in a figure that :func:`plot_trajectories` made."""
    return live.update(figure, _content(_trajectories_info(run, value)))


def _trajectories_info(run: Run, value: str = "confidence") -> TrajectoriesInfo:
    """Sorts, and thins where there are too many rows."""
    columns = [name for name in run.trajectory.columns if name not in ("example", "step")]
    if value not in columns:
        raise unknown("column of run.trajectory", value, columns)
    wide = run.trajectory.pivot(index="example", columns="step", values=value)
    times = _times(run, wide.index)
    values = wide.to_numpy(dtype=float)
    order = _order(times, values, describe(value).good.startswith("higher"))
    limit = run.events.get("utility_limit")
    shown = order
    if len(order) > ROWS:
        shown = order[np.unique(np.linspace(0, len(order) - 1, ROWS).round().astype(int))]
    return TrajectoriesInfo(
        values[shown],
        wide.index.to_numpy()[shown],
        wide.columns.to_numpy(),
        times[shown],
        len(order),
        int(np.isnan(times).sum()) if "time_to_forget" in run.samples else None,
        value,
        limit,
        int((times > (np.inf if limit is None else limit)).sum()),
        int((times == 0).sum()),
    )


def order_of_samples(run: Run) -> np.ndarray:
    """(n,) examples in the order of :func:`plot_trajectories`, from the one forgotten first to those never forgotten."""
    wide = run.trajectory.pivot(index="example", columns="step", values="confidence")
    return wide.index.to_numpy()[_order(_times(run, wide.index), wide.to_numpy(dtype=float), False)]


def _times(run: Run, examples: Any) -> np.ndarray:
    """Updates until each was forgotten; NaN also where the run, as one read from files, does not tell."""
    if "time_to_forget" not in run.samples:
        return np.full(len(examples), np.nan)
    return run.samples.set_index("example")["time_to_forget"].reindex(examples).to_numpy(dtype=float)


def _order(times: np.ndarray, values: np.ndarray, higher_is_forgotten: bool) -> np.ndarray:
    """Rows by time to forget, the never forgotten last; ties by how much was still there on average."""
    known = np.isfinite(values)
    average = np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)
    return np.lexsort([-average if higher_is_forgotten else average, np.where(np.isnan(times), np.inf, times)])


def _content(info: TrajectoriesInfo) -> live.Content:
    layout = {
        "title.text": live.heading(_headline(info), *_subtitle(info)),
        "shapes": _shapes(info),
        "annotations": [] if info.count else [live.note("nothing was recorded yet")],
    }
    layout["xaxis.range"] = [*_edges(info.steps)[[0, -1]]] if len(info.steps) else [-0.5, 0.5]
    layout["yaxis.range"] = [-0.5, max(len(info.examples), 1) - 0.5]
    return live.Content([_map(info), _boundary(info)], layout, _frame())


def _map(info: TrajectoriesInfo) -> dict[str, Any]:
    """The heat map; probabilities from 0 to 1, margins with their sign change in the middle."""
    quantity = describe(info.value)
    rows = len(info.examples)
    return dict(
        type="heatmap",
        meta={"role": "trajectories", "value": info.value},
        x=info.steps,
        y=np.arange(rows),
        z=info.values,
        customdata=np.repeat(info.examples[:, None], len(info.steps), 1),
        **_scale(info),
        colorbar=marks.colour_bar(theme.titled(quantity.title, quantity.unit)),
        hovertemplate=f"example %{{customdata}}<br>after update %{{x}}<br>{theme.measured('%{z:.4g}', info.value)}"
        + (f"<br><i>{theme.text(quantity.good)}</i>" if quantity.good else "")
        + "<extra></extra>",
    )


def _scale(info: TrajectoriesInfo) -> dict[str, Any]:
    """Colours: from the 99th percentile on, the largest losses and margins share one, so that one cannot hide all."""
    known = info.values[np.isfinite(info.values)]
    if describe(info.value).unit == "probability":
        return dict(zmin=0, zmax=1, colorscale=theme.SEQUENTIAL)
    top = float(np.percentile(np.abs(known), 99)) if len(known) else 1.0
    if info.value == "margin":
        return dict(zmin=-(top or 1.0), zmax=top or 1.0, colorscale=theme.DIVERGING)
    return dict(zmin=0, zmax=top or 1.0, colorscale=theme.SEQUENTIAL)


def _boundary(info: TrajectoriesInfo) -> dict[str, Any]:
    """Each sample's time to forget: the left edge of the first forgotten cell; it ends where none ever was."""
    rows = np.flatnonzero(np.isfinite(info.time_to_forget))
    edges = _edges(info.steps)[np.searchsorted(info.steps, info.time_to_forget[rows])]
    return dict(
        type="scatter",
        mode="lines",
        meta={"role": "time_to_forget"},
        name="time to forget",
        x=np.repeat(edges, 2),
        y=np.repeat(rows, 2) + np.tile([-0.5, 0.5], len(rows)),
        line=dict(color="#ffffff", width=2),
        hoverinfo="skip",
        showlegend=False,
    )


def _edges(steps: np.ndarray) -> np.ndarray:
    """(s + 1,) the edges of the cells that plotly draws around (s,) updates: half-way between them."""
    if len(steps) < 2:
        return np.array([*(steps - 0.5), *(steps + 0.5)], dtype=float)
    middles = (steps[1:] + steps[:-1]) / 2
    return np.array([2 * steps[0] - middles[0], *middles, 2 * steps[-1] - middles[-1]])


def _shapes(info: TrajectoriesInfo) -> list[dict[str, Any]]:
    """Grey over the updates from the limit on, and a line below the samples that were never forgotten."""
    shapes = _veil(info)
    never = int(np.isnan(info.time_to_forget).sum())
    if 0 < never < len(info.examples):
        at = len(info.examples) - never - 0.5
        line = dict(color=theme.colour("forget"), width=2)
        shapes.append(dict(type="line", xref="paper", x0=0, x1=1, y0=at, y1=at, line=line))
    return shapes


def _veil(info: TrajectoriesInfo) -> list[dict[str, Any]]:
    """Whole cells, from that of the limit to the last."""
    if info.limit is None or not len(info.examples) or info.limit > info.steps[-1]:
        return []
    edges = _edges(info.steps)
    return [live.veil("x", edges[np.searchsorted(info.steps, info.limit)], edges[-1], VEIL, "above")]


def _headline(info: TrajectoriesInfo) -> str:
    if not info.count:
        return "No samples to show"
    if info.never is None:
        return f"{theme.number(info.count)} samples; when each was forgotten is not known of this run"
    gone, count = theme.number(info.count - info.never), theme.number(info.count)
    apart = {"only after the limit": info.late, "wrong from the start": info.wrong}
    told = ", ".join(f"{theme.number(number)} {words}" for words, number in apart.items() if number)
    return f"{gone} of {count} samples forgotten{f' ({told})' if told else ''}, {theme.number(info.never)} never"


def _subtitle(info: TrajectoriesInfo) -> list[str]:
    words = ["white line: when each was forgotten for good"] if info.never is not None else ["sorted by the mean"]
    if info.never:
        words.append("above the orange line: never" if info.never < info.count else "here: none")
    if _veil(info):
        words.append(live.VEILED)
    if len(info.examples) < info.count:
        words.append(f"{theme.number(len(info.examples))} evenly spaced samples shown of {theme.number(info.count)}")
    return words if info.count else []


def _frame() -> dict[str, Any]:
    return dict(
        xaxis=dict(anchor="y", showgrid=False, title=dict(text="updates made (0 = original model)")),
        yaxis=dict(
            anchor="x", showgrid=False, title=dict(text="forget samples (the first<br>forgotten at the bottom)")
        ),
    )
