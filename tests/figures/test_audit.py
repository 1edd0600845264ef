"""What the figures of audits show: the numbers of the table, and the line of an attack."""

from __future__ import annotations

import numpy as np
import pytest
from figures import drawn

import imu_lab as imu


def test_dots_intervals_and_levels_are_those_of_the_table() -> None:
    table = drawn.audits("0")
    figure = imu.plot_audit(table)
    dots = [trace for trace in figure.data if trace.meta["role"] == "value"]
    assert [trace.x.tolist() for trace in dots] == [[0.6, 0.9], [300.0]]
    assert dots[0].error_x.array == pytest.approx([0.1, 0.1]) and dots[0].error_x.arrayminus == pytest.approx(
        [0.1, 0.1]
    )
    assert dots[1].error_x.array.tolist() == [0.0] and "inf" in dots[1].customdata[0][2], "an endless bar is not drawn"
    goals = [trace.x.tolist() for trace in figure.data if trace.meta["role"] == "goal"]
    assert goals[0][0] == 0.5 and np.isnan(goals[0][1]) and goals[1] == [90.0]
    assert figure.layout.xaxis2.title.text == "value (updates)" and "1 audit does not apply" in figure.layout.title.text
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]


def test_the_line_of_an_attack_and_what_lies_beyond_it() -> None:
    figure = imu.plot_membership(drawn.members(("run",)))
    assert [shape.x0 for shape in figure.layout.shapes] == [1.0], "the highest score of those never seen"
    assert figure.layout.annotations[0].text == "unlearned model: 67% to forget beyond the line, AUC 0.67"
    low = imu.plot_membership(drawn.members(("run",)), score="loss", false_positives=0.5)
    assert [shape.x0 for shape in low.layout.shapes] == [2.0], "of a loss, members lie below"
    for trace in figure.data:
        assert sum(trace.y) == pytest.approx(1)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(imu.UnknownName, match="unknown score: 'los'. Did you mean 'loss'"):
        imu.plot_membership(drawn.members(), score="los")
    with pytest.raises(ValueError, match="false_positives is a share from 0 to below 1, got 1"):
        imu.plot_membership(drawn.members(), false_positives=1)
