"""The intensity figures: the rule's shape, how unequal the weights are, and whom they press."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from figures.records import intensity

import imu_lab as imu
from imu_lab.figures import plot_intensity
from imu_lab.figures.intensity import _intensity_info

VALUES, WEIGHTS = [-4.0, -1.0, 2.0, -2.0, 1.0], [0.5, 0.2, 0.0, 0.3, 0.0]


def by_role(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_info_accumulates_from_the_heaviest():
    info = _intensity_info(intensity(VALUES, WEIGHTS))
    assert cases.close(info.cumulative, [0, 0.5, 0.8, 1, 1, 1], within=1e-5)
    assert cases.close(info.heaviest, [0, 0.2, 0.4, 0.6, 0.8, 1], within=1e-5)
    assert info.order.tolist()[:3] == [100, 103, 101]
    assert info.fifth == pytest.approx(0.5)
    assert info.effective == pytest.approx(1 / 0.38)


def test_uniform_weights_lie_on_the_diagonal():
    info = _intensity_info(intensity(np.arange(7), np.full(7, 1 / 7), "uniform"))
    assert cases.close(info.cumulative, info.heaviest, within=1e-5)
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
    assert "heaviest fifth takes 50 %" in title and "2 samples are dropped" in title
    assert "dropped" not in plot_intensity(intensity([-1, -2], [0.5, 0.5])).layout.title.text


@pytest.mark.parametrize(
    ("values", "weights"), [([], []), ([-1.0], [1.0]), ([np.nan, np.nan], [0.5, 0.5]), ([-1.0, np.nan], [1.0, 0.0])]
)
def test_odd_records_draw(values, weights):
    figure = plot_intensity(intensity(values, weights))
    drawn = by_role(figure)
    assert len(drawn["selected"].y) + len(drawn["dropped"].y) == len(values)
    assert len(drawn["cumulative"].x) == len(drawn["cumulative"].y) == len(values) + 1
    figure.to_json()


def shares(*weights: float) -> pd.DataFrame:
    """A table of shares, equal parts."""
    count = len(weights)
    low = [part / count for part in range(count)]
    return pd.DataFrame({"part": range(1, count + 1), "confidence_low": low, "confidence_high": [x + 0.1 for x in low],
                         "samples": 3, "weight": weights, "selected": 1.0})  # fmt: skip


def test_a_line_per_rule_and_the_level_of_uniform_pressure() -> None:
    figure = imu.plot_pressure({"sqrt-clipped": shares(0.7, 0.3), "<b>": shares(0.5, 0.5)})
    assert [list(trace.y) for trace in figure.data] == [[0.7, 0.3], [0.5, 0.5]]
    assert figure.data[1].name == "&lt;b&gt;" and figure.layout.shapes[0].y0 == 0.5
    assert "0.50 to 0.60" in figure.layout.xaxis.ticktext[1]
    assert figure.layout.xaxis.title.text and "share" in figure.layout.yaxis.title.text


def test_ends_of_a_part_are_told_apart():
    table = shares(0.7, 0.3).assign(confidence_low=[0.2, 0.99961], confidence_high=[0.9, 0.99969])
    assert [text.split("p(y) ")[1] for text in imu.plot_pressure({"uniform": table}).layout.xaxis.ticktext] == [
        "0.20 to 0.90",
        "0.9996 to 0.9997",
    ]


def test_words_between_the_panels_have_room_in_half_a_column():
    """On a screen of 1280 with the file browser open the figure is 490 pixels wide; "100%" and a title take 66 of them."""
    layout = plot_intensity(intensity(VALUES, WEIGHTS)).layout
    across = 490 - 58 - 28
    assert (layout.xaxis2.domain[0] - layout.xaxis.domain[1]) * across > 66
    assert min(end - start for start, end in (layout.xaxis.domain, layout.xaxis2.domain)) * across > 130
