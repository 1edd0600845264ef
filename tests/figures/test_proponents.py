"""Proponents and opponents are drawn as the table has them, and a live update is the same as a new drawing."""

from __future__ import annotations

import numpy as np
import pytest

import imu_lab as imu


@pytest.fixture
def matrix() -> imu.InfluenceMatrix:
    """Four forget samples on two others."""
    values = np.array([[-5.0, 1.0], [-1.0, -2.0], [3.0, 0.0], [0.5, -9.0]])
    return imu.InfluenceMatrix(values, np.array([10, 11, 12, 13]), np.array([10, 99]), "train", {"estimator": "x"})


def test_bars_stand_in_the_order_of_influence(matrix: imu.InfluenceMatrix) -> None:
    figure = imu.plot_proponents(imu.proponents(matrix, 10, itself=True), 10)
    proponents, opponents = figure.data
    assert list(proponents.x) == [-5, -1] and list(proponents.customdata) == [10, 11]
    assert list(opponents.x) == [0.5, 3] and list(opponents.y) == [2, 3], "the strongest opponent stands last"
    assert figure.layout.yaxis.ticktext == ("10", "11", "13", "12") and "sample 10" in figure.layout.title.text
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
