"""Retrieval strips and matching curves: what is drawn is what the record says, with a shape for every colour."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from imu_lab.figures import retrieval as figures
from imu_lab.figures import theme
from imu_lab.measures.retrieval import Retrieval

MARKS = ["right", "wrong", "same camera", "right"]


class Pictures:
    """A task that has nothing but pictures."""

    def pictures(self, examples: np.ndarray, source: str) -> np.ndarray:
        assert source == "test"
        return np.stack([np.full((8, 4, 3), 10 + int(example), np.uint8) for example in examples])


@cache
def found(label: str = "original", precisions: tuple[float, ...] = (0.9, 0.2, 0.5), persons: int = 7) -> Retrieval:
    count = len(precisions)
    queries = pd.DataFrame(
        {
            "query": range(count),
            "example": range(count),
            "person": persons,
            "camera": 1,
            "average_precision": precisions,
            "first_right": 1,
        }
    )
    one = pd.DataFrame(
        {
            "place": [1, 2, 3, 4],
            "rank": [1, 2, np.nan, 3],
            "example": [20, 21, 22, 23],
            "person": [7, 8, 7, 7],
            "camera": [2, 3, 1, 4],
            "mark": MARKS,
        }
    )
    answers = pd.concat([one.assign(query=query) for query in range(count)], ignore_index=True)
    curve = pd.DataFrame({"rank": [1, 2, 3], "share": [0.25, 0.5, 1.0]})
    return Retrieval(queries, answers, curve, label, task=Pictures())


def marks(figure: object) -> dict[str, object]:
    return {trace.meta["mark"]: trace for trace in figure.data}


def test_every_answer_has_its_mark_and_its_picture() -> None:
    figure = figures.plot_retrieval(found(), queries=[1])
    assert {mark: list(trace.x) for mark, trace in marks(figure).items()} == {
        "right": [figures.FIRST, figures.FIRST + 3],
        "wrong": [figures.FIRST + 1],
        "same camera": [figures.FIRST + 2],
    }
    assert len(figure.layout.images) == 4 + 1  # and the query
    assert "rank 2: person 8, camera 3" in marks(figure)["wrong"].customdata[0]
    assert "not counted: person 7, camera 1" in marks(figure)["same camera"].customdata[0]
    assert [each.text for each in figure.layout.annotations] == ["AP 0.20", "person 7<br>camera 1"]


def test_marks_differ_in_colour_and_in_shape() -> None:
    for part in ("colour", "symbol", "words"):
        assert len({getattr(look, part) for look in figures.MARKS.values()}) == 3


def test_models_of_one_query_stand_together() -> None:
    several = [found(), found("unlearned", (0.9, 0.7, 0.1)), found("retrained", (0.9, 0.9, 0.2))]
    figure = figures.plot_retrieval(several)
    labels = list(figure.layout.yaxis.ticktext)
    assert labels == ["original", "unlearned", "retrained"] * 2
    scores = [each.text for each in figure.layout.annotations if each.text.startswith("AP")]
    assert scores == ["AP 0.20", "AP 0.70", "AP 0.90", "AP 0.50", "AP 0.10", "AP 0.20"], "the most changed queries"
    tops = np.array(figure.layout.yaxis.tickvals)
    assert tops[3] - tops[2] > tops[1] - tops[0]


def test_one_model_shows_its_worst_queries() -> None:
    assert [each.text for each in figures.plot_retrieval(found()).layout.annotations[:2]] == ["AP 0.20", "AP 0.50"]


def test_places_cut_the_strip() -> None:
    figure = figures.plot_retrieval(found(), queries=[0], places=2)
    assert sum(len(trace.x) for trace in figure.data) == 2 and list(figure.layout.xaxis.ticktext) == ["query", "1", "2"]


def test_different_queries_and_queries_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="different queries"):
        figures.plot_retrieval([found(), found("other", (0.1, 0.2))])
    with pytest.raises(ValueError, match="no query 3; there are 3, 0 to 2"):
        figures.plot_retrieval(found(), queries=[3])


def test_a_task_that_shows_no_held_out_pictures_is_named() -> None:
    mute = type("Mute", (), {"pictures": lambda self, ids: np.zeros((len(ids), 8, 4, 3), np.uint8)})()
    with pytest.raises(
        ValueError, match="Mute gives no pictures of its test samples, so that there is nothing to draw here"
    ):
        figures.plot_retrieval(replace(found(), task=mute))


def test_the_curve() -> None:
    figure = figures.plot_cmc([found("original"), found("a <b>model</b>"), found("retrained")])
    assert list(figure.data[0].y) == [0.25, 0.5, 1.0] and list(figure.data[0].x) == [1, 2, 3]
    assert figure.data[0].name == "original (mAP 0.53)" and "<b>" not in figure.data[1].name
    assert figure.data[2].line.color == theme.colour("retrained")
    assert len({(trace.line.color, trace.marker.symbol, trace.line.dash) for trace in figure.data}) == 3
    assert "rank" in figure.layout.xaxis.title.text and "share" in figure.layout.yaxis.title.text
