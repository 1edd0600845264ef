"""Sequences: what a model believes of a source, update by update, and which tokens carry loss and influence."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..core.messages import listed
from ..core.records import Run
from . import live, marks, theme
from .takes import of_a_run, takes

ROWS = 12  # sequences in a strip figure, unless examples are named


class TransitionsInfo(NamedTuple):
    """What is drawn: matrices (K, K), row = state now, column = state next, probabilities from 0 to 1.

    Attributes:
        steps: (s,) the recorded updates. learned: (s, K, K) the model's matrix after each.
        true: (K, K) the source's own chain; None where nobody knows it.
        retrained: (K, K) the retrained model's; None where the run knows no such model.
        source: the source's number. owner: (K,) the source of each state; empty where it is not known.
    """

    steps: np.ndarray
    learned: np.ndarray
    true: np.ndarray | None
    retrained: np.ndarray | None
    source: int
    owner: np.ndarray


@takes(Run, "one run of imu.unlearn that followed transitions", made=of_a_run(lambda run: run))
def plot_transitions(run: Run, *, source: int | None = None, step: int | None = None) -> go.Figure:
    """The true transition matrix, the model's after an update, and the retrained model's; the slider moves the update.

    Args:
        run: made with ``follow=(..., imu.metrics.create("transitions", source=1))``.
        source: which of the sources that the run followed; None for the first.
        step: the update shown at first; None for the last.

    Raises:
        ValueError: the run followed no transitions, or not this source's, or did not record this update.
    """
    info = _transitions_info(run, source)
    shown = len(info.steps) - 1 if step is None else _place(info.steps, step)
    return live.draw(_matrices(info, shown))


def _transitions_info(run: Run, source: int | None = None) -> TransitionsInfo:
    """Reads the matrices from the run's curve and reference."""
    follow = run.settings.get("follow", ())
    followed = [each["settings"]["source"] for each in follow if each["metric"] == "transitions"]
    if not followed or (source is not None and source not in followed):
        wanted = 1 if source is None else source
        raise ValueError(
            f"this run followed the transitions of source {listed(followed)}; run again with "
            f'follow=("kl-retrained", imu.metrics.create("transitions", source={wanted}))'
        )
    source = followed[0] if source is None else source
    rows = run.curve[(run.curve["split"] == f"source-{source}") & run.curve["metric"].str.contains("→")]
    wide = rows.pivot(index="step", columns="metric", values="value")
    known = run.reference[(run.reference["split"] == f"source-{source}") & run.reference["metric"].str.contains("→")]
    corpus = getattr(run.task, "corpus", None)
    chains = getattr(corpus, "chains", None)
    return TransitionsInfo(
        wide.index.to_numpy(),
        np.stack([_matrix(wide.loc[step]) for step in wide.index]),
        None if chains is None else chains[source].numpy(),
        _matrix(known.set_index("metric")["value"]) if len(known) else None,
        source,
        np.empty(0, dtype=int) if corpus is None else corpus.owner.numpy(),
    )


def _matrix(values: pd.Series) -> np.ndarray:
    """(K, K) from values named ``i→j``."""
    pairs = [tuple(int(state) for state in name.split("→")) for name in values.index]
    size = 1 + max(max(each) for each in pairs)
    matrix = np.full((size, size), np.nan)
    for (now, following), value in zip(pairs, values):
        matrix[now, following] = value
    return matrix


def _place(steps: np.ndarray, step: int) -> int:
    found = np.flatnonzero(steps == step)
    if not len(found):
        raise ValueError(f"update {step} was not recorded; the run has {len(steps)}, from {steps[0]} to {steps[-1]}")
    return int(found[0])


def _matrices(info: TransitionsInfo, shown: int) -> live.Content:
    now = info.learned[shown]
    beside = [("the true chain", info.true), ("the model", now), ("the retrained model", info.retrained)]
    panels = [(title, matrix) for title, matrix in beside if matrix is not None]
    at = [title for title, _ in panels].index("the model")
    scale = _brightness(info)
    traces = [_heat(number, title, matrix, scale) for number, (title, matrix) in enumerate(panels)]
    words = "Row: the state now. Column: the state next. Averaged over held-out sequences."
    layout = {
        "title.text": live.heading(f"What the model believes of source {info.source}", words),
        "annotations": [live.panel(marks.axis(number), title) for number, (title, _) in enumerate(panels)],
        "shapes": [line for number in range(len(panels)) for line in _borders(info.owner, marks.axis(number))],
        "sliders": [_slider(info, shown, at)],
        "margin": dict(l=58, r=18, t=86, b=110),
    }
    return live.Content(traces, layout, _frame(len(panels)))


def _brightness(info: TransitionsInfo) -> dict[str, Any]:
    """The colours' range: one for all panels and updates, set by what there was before anything was forgotten.

    A run that goes wrong can put nearly all probability on one state; scaled to that, the pattern itself would be dark.
    """
    beside = [matrix for matrix in (info.true, info.retrained, info.learned[0]) if matrix is not None]
    usual, largest = 1.4 * max(np.nanmax(matrix) for matrix in beside), np.nanmax(info.learned)
    words = f"probability (brightest: {usual:.2f} or more)" if largest > usual else "probability"
    return dict(zmin=0, zmax=float(min(usual, max(largest, usual / 1.4))), colorbar=marks.colour_bar(words))


def _heat(number: int, title: str, matrix: np.ndarray, scale: dict[str, Any]) -> dict[str, Any]:
    return dict(
        type="heatmap",
        meta={"role": "matrix", "of": title},
        x=np.arange(len(matrix)),
        y=np.arange(len(matrix)),
        z=matrix,
        colorscale=theme.SEQUENTIAL,
        showscale=number == 0,
        **scale,
        hovertemplate=f"{title}<br>from state %{{y}} to state %{{x}}: %{{z:.3f}}<extra></extra>",
        xaxis=f"x{marks.axis(number)}",
        yaxis=f"y{marks.axis(number)}",
    )


def _borders(owner: np.ndarray, axis: str) -> list[dict[str, Any]]:
    """White lines between the states of one source and the next."""
    edges = np.flatnonzero(np.diff(owner)) + 0.5
    size = len(owner)
    place = dict(type="line", xref=f"x{axis}", yref=f"y{axis}", line=dict(color="#ffffff", width=1))
    across = [dict(place, x0=-0.5, x1=size - 0.5, y0=edge, y1=edge) for edge in edges.tolist()]
    down = [dict(place, x0=edge, x1=edge, y0=-0.5, y1=size - 0.5) for edge in edges.tolist()]
    return across + down


def _slider(info: TransitionsInfo, shown: int, trace: int) -> dict[str, Any]:
    """One position per recorded update; moving it replaces the model's matrix."""
    steps = [
        dict(method="restyle", label=str(step), args=[{"z": [matrix]}, [trace]])
        for step, matrix in zip(info.steps.tolist(), info.learned)
    ]
    now = dict(prefix="the model after update ", xanchor="left", font=dict(size=12))
    return dict(active=shown, steps=steps, currentvalue=now, pad=dict(t=40), tickcolor=theme.GRID, font=dict(size=10))


def _frame(panels: int) -> dict[str, Any]:
    frame: dict[str, Any] = {}
    width = 1 / panels
    for number in range(panels):
        left = number * width
        ticks = dict(showgrid=False, dtick=1, constrain="domain")
        frame[f"xaxis{marks.axis(number)}"] = dict(
            ticks,
            anchor=f"y{marks.axis(number)}",
            domain=[left, left + width - 0.05],
            title=dict(text="next state (index)"),
        )
        frame[f"yaxis{marks.axis(number)}"] = dict(
            ticks,
            anchor=f"x{marks.axis(number)}",
            autorange="reversed",
            scaleanchor=f"x{marks.axis(number)}",
            title=dict(text="state now (index)" if number == 0 else ""),
        )
    return frame


class TokensInfo(NamedTuple):
    """What is drawn: one row per sequence, one column per predicted token.

    Attributes:
        examples: (r,) ids, the sequence with the most negative influence first.
        totals: (r,) each sequence's influence.
        places: (T,) 1 is the first predicted token.
        tokens, loss, influence: (r, T); the tokens as they are written, where the table says so.
        count: sequences in the table.
    """

    examples: np.ndarray
    totals: np.ndarray
    places: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    influence: np.ndarray
    count: int


@takes(
    pd.DataFrame,
    "the table of imu.token_scores(task, model)",
    columns=("example", "place", "token", "loss", "influence"),
)
def plot_tokens(table: pd.DataFrame, *, examples: list[int] | None = None) -> go.Figure:
    """Strips of sequences, each token coloured by its loss (left) and by its share of the influence (right).

    Args:
        table: from :func:`imu_lab.token_scores`.
        examples: which sequences; None for twelve, evenly spaced from the most negative influence to the most positive.

    Raises:
        ValueError: an empty table, or a sequence that is not in it.
    """
    return live.draw(_strips(_tokens_info(table, examples)))


def _tokens_info(table: pd.DataFrame, examples: list[int] | None = None) -> TokensInfo:
    """Pivots and sorts the table, and thins it where no examples are named."""
    if table.empty:
        raise ValueError("the table holds no tokens")
    totals = table.groupby("example")["influence"].sum().sort_values(kind="stable")
    missing = [each for each in examples or () if each not in totals.index]
    if missing:
        raise ValueError(f"sequences {missing[:5]} are not in the table; it has {len(totals)}")
    shown = totals.index[np.unique(np.linspace(0, len(totals) - 1, ROWS).round().astype(int))]
    if examples is not None:
        shown = totals.index[totals.index.isin(examples)]
    wide = table[table["example"].isin(shown)].pivot(index="example", columns="place").loc[shown]
    return TokensInfo(
        shown.to_numpy(),
        totals[shown].to_numpy(),
        wide["loss"].columns.to_numpy(),
        wide["text" if "text" in table else "token"].map(_written).to_numpy(),
        wide["loss"].to_numpy(),
        wide["influence"].to_numpy(),
        len(totals),
    )


def _written(token: Any) -> Any:
    """A token in a cell: a text is nothing but a text, and nothing stands where there is none."""
    return theme.text(token) if isinstance(token, str) else "" if token != token else int(token)


def _strips(info: TokensInfo) -> live.Content:
    strongest = float(np.nanmax(np.abs(info.influence))) or 1.0  # shorter sequences have nothing at the last places
    losses = dict(zmin=0, zmax=float(np.nanmax(info.loss)), colorscale=theme.SEQUENTIAL)
    signed = dict(zmin=-strongest, zmax=strongest, colorscale=theme.DIVERGING)
    traces = [_strip(info, info.loss, "loss", "", losses), _strip(info, info.influence, "influence", "2", signed)]
    cells = "Numbers are" if np.issubdtype(info.tokens.dtype, np.number) else "In the cells:"
    words = f"{cells} the tokens. Top: the most negative influence, pressed. Bottom: the most positive, dropped."
    shown = f"{len(info.examples)} of {theme.number(info.count)} sequences, token by token"
    titles = (("", "loss of each token"), ("2", "its share of the influence; orange: ascend"))
    layout = {
        "title.text": live.heading(shown, words),
        "annotations": [live.panel(axis, title) for axis, title in titles],
        "margin": dict(l=110, r=18, t=86, b=44),
        "yaxis.tickvals": np.arange(len(info.examples)),
        "yaxis.ticktext": [f"{each} ({total:+.2f})" for each, total in zip(info.examples, info.totals)],
    }
    return live.Content(traces, layout, _strip_frame())


def _strip(info: TokensInfo, values: np.ndarray, name: str, axis: str, scale: dict[str, Any]) -> dict[str, Any]:
    bar = marks.colour_bar(f"{name} (nats)", thickness=10, x=0.46 if axis == "" else 1.0)
    names = np.repeat(info.examples[:, None], len(info.places), 1)
    return dict(
        type="heatmap",
        meta={"role": name},
        x=info.places,
        y=np.arange(len(info.examples)),
        z=values,
        text=info.tokens,
        texttemplate="%{text}",
        textfont=dict(size=10),
        customdata=names,
        colorbar=bar,
        hovertemplate="sequence %{customdata}, place %{x}: token %{text}<br>" + name + " %{z:.4g} nats<extra></extra>",
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        **scale,
    )


def _strip_frame() -> dict[str, Any]:
    place = dict(showgrid=False, title=dict(text="place in the sequence (0, the first token, is not predicted)"))
    return dict(
        xaxis=dict(place, anchor="y", domain=[0, 0.45]),
        xaxis2=dict(place, anchor="y2", domain=[0.55, 1]),
        yaxis=dict(anchor="x", autorange="reversed", showgrid=False, title=dict(text="sequence (influence)")),
        yaxis2=dict(anchor="x2", autorange="reversed", showgrid=False, showticklabels=False),
    )
