"""Predicted against measured change after one small step on one sample."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.features.gradients import explicit


@pytest.mark.parametrize("settings", [{}, {"damping": 0.1, "relative": True}])
@pytest.mark.parametrize("scope", [None, "all"])
@pytest.mark.parametrize("target", ["forget", "test"])
def test_the_influence_predicts_the_change(settings: dict, scope: str | None, target: str) -> None:
    task, model = replace(cases.task("toy"), readout=scope), cases.original("toy")
    scores = imu.influence(task, model, target=target, **settings)
    before = cases.frozen(model)
    found = imu.one_step_check(task, model, scores, target=target)
    assert cases.same(before, model)
    assert cases.close(found["measured"].to_numpy(), found["predicted"].to_numpy(), within=1e-2)
    assert cases.close(found["plain_measured"].to_numpy(), found["plain_predicted"].to_numpy(), within=1e-2)
    assert found.attrs["correlation"] >= 0.999
    assert np.array_equal(found["predicted"], -1e-6 * scores.values)


def test_the_share_of_opposed_samples_is_that_of_the_signs() -> None:
    task, model = cases.in_double("digits fraction")
    scores = imu.influence(task, model, damping=1e-5)
    found = imu.one_step_check(task, model, scores)
    each = explicit(task, model, task.split("forget"))
    plain = (-each @ each.mean(0)).numpy()
    assert cases.close(found.attrs["opposed"], (np.sign(plain) != np.sign(scores.values)).mean())
    assert found.attrs["opposed"] == pytest.approx(scores.opposed) and scores.opposed > 0


def test_an_estimator_without_a_preconditioner_is_held_against_the_plain_step() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    dot = imu.one_step_check(task, model, imu.influence(task, model, "gradient-dot"))
    assert dot.attrs["correlation"] == dot.attrs["plain_correlation"] >= 0.999 and dot.attrs["opposed"] == 0
    random = imu.one_step_check(task, model, imu.influence(task, model, "random"), samples=15)
    assert len(random) == 15 and abs(random.attrs["correlation"]) < 0.9


def test_bad_input_is_refused() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, model)
    with pytest.raises(ValueError, match="size must be above 0, got 0"):
        imu.one_step_check(task, model, scores, size=0)
    with pytest.raises(ValueError, match="these 40 scores speak of other samples than the task's 40"):
        imu.one_step_check(replace(task, forget_blob=1), model, scores)
