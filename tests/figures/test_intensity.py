"""The intensity figure: the rule's shape, and how unequal the weights are."""

import numpy as np
import pytest
from figures.records import as_values, intensity

from imu_lab.figures import colour, plot_intensity, update_intensity
from imu_lab.figures.intensity import _intensity_info

VALUES, WEIGHTS = [-4.0, -1.0, 2.0, -2.0, 1.0], [0.5, 0.2, 0.0, 0.3, 0.0]


def by_role(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_info_accumulates_from_the_heaviest():
    info = _intensity_info(intensity(VALUES, WEIGHTS))
    np.testing.assert_allclose(info.cumulative, [0, 0.5, 0.8, 1, 1, 1])
    np.testing.assert_allclose(info.heaviest, [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert info.order.tolist()[:3] == [100, 103, 101]
    assert info.fifth == pytest.approx(0.5)
    assert info.effective == pytest.approx(1 / 0.38)


def test_uniform_weights_lie_on_the_diagonal():
    info = _intensity_info(intensity(np.arange(7), np.full(7, 1 / 7), "uniform"))
    np.testing.assert_allclose(info.cumulative, info.heaviest)
    assert info.fifth == pytest.approx(0.2) and info.effective == pytest.approx(7)


def test_points_are_the_records_rows():
    drawn = by_role(plot_intensity(intensity(VALUES, WEIGHTS)))
    assert drawn["selected"].x.tolist() == [-4, -1, -2] and drawn["selected"].y.tolist() == [0.5, 0.2, 0.3]
    assert drawn["selected"].customdata.tolist() == [100, 101, 103]
    assert drawn["dropped"].customdata.tolist() == [102, 104] and drawn["dropped"].y.tolist() == [0, 0]
    assert list(drawn["uniform"].x) == [-4, 2] and list(drawn["uniform"].y) == [0.2, 0.2]
    assert list(drawn["equal"].x) == list(drawn["equal"].y) == [0, 1]


def test_the_words_say_how_uneven_and_escape_the_rule():
    title = plot_intensity(intensity(VALUES, WEIGHTS, "<mine>")).layout.title.text
    assert title.startswith("&lt;mine&gt;: 5 samples count like 2.6 equal ones")
    assert "heaviest fifth takes 50 %" in title and "2 dropped" in title
    assert "dropped" not in plot_intensity(intensity([-1, -2], [0.5, 0.5])).layout.title.text


def test_an_update_draws_what_a_new_figure_draws():
    figure = plot_intensity(intensity(VALUES, WEIGHTS))
    other = intensity([-1.0, -2.0], [0.9, 0.1], "shuffled")
    update_intensity(figure, other)
    assert as_values(figure) == as_values(plot_intensity(other))
    assert by_role(figure)["selected"].marker.color == colour("shuffled")


@pytest.mark.parametrize(
    ("values", "weights"), [([], []), ([-1.0], [1.0]), ([np.nan, np.nan], [0.5, 0.5]), ([-1.0, np.nan], [1.0, 0.0])]
)
def test_odd_records_draw(values, weights):
    figure = plot_intensity(intensity(values, weights))
    drawn = by_role(figure)
    assert len(drawn["selected"].y) + len(drawn["dropped"].y) == len(values)
    assert len(drawn["cumulative"].x) == len(drawn["cumulative"].y) == len(values) + 1
    figure.to_json()
