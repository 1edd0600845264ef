"""Influence against fit: every sample where its record says, its sign told by more than colour."""

from __future__ import annotations

import pytest
from figures import records

import imu_lab as imu


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
