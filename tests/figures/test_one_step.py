"""The one-step figure draws the table as given, and marks the samples whose plain step disagrees."""

from __future__ import annotations

import pandas as pd

import imu_lab as imu

COLUMNS = ["example", "influence", "predicted", "measured", "plain_predicted", "plain_measured"]
ROWS = [[7, -2.0, 2.0, 1.9, 1.0, 1.0], [8, -1.0, 1.0, 1.1, -1.0, -0.5], [9, 3.0, -3.0, -2.9, -1.0, -1.0]]


def test_dots_are_where_the_table_says_and_opposed_ones_are_told_apart() -> None:
    table = pd.DataFrame(ROWS, columns=COLUMNS)
    table.attrs["correlation"] = 0.9876
    figure = imu.plot_one_step(table)
    line, agree, opposed = figure.data
    assert list(line.x) == list(line.y) == [-3.0, 2.0]
    assert list(agree.x) == [2.0, -3.0] and list(agree.y) == [1.9, -2.9] and list(agree.customdata) == [7, 9]
    assert list(opposed.customdata) == [8] and opposed.marker.symbol != agree.marker.symbol
    assert "0.9876" in figure.layout.title.text and "nats" in figure.layout.xaxis.title.text


def test_an_empty_table_draws_an_empty_figure() -> None:
    assert not len(imu.plot_one_step(pd.DataFrame(columns=COLUMNS, dtype=float)).data[1].x)
