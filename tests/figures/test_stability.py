"""The stability figure draws the table as given: one dot per estimator and kind of draw, with its interval."""

from __future__ import annotations

import pandas as pd

import imu_lab as imu


def test_dots_and_intervals_are_those_of_the_tables() -> None:
    columns = ["estimator", "spearman", "low", "high", "draws", "samples"]
    seeds = pd.DataFrame([["<b>one</b>", 0.5, 0.3, 0.6, 5, 40], ["two", 0.9, 0.8, 0.95, 5, 40]], columns=columns)
    shifts = seeds.iloc[1:].assign(spearman=0.2, low=0.1)
    figure = imu.plot_stability({"seeds": seeds, "shifts": shifts})
    first, second = figure.data
    assert list(first.x) == [0.5, 0.9] and list(second.x) == [0.2]
    assert [round(each, 9) for each in first.error_x.arrayminus] == [0.2, 0.1]
    assert abs(first.y[1] - 1) < 0.5 > abs(second.y[0] - 1) and first.y[1] != second.y[0], "in one row, not covered"
    assert "<b>" not in figure.layout.yaxis.ticktext[0] and first.marker.symbol != second.marker.symbol
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
