"""Whom a model finds: the first answers to some queries, and the matching curve over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..measures.retrieval import IGNORED, RIGHT, WRONG, Retrieval
from . import live, theme
from .pictures import address, pictures_to_draw, tile
from .takes import takes


class Look(NamedTuple):
    """How a mark or a curve looks: colour and shape, so that neither is needed alone, and words or a dash pattern."""

    colour: str
    symbol: str
    words: str


MARKS = {
    RIGHT: Look("#0072B2", "circle", "right: same person, another camera"),
    WRONG: Look("#D55E00", "x", "wrong: somebody else"),
    IGNORED: Look(theme.INK, "square-open", "same person, same camera: not counted"),
}
CURVES = (
    Look("#0072B2", "circle", "solid"),
    Look(theme.colour("imu"), "diamond", "8px,3px"),
    Look("#A9772B", "triangle-up", "4px,3px"),
    Look("#009E73", "square", "14px,3px,4px,3px"),
)
ROW = 132  # pixels
FIRST = 1.35  # x of the first answer; the query sits at 0


class StripInfo(NamedTuple):
    """What is drawn.

    Attributes:
        answers: long table ``row, x, mark, words, source``: every answer with its place and its picture.
        queries: ``row, source, words``: each query's picture, on its first row.
        labels: of each row, the model.
        scores: of each row, the query's average precision.
        tops: y of each row.
        places: how many answers a row has room for.
    """

    answers: pd.DataFrame
    queries: pd.DataFrame
    labels: list[str]
    scores: list[float]
    tops: np.ndarray
    places: int


@takes(Retrieval, "what imu.retrieve(task, model) gives, one or several", several=True)
def plot_retrieval(
    retrievals: Retrieval | Iterable[Retrieval], *, queries: Sequence[int] | None = None, places: int = 10
) -> go.Figure:
    """The first answers of each model to a few queries, the most alike first, each marked right, wrong or not counted.

    Args:
        retrievals: one, or several of the same queries (before, after, retrained).
        queries: which query rows; None takes up to two: those whose average precision differs most between the first
            and the last, or is lowest where there is one.
        places: how many answers to show.

    Raises:
        ValueError: no retrieval or no query, retrievals of different queries, or a query that is not there.
    """
    several = [retrievals] if isinstance(retrievals, Retrieval) else list(retrievals)
    return live.draw(_content(_strip_info(several, queries, places)))


def _strip_info(several: list[Retrieval], queries: Sequence[int] | None, places: int) -> StripInfo:
    """Chooses the queries and lays their rows out, the models of one query next to each other."""
    if not several or not len(several[0].queries):
        raise ValueError("there are no queries to show; make a retrieval with imu.retrieve(task, model)")
    first = several[0]
    if any(not np.array_equal(first.queries["example"], other.queries["example"]) for other in several):
        raise ValueError("these retrievals answer different queries; make them from one task and one split")
    chosen = _most_changed(several) if queries is None else list(queries)
    missing = [query for query in chosen if not 0 <= query < len(first.queries)]
    if missing:
        raise ValueError(f"no query {missing[0]}; there are {len(first.queries)}, 0 to {len(first.queries) - 1}")
    answers, asked, labels, scores, tops = [], [], [], [], []
    for group, query in enumerate(chosen):
        for number, one in enumerate(several):
            row = len(labels)
            mine = one.answers[(one.answers["query"] == query) & (one.answers["place"] <= places)]
            pictures = pictures_to_draw(one.task, mine["example"].to_numpy(), one.sources[1])
            sources = [address(pixels, MARKS[mark].colour) for pixels, mark in zip(pictures, mine["mark"])]
            words = [_answer_words(*each) for each in zip(mine["rank"], mine["person"], mine["camera"], mine["mark"])]
            place = mine["place"].to_numpy() - 1 + FIRST
            shown = {"row": row, "x": place, "mark": mine["mark"], "words": words, "source": sources}
            answers.append(pd.DataFrame(shown))
            if number == 0:
                asked.append({"row": row, **_query(one, query)})
            labels.append(one.label)
            scores.append(float(one.queries["average_precision"].iloc[query]))
            tops.append(row + 0.22 * group)
    return StripInfo(pd.concat(answers), pd.DataFrame(asked), labels, scores, np.array(tops), places)


def _most_changed(several: list[Retrieval], count: int = 2) -> list[int]:
    first, last = (several[k].queries["average_precision"].to_numpy() for k in (0, -1))
    worth = np.abs(first - last) if len(several) > 1 else 1 - first
    return sorted(np.argsort(-worth, kind="stable")[:count].tolist())


def _query(one: Retrieval, query: int) -> dict[str, Any]:
    about = one.queries.iloc[query]
    source = address(pictures_to_draw(one.task, [about["example"]], one.sources[0])[0])
    return {"source": source, "words": f"person {about['person']:.0f}<br>camera {about['camera']:.0f}"}


def _answer_words(rank: float, person: int, camera: int, mark: str) -> str:
    place = "not counted" if np.isnan(rank) else f"rank {rank:.0f}"
    return f"{place}: person {person}, camera {camera}<br>{MARKS[mark].words}"


def _content(info: StripInfo) -> live.Content:
    traces = [_marks(mark, info) for mark in MARKS]
    heads = [(0.0, "query"), *((FIRST + place, str(place + 1)) for place in range(info.places))]
    right = FIRST + info.places - 0.4
    scores = [
        dict(text=f"AP {score:.2f}", x=right, y=top, xanchor="left", showarrow=False, font=dict(size=12))
        for score, top in zip(info.scores, info.tops)
    ]
    asked = [
        dict(text=words, x=0, y=info.tops[row] + 0.46, yanchor="top", showarrow=False, font=dict(size=11))
        for row, words in _columns(info.queries, "row words")
    ]
    images = [tile(source, x, info.tops[row], tall=0.86) for row, x, source in _columns(info.answers, "row x source")]
    images += [tile(source, 0, info.tops[row], tall=0.86) for row, source in _columns(info.queries, "row source")]
    title = "Who looks most alike, as each model sees it"
    bottom = info.tops[-1] + 0.68
    layout = {
        "title.text": live.heading(
            title, "Left: the most alike. AP: average precision of the whole ranking, higher is better."
        ),
        "images": images,
        "annotations": [*scores, *asked],
        "xaxis.tickvals": [x for x, _ in heads],
        "xaxis.ticktext": [words for _, words in heads],
        "yaxis.tickvals": info.tops.tolist(),
        "yaxis.ticktext": [theme.text(label) for label in info.labels],
    }
    plain = dict(showgrid=False, showline=False, ticks="", fixedrange=True)
    frame = dict(
        xaxis=plain | dict(side="top", range=[-0.6, right + 0.75], title=dict(text="place (1 = most alike)")),
        yaxis=plain | dict(range=[bottom, -0.5]),
        height=round(ROW * (bottom + 0.5)) + 150,
        margin=dict(t=104, b=58),
        hovermode="closest",
    )
    return live.Content(traces, layout, frame)


def _columns(table: pd.DataFrame, names: str) -> Iterable[tuple]:
    return zip(*(table[name] for name in names.split()))


def _marks(mark: str, info: StripInfo) -> dict[str, Any]:
    """The marks of one kind, under their pictures."""
    mine, look = info.answers[info.answers["mark"] == mark], MARKS[mark]
    return dict(
        type="scatter",
        mode="markers",
        meta={"role": "mark", "mark": mark},
        name=look.words,
        x=mine["x"].to_numpy(),
        y=info.tops[mine["row"].to_numpy(dtype=int)] + 0.5,
        customdata=mine["words"].tolist(),
        marker=dict(color=look.colour, symbol=look.symbol, size=11, line=dict(width=2, color=look.colour)),
        hovertemplate="%{customdata}<extra></extra>",
    )


@takes(Retrieval, "what imu.retrieve(task, model) gives, one or several", several=True)
def plot_cmc(retrievals: Retrieval | Iterable[Retrieval]) -> go.Figure:
    """The cumulative matching curve: the share of queries with a right answer among the first k counted places."""
    several = [retrievals] if isinstance(retrievals, Retrieval) else list(retrievals)
    traces = [_curve(one, CURVES[position % len(CURVES)]) for position, one in enumerate(several)]
    layout = {
        "title.text": live.heading("How far down the right person is", "Higher: the right person is found sooner.")
    }
    frame = dict(
        xaxis=dict(title=dict(text="rank k (counted places looked at)"), tickvals=[1, 5, 10, 15, 20]),
        yaxis=dict(title=dict(text="queries answered by rank k (share)"), range=[-0.03, 1.03]),
        height=380,
    )
    return live.draw(live.Content(traces, layout, frame))


def _curve(one: Retrieval, look: Look) -> dict[str, Any]:
    if one.label == "retrained":  # looks the same in every figure
        look = Look(theme.colour(one.label), theme.symbol(one.label), theme.dash(one.label))
    return dict(
        type="scatter",
        mode="lines+markers",
        meta={"role": "curve", "label": one.label},
        name=f"{theme.text(one.label)} (mAP {one.map:.2f})",
        x=one.curve["rank"].to_numpy(),
        y=one.curve["share"].to_numpy(),
        line=dict(color=look.colour, dash=look.words, width=2),
        marker=dict(color=look.colour, symbol=look.symbol, size=8),
        hovertemplate=f"{theme.text(one.label)}<br>by rank %{{x}}: %{{y:.3f}} of the queries<extra></extra>",
    )
