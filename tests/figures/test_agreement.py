"""The figures of agreement draw what their tables hold: orders, draws, disagreements, and a sweep of the damping."""

from __future__ import annotations

import numpy as np
import pandas as pd
from figures import records

import imu_lab as imu


def test_the_square_is_drawn_as_given_and_names_are_escaped() -> None:
    table = pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], index=["<b>one</b>", "two"], columns=["<b>one</b>", "two"])
    figure = imu.plot_agreement(table)
    assert np.array_equal(figure.data[0].z, table.to_numpy())
    assert figure.layout.xaxis.ticktext == figure.layout.yaxis.ticktext == ("&lt;b&gt;one&lt;/b&gt;", "two")
    assert figure.data[0].customdata[0][1] == ["&lt;b&gt;one&lt;/b&gt;", "two"]
    assert figure.data[0].text[0][1] == "0.25"


def test_the_damping_sweep_marks_where_the_metric_stops_mattering() -> None:
    task = imu.tasks.Toy()
    model = task.make_model(0)
    effect = imu.damping_effect({each: imu.influence(task, model, damping=each) for each in (1e-6, 1e-2, 1e3)})
    figure = imu.plot_damping(effect)
    assert list(figure.data[0].y) == list(effect["correlation"])
    smallest = effect.loc[effect["indifferent"], "damping"].min()
    assert figure.layout.xaxis.type == "log" and f"{smallest:g}" in figure.layout.title.text


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
