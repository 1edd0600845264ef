"""Is it only the head: what fresh heads find on frozen features, beside the original's and the retrained model's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.quantities import describe
from . import live, marks, theme
from .takes import takes

ORIGINAL, GOAL = "original", "goal"
ABOUT = ("measure", "split", GOAL, "goal_low", "goal_high", "unit", "good", "formula")  # all other columns are models


class HeadsInfo(NamedTuple):
    """What is drawn.

    Attributes:
        measures, splits: the heads, from the top, and what they are tested on, a panel each.
        models: the names of those that were looked into, the original last.
        rows: the table, with a number per measure and split.
    """

    measures: list[str]
    splits: list[str]
    models: list[str]
    rows: pd.DataFrame

    def beside(self, name: str) -> float:
        """Where a model stands within a row, so that equal values do not cover each other."""
        names = [*self.models, GOAL]
        return 0.6 * ((names.index(name) + 0.5) / len(names) - 0.5)


@takes(
    pd.DataFrame,
    "the table of imu.head_only(run, reference=...)",
    columns=("measure", "split", ORIGINAL, GOAL, "formula"),
)
def plot_head_only(table: pd.DataFrame) -> go.Figure:
    """A panel per split, a row per head: the accuracy of each on the frozen features of every model.

    A model whose features were left alone stands at the original's tick, whatever its own head says; the star is the
    retrained model, the goal, with the range of several. Only near the star the features have forgotten.

    >>> imu.plot_head_only(imu.head_only(run, reference=imu.references(task)))

    Args:
        table: from :func:`imu_lab.head_only`.
    """
    return live.draw(_content(_heads_info(table)))


def _heads_info(table: pd.DataFrame) -> HeadsInfo:
    models = [str(name) for name in table if name not in (*ABOUT, ORIGINAL)]
    measures, splits = (list(dict.fromkeys(table.get(name, []))) for name in ("measure", "split"))
    return HeadsInfo(measures, splits, [*models, ORIGINAL] if len(table) else [], table)


def _content(info: HeadsInfo) -> live.Content:
    looks = theme.looks(info.models)
    traces = [
        trace
        for panel, split in enumerate(info.splits)
        for trace in [
            *(_model(name, looks[name], split, panel, info) for name in info.models),
            _goal(split, panel, info),
        ]
    ]
    words = "At the tick a fresh head finds what it found before; at the star it finds what retraining leaves"
    layout = {"title.text": live.heading("Is it only the head?", words if info.models else "No models to show")}
    return live.Content(traces, layout, _frame(info))


def _points(name: str, column: str, split: str, panel: int, info: HeadsInfo) -> dict[str, Any]:
    """One model's accuracy under each head."""
    mine = info.rows[info.rows["split"] == split]
    at = [info.measures.index(measure) + info.beside(name) for measure in mine["measure"]]
    words = f"<b>{theme.text(name)}</b>, %{{customdata}}<br>{theme.text(split)}: "
    return dict(
        x=mine[column].to_numpy(dtype=float),
        y=np.array(at, dtype=float),
        customdata=[theme.text(measure) for measure in mine["measure"]],
        xaxis=f"x{marks.axis(panel)}",
        showlegend=panel == 0,
        hovertemplate=f"{words}{theme.measured('%{x:.3f}', 'accuracy')}<extra></extra>",
    )


def _model(name: str, look: theme.Look, split: str, panel: int, info: HeadsInfo) -> dict[str, Any]:
    """A run, or the original, which is a tick."""
    about = dict(name=theme.text(name), legendgroup=theme.text(name)) | _points(name, name, split, panel, info)
    if name == ORIGINAL:
        line = dict(width=2, color=theme.INK)
        return marks.dots(ORIGINAL, colour=theme.INK, symbol="line-ns-open", size=14, marker=dict(line=line), **about)
    meta = {"role": "model", "run": name}
    return marks.dots("model", colour=look.colour, symbol=look.symbol, size=11, **about | {"meta": meta})


def _goal(split: str, panel: int, info: HeadsInfo) -> dict[str, Any]:
    """The retrained model; of several the mean, and a bar from the least to the most."""
    points = _points(GOAL, GOAL, split, panel, info)
    mine = info.rows[info.rows["split"] == split]
    low, high = (mine.get(f"{GOAL}_{end}", mine[GOAL]) for end in ("low", "high"))
    return marks.dots(
        "retrained",
        colour=theme.colour("retrain"),
        symbol=theme.symbol("retrain"),
        size=14,
        error_x=marks.interval(points["x"], low, high, color=theme.colour("retrain")),
        **points | dict(name="goal: retrained", legendgroup=GOAL),
    )


def _frame(info: HeadsInfo) -> dict[str, Any]:
    frame: dict[str, Any] = dict(
        yaxis=marks.rows([theme.text(measure) for measure in info.measures], "head", anchor="free", position=0),
        showlegend=True,
    )
    about, width = describe("accuracy"), 1 / max(1, len(info.splits))
    for panel, split in enumerate(info.splits):
        title = (
            f"{about.title} on {theme.split_words(split)}<br>({theme.text(about.unit)}; close to the star is better)"
        )
        domain = [panel * width + (0.03 if panel else 0), (panel + 1) * width - (0.03 if len(info.splits) > 1 else 0)]
        frame[f"xaxis{marks.axis(panel)}"] = dict(anchor="y", domain=domain, nticks=6, title=dict(text=title))
    return frame
