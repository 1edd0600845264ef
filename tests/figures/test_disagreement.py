"""The largest disagreements are drawn as the table has them."""

from __future__ import annotations

import numpy as np
from figures import records

import imu_lab as imu


def test_each_sample_has_its_two_ranks_and_a_line_between() -> None:
    table = imu.largest_disagreements(records.influence([-4, -3, -2, -1]), records.influence([-1, -3, -2, -4]), k=3)
    figure = imu.plot_disagreements(table, one="<b>", other="two")
    line, first, second = figure.data
    assert list(first.x) == table["rank_one"].tolist() and list(second.x) == table["rank_other"].tolist()
    assert list(first.customdata) == table["example"].tolist() and list(first.y) == [0, 1, 2]
    ends = np.array(line.x, dtype=float).reshape(3, 3)
    assert np.array_equal(ends[:, :2], table[["rank_one", "rank_other"]]) and np.isnan(ends[:, 2]).all()
    assert first.name == "&lt;b&gt;" and figure.layout.yaxis.ticktext[0] == str(table["example"][0])
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
    assert first.marker.symbol != second.marker.symbol, "not by colour alone"
