"""The one-step figure draws the table as given, and marks the samples whose plain step disagrees."""

from __future__ import annotations

import pandas as pd

import imu_lab as imu
from imu_lab.studies.one_step import OneStepCheck

COLUMNS = ["example", "influence", "predicted", "measured", "plain_predicted", "plain_measured"]
ROWS = [[7, -2.0, 2.0, 1.9, 1.0, 1.0], [8, -1.0, 1.0, 1.1, -1.0, -0.5], [9, 3.0, -3.0, -2.9, -1.0, -1.0]]


def test_dots_are_where_the_table_says_and_opposed_ones_are_told_apart() -> None:
    check = OneStepCheck(pd.DataFrame(ROWS, columns=COLUMNS))
    figure = imu.plot_one_step(check)
    line, agree, opposed = figure.data
    assert list(line.x) == list(line.y) == [-3.0, 2.0]
    assert list(agree.x) == [2.0, -3.0] and list(agree.y) == [1.9, -2.9] and list(agree.customdata) == [7, 9]
    assert list(opposed.customdata) == [8] and opposed.marker.symbol != agree.marker.symbol
    assert f"{check.correlation:.4f}" in figure.layout.title.text and "nats" in figure.layout.xaxis.title.text


def test_an_empty_table_draws_an_empty_figure() -> None:
    assert not len(imu.plot_one_step(OneStepCheck(pd.DataFrame(columns=COLUMNS, dtype=float))).data[1].x)
