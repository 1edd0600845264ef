"""A trial: every arm gets the same models, its own weights, and is read where it is equally forgotten."""

from __future__ import annotations

import cases
import numpy as np
import pytest

import imu_lab as imu

ARMS = {
    "influence": {},
    "uniform": {"rule": "uniform"},
    "shuffled": {"rule": "shuffled"},
    "mini-batch": {"method": "imu-minibatch", "refresh": 5},
}


def test_each_row_is_the_run_that_its_arm_describes() -> None:
    task = cases.task("digits class")
    found = imu.trial(task, ARMS, at_forget=0.05, step_norms=(None, 0.05), seeds=(0, 1), steps=120, lr=5e-3)
    assert len(found) == 2 * 2 * len(ARMS) and set(found["steps"]) == {"plain steps", "equal steps (0.05)"}
    assert found["reached"].all() and (found["forget accuracy"] <= 0.05).all() and (found["seconds"] > 0).all()
    model = imu.train(task, "train", seed=1)
    weights = imu.intensity(imu.influence(task, model), "shuffled", seed=1)
    run = imu.unlearn(task, model, weights, steps=120, seed=1, stop_at=0.05, step_norm=0.05, lr=5e-3)
    row = found[(found["arm"] == "shuffled") & (found["seed"] == 1) & (found["steps"] != "plain steps")].iloc[0]
    assert row["updates"] == imu.compare(run, at_forget=0.05)["updates"][0]


def test_chance_is_the_seeds_and_settings_reach_the_method() -> None:
    task = cases.task("toy")
    with pytest.raises(TypeError, match="has no setting 'refrsh'. Did you mean 'refresh'"):
        imu.trial(task, {"x": {"method": "imu-minibatch", "refrsh": 5}}, at_forget=0.5, seeds=(0,))
    with pytest.raises(imu.UnknownName, match="no intensity rule 'unifrom'. Did you mean 'uniform'"):
        imu.trial(task, {"x": {"rule": "unifrom"}}, at_forget=0.5, seeds=(0,))
    rule = imu.intensity_rules.create("sqrt-clipped", quantile=0.5)
    found = imu.trial(task, {"x": {"rule": rule, "estimator": "random"}}, at_forget=-1, seeds=(0,), steps=2)
    assert not found["reached"][0] and np.isnan(found["updates"][0])
