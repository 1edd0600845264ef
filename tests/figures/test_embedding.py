"""The embedding scatter: who stands out, panels that share a scale, portraits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imu_lab.figures.embedding import plot_embedding
from imu_lab.measures.retrieval import EmbeddingMap


class Pictures:
    def pictures(self, examples: list[int], source: str) -> np.ndarray:
        return np.zeros((len(examples), 8, 4, 3), np.uint8)


def known(models: tuple[str, ...] = ("original", "a <b>new</b> one"), seed: int = 0) -> EmbeddingMap:
    """Twelve pictures of four persons, of whom 7 is forgotten and 8 and 9 are alike."""
    rng = np.random.default_rng(seed)
    persons = np.repeat([7, 8, 9, 3], 3)
    role = np.select([persons == 7, persons > 7], ["forgotten", "alike"], "other")
    about = dict(example=np.arange(12), person=persons, camera=np.tile([1, 2, 3], 4), role=role)
    places = {name: dict(x=rng.normal(size=12), y=rng.normal(size=12)) for name in models}
    parts = [pd.DataFrame({"model": name, **place, **about}) for name, place in places.items()]
    return EmbeddingMap(pd.concat(parts, ignore_index=True), Pictures())


def test_one_panel_per_model_one_trace_per_person_that_stands_out() -> None:
    figure = plot_embedding(known())
    assert [trace.meta["person"] for trace in figure.data] == [-1, 8, 9, 7] * 2
    assert [trace.xaxis for trace in figure.data] == ["x"] * 4 + ["x2"] * 4
    names = [trace.name for trace in figure.data]
    assert names[:4] == ["everybody else", "person 8", "person 9", "person 7, to forget"]
    assert [trace.showlegend for trace in figure.data] == [True] * 4 + [False] * 4
    assert "<b>" not in figure.layout.annotations[1].text


def test_points_are_the_records() -> None:
    points = known().points
    mine = points[(points["model"] == "original") & (points["person"] == 7)]
    figure = plot_embedding(known())
    assert np.array_equal(figure.data[3].x, mine["x"]) and np.array_equal(figure.data[3].y, mine["y"])
    assert figure.data[3].customdata[1] == "person 7, camera 2"


def test_people_differ_in_colour_and_shape_and_look_the_same_in_every_panel() -> None:
    looks = [(trace.marker.color, trace.marker.symbol) for trace in plot_embedding(known()).data]
    colours, symbols = ({look[k] for look in looks[:4]} for k in (0, 1))
    assert len(colours) == len(symbols) == 4
    assert looks[:4] == looks[4:]


def test_panels_share_a_scale_that_holds_all_points_and_portraits() -> None:
    figure = plot_embedding(known())
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range and figure.layout.yaxis.scaleanchor == "x"
    low, high = figure.layout.xaxis.range
    assert low < known().points["x"].min() and high > known().points["x"].max()
    assert len(figure.layout.images) == 3 and all(low < image.x < high for image in figure.layout.images)
    for seed in range(10):
        layout = plot_embedding(known(seed=seed)).layout
        low, high = layout.yaxis.range
        edges = [image.y + side * image.sizey / 2 for image in layout.images for side in (-1, 1)]
        assert low - 1e-9 < min(edges) and max(edges) < high + 1e-9, "no picture is cut"
