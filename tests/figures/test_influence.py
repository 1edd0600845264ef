"""The influence figures: what is counted, what is drawn, and where each sample stands."""

from __future__ import annotations

import numpy as np
import pytest
from figures import records
from figures.records import influence

import imu_lab as imu
from imu_lab.core.messages import UnknownName
from imu_lab.core.quantities import describe
from imu_lab.figures import plot_influence, update_influence
from imu_lab.figures.influence import _bins, _influence_info
from imu_lab.figures.marks import MANY

VALUES = [0.5, -3.0, -1.0, 0.0, -2.0]


def by_role(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_info_sorts_and_counts_everyone_once():
    info = _influence_info(influence(VALUES))
    assert info.values.tolist() == [-3, -2, -1, 0, 0.5]
    assert info.examples.tolist() == [101, 104, 102, 103, 100]
    assert info.counts.sum() == 5 and 0.0 in info.edges


@pytest.mark.parametrize(
    "values", [[-1e-9, 2e-9], [-5.0], [3.0], [-1.0, -0.2, 4.0], np.random.default_rng(0).normal(size=500)]
)
def test_no_bar_holds_both_signs_or_loses_a_sample(values):
    edges = _bins(np.sort(np.asarray(values, dtype=float)))
    counts, _ = np.histogram(values, edges)
    assert counts.sum() == len(values)
    assert (abs(edges) <= 1e-15).sum() == 1
    assert counts[edges[:-1] < -1e-15].sum() == (np.asarray(values) < 0).sum()
    assert len(edges) < 65


def test_each_sample_is_one_clickable_dot_on_its_side():
    drawn = by_role(plot_influence(influence(VALUES)))
    assert drawn["ascend"].x.tolist() == [-3, -2, -1] and drawn["ascend"].y.tolist() == [1, 2, 3]
    assert drawn["ascend"].customdata.tolist() == [101, 104, 102]
    assert drawn["dropped"].x.tolist() == [0, 0.5] and drawn["dropped"].customdata.tolist() == [103, 100]
    assert drawn["ascend"].marker.color != drawn["dropped"].marker.color
    assert drawn["ascend"].marker.symbol != drawn["dropped"].marker.symbol


def test_the_words_say_how_many_ask_for_pressure():
    figure = plot_influence(influence(VALUES, gradient_dot=[1.0, -1, 1, -1, -1]))
    assert figure.layout.title.text.startswith("3 of 5 samples (60 %) ask for pressure")
    assert "disagrees in sign for 40 %" in figure.layout.title.text
    assert [note.text for note in figure.layout.annotations] == ["← ascend: 3", "dropped: 2 →"]
    assert f"({describe('influence').unit})" in figure.layout.xaxis2.title.text and figure.layout.yaxis2.title.text
    assert "disagrees" not in plot_influence(influence(VALUES)).layout.title.text


def test_dots_take_the_colour_of_a_column():
    figure = plot_influence(influence(VALUES, loss=[5.0, 1, 2, 3, 4]), colour_by="loss")
    drawn = by_role(figure)
    assert drawn["ascend"].marker.color.tolist() == [1, 4, 2] and drawn["dropped"].marker.color.tolist() == [3, 5]
    assert figure.layout.coloraxis.colorbar.title.text == "loss<br>(nats)"
    with pytest.raises(UnknownName, match="unknown column to colour by: 'lss'. Did you mean 'loss'?"):
        plot_influence(influence(VALUES, loss=np.ones(5)), colour_by="lss")


def test_many_samples_are_drawn_by_webgl_and_few_are_not():
    many, few = np.linspace(-1, 1, MANY + 1), np.linspace(-1, 1, 9)
    figure = plot_influence(influence(few))
    assert [trace.type for trace in figure.data] == ["bar", "scatter", "scatter"]
    update_influence(figure, influence(many))
    assert [trace.type for trace in figure.data] == ["bar", "scattergl", "scattergl"]


@pytest.mark.parametrize("values", [[], [-1.0], [0.0, 0.0], [np.nan, -1.0, 2.0]])
def test_odd_records_draw(values):
    figure = plot_influence(influence(values))
    finite = np.isfinite(np.asarray(values, dtype=float)).sum()
    assert sum(len(trace.x) for trace in figure.data[1:]) == finite == figure.data[0].y.sum()
    figure.to_json()


def test_every_sample_is_where_its_record_says() -> None:
    figure = imu.plot_fit(records.influence([-2.0, 0.0, -1.0], confidence=[0.1, 1.0, 0.5]))
    ascend, dropped = figure.data
    assert list(ascend.x) == [0.9, 0.5] and list(ascend.y) == [-2, -1]
    assert ascend.customdata.tolist() == [[100, 0.1], [102, 0.5]] and dropped.x[0] > 0, "also where p(y) is 1"
    assert figure.layout.xaxis.autorange == "reversed" and dropped.marker.symbol != ascend.marker.symbol
    assert "p(y)" in figure.layout.xaxis.title.text and "negative: ascend" in figure.layout.yaxis.title.text


def test_scores_without_confidence_say_what_they_have() -> None:
    with pytest.raises(imu.UnknownName, match="unknown column of the scores: 'confidence'.*Known: example, loss"):
        imu.plot_fit(records.influence([-1.0], loss=[0.3]))
