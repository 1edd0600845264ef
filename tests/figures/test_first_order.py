"""Predictions against measurements: what the figures draw of one step and of collateral damage."""

from __future__ import annotations

import numpy as np
import pandas as pd

import imu_lab as imu
from imu_lab.studies.one_step import OneStepCheck

TABLE = pd.DataFrame(
    {
        "example": [5, 6, 7],
        "label": ["a", "<b>", "c"],
        "predicted": [0.1, 0.2, -0.1],
        "measured": [0.3, 0.1, -0.2],
        "lost": [True, False, False],
    }
)


def roles(figure):
    return {trace.meta["role"]: trace for trace in figure.data}


def test_lost_samples_stand_out_and_every_dot_knows_its_example():
    drawn = roles(imu.plot_collateral(TABLE))
    assert drawn["lost: right before, wrong after"].customdata.tolist() == [5]
    assert drawn["still as before"].customdata.tolist() == [6, 7] and drawn["still as before"].text[0] == "&lt;b&gt;"
    assert "1 of 3" in imu.plot_collateral(TABLE).layout.title.text


def test_the_line_is_where_both_agree():
    line = roles(imu.plot_collateral(TABLE))["equal"]
    assert list(line.x) == list(line.y) and line.x[0] == -0.1


def test_without_a_prediction_the_margin_before_stands_across():
    table = TABLE.assign(predicted=np.nan, margin_before=[3.0, 2.0, 1.0])
    figure = imu.plot_collateral(table)
    assert roles(figure)["still as before"].x.tolist() == [2.0, 1.0] and "equal" not in roles(figure)
    assert "predicts nothing" in figure.layout.title.text and "margin before" in figure.layout.xaxis.title.text


def test_forget_samples_each_alone_are_drawn_where_they_were_measured():
    table = TABLE.drop(columns="lost").assign(measured=[0.3, np.nan, -0.2], intervention="each alone")
    figure = imu.plot_damage_by_sample(table)
    dots = roles(figure)["a forget sample"]
    assert dots.customdata.tolist() == [5, 7] and "2 forget samples measured, each alone" in figure.layout.title.text


def test_the_most_damaging_are_on_top():
    by_class = pd.DataFrame({"0": [0.1, -3.0, 0.5], "1": [0.2, 0.0, 0.1]}, index=pd.Index([11, 12, 13], name="example"))
    heat = imu.plot_damage(by_class, count=2).data[0]
    assert heat.customdata[:, 0].tolist() == [13, 12] and (heat.zmin, heat.zmax) == (-3.0, 3.0)
    assert np.array_equal(heat.z[1], [-3.0, 0.0])


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
