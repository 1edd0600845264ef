"""Which forgotten facts come back: a dot for each fact under each lesson, beside what the retrained model can say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..studies.comeback import Comeback
from . import live, marks, theme
from .takes import takes


@takes(Comeback, "what imu.comeback(run, retrained) gives")
def plot_comeback(record: Comeback) -> go.Figure:
    """The probability of each forgotten fact under each lesson, with the mean and its 95 % interval.

    Stars are the retrained model after the same lesson: the goal is to stand there, and what lies right of a star was
    remembered and not guessed. A lesson brings facts back only where it does more than the control, the kept authors.

    Args:
        record: from :func:`imu_lab.comeback`.
    """
    return live.draw(_content(record))


def _content(record: Comeback) -> live.Content:
    lessons = list(record.summary["lesson"])
    traces = [_facts(record, lesson, place) for place, lesson in enumerate(lessons)]
    traces += [_means(record), _goal(record)] if lessons else []
    title = f"Which facts come back after {record.updates} updates of a lesson" if lessons else "No facts to show"
    words = "Towards the star is better: the retrained model after the same lesson"
    known = bool(lessons) and record.summary["retrained"].notna().any()
    layout = {"title.text": live.heading(title, words if known else "")}
    names = [_named(record, lesson) for lesson in lessons]
    return live.Content(
        traces,
        layout,
        dict(
            xaxis=dict(
                title=dict(text="probability of the answer<br>(geometric mean over its tokens)"), range=[-0.02, 1.02]
            ),
            yaxis=dict(
                title=dict(text="lesson"),
                tickvals=list(range(len(lessons))),
                ticktext=names,
                range=[len(lessons) - 0.4, -0.6] if lessons else [0.5, -0.5],
                showgrid=False,
            ),
            hovermode="closest",
        ),
    )


def _named(record: Comeback, lesson: str) -> str:
    taught = record.facts.loc[record.facts["lesson"] == lesson, "taught"]
    words = theme.text(lesson)
    return f"{words}<br>({int(taught.max())} facts learned)" if len(taught) and taught.max() else words


def _facts(record: Comeback, lesson: str, place: int) -> dict[str, Any]:
    mine = record.facts[record.facts["lesson"] == lesson]
    right = [", word for word" if each else "" for each in mine["right"]]
    return marks.dots(
        "fact",
        mine["probability"].to_numpy(dtype=float),
        place + 0.28 * np.linspace(-1, 1, len(mine)) if len(mine) > 1 else np.full(len(mine), float(place)),
        colour=theme.colour("forget"),
        symbol="circle-open",
        size=6,
        name="a forgotten fact",
        meta={"role": "fact", "lesson": lesson},
        legendgroup="fact",
        showlegend=place == 0,
        customdata=np.column_stack([mine["example"], [theme.text(label) for label in mine["label"]], right])
        if len(mine)
        else [],
        hovertemplate=f"pair %{{customdata[0]}}, %{{customdata[1]}}<br>{theme.text(lesson)}: "
        "%{x:.3f}%{customdata[2]}<extra></extra>",
    )


def _means(record: Comeback) -> dict[str, Any]:
    table = record.summary
    beyond = [_beyond(row) for _, row in table.iterrows()]
    return marks.dots(
        "mean",
        table["mean"].to_numpy(dtype=float),
        np.arange(len(table), dtype=float),
        colour=theme.INK,
        symbol="diamond",
        size=11,
        name="mean, with its 95 % interval",
        error_x=marks.interval(table["mean"], table["low"], table["high"], color=theme.INK),
        customdata=np.column_stack([[theme.text(name) for name in table["lesson"]], beyond]),
        hovertemplate="<b>%{customdata[0]}</b>: mean %{x:.3f}%{customdata[1]}<extra></extra>",
    )


def _beyond(row: pd.Series) -> str:
    if not np.isfinite(row["beyond"]):
        return ""
    return f"<br>more than the control by {row['beyond']:.3f} ({row['beyond_low']:.3f} to {row['beyond_high']:.3f})"


def _goal(record: Comeback) -> dict[str, Any]:
    known = record.summary["retrained"].notna().to_numpy()
    return marks.dots(
        "retrained",
        record.summary.loc[known, "retrained"].to_numpy(dtype=float),
        np.flatnonzero(known).astype(float),
        colour=theme.colour("retrain"),
        symbol=theme.symbol("retrain"),
        size=13,
        name="retrained model",
        hovertemplate="retrained model after the same lesson: %{x:.3f}<extra></extra>",
    )
