"""The trial's figure draws the summary as given: a panel per quantity, a row per arm, kinds of step apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

import imu_lab as imu

ROWS = [
    ("plain steps", "imu", 0, 30.0, -0.01), ("plain steps", "imu", 1, 40.0, -0.03),
    ("plain steps", "<i>", 0, 50.0, 0.0), ("plain steps", "<i>", 1, 70.0, -0.02),
    ("equal steps (0.02)", "imu", 0, 20.0, 0.0), ("equal steps (0.02)", "imu", 1, np.nan, np.nan),
    ("equal steps (0.02)", "<i>", 0, 22.0, 0.0), ("equal steps (0.02)", "<i>", 1, 24.0, 0.0),
]  # fmt: skip
TABLE = pd.DataFrame(ROWS, columns=["steps", "arm", "seed", "updates", "retain accuracy change"])
BOTH = ["updates", "retain accuracy change"]


def test_means_and_intervals_are_those_of_the_summary() -> None:
    summary = imu.over_seeds(TABLE, BOTH)
    figure = imu.plot_trial(summary)
    assert [trace.xaxis for trace in figure.data] == ["x", "x", "x2", "x2"]
    assert list(figure.data[0].x) == [35.0, 60.0] and list(figure.data[1].x) == [20.0, 23.0]
    assert np.isnan(figure.data[1].error_x.array[0]), "one seed has no interval"
    assert figure.layout.yaxis.ticktext == ("imu", "&lt;i&gt;")
    assert "share correct" in figure.layout.xaxis2.title.text and "updates" in figure.layout.xaxis.title.text
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol


def test_differences_say_to_whom() -> None:
    figure = imu.plot_trial(imu.over_seeds(TABLE, BOTH, against="imu"))
    assert "minus imu" in figure.layout.title.text and list(figure.data[0].x) == [0, 25.0]
    assert "difference" in figure.layout.xaxis.title.text
