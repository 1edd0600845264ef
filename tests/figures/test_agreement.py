"""The agreement heat map and the damping sweep draw what their tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

import imu_lab as imu


def test_the_square_is_drawn_as_given_and_names_are_escaped() -> None:
    table = pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], index=["<b>one</b>", "two"], columns=["<b>one</b>", "two"])
    figure = imu.plot_agreement(table)
    assert np.array_equal(figure.data[0].z, table.to_numpy())
    assert "<b>" not in figure.data[0].x[0] and figure.data[0].x == figure.data[0].y
    assert figure.data[0].text[0][1] == "0.25"


def test_the_damping_sweep_marks_where_the_metric_stops_mattering() -> None:
    task = imu.tasks.Toy()
    model = task.make_model(0)
    effect = imu.damping_effect({each: imu.influence(task, model, damping=each) for each in (1e-6, 1e-2, 1e3)})
    figure = imu.plot_damping(effect)
    assert list(figure.data[0].y) == list(effect["correlation"])
    smallest = effect.loc[effect["indifferent"], "damping"].min()
    assert figure.layout.xaxis.type == "log" and f"{smallest:g}" in figure.layout.title.text
