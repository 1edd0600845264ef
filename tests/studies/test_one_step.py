"""Predicted against measured change after one small step on one sample."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.studies.one_step import OneStepCheck

CHANGES = ["predicted", "measured", "plain_predicted", "plain_measured"]


@pytest.mark.parametrize("settings", [{}, {"damping": 0.1, "relative": True}])
@pytest.mark.parametrize("scope", [None, "all"])
@pytest.mark.parametrize("target", ["forget", "test"])
def test_the_influence_predicts_the_change(settings: dict, scope: str | None, target: str) -> None:
    task, model = replace(cases.task("toy"), readout=scope), cases.original("toy")
    scores = imu.influence(task, model, target=target, **settings)
    before = cases.frozen(model)
    found = imu.one_step_check(task, model, scores, target=target)
    assert cases.same(before, model)
    assert cases.close(found.table["measured"].to_numpy(), found.table["predicted"].to_numpy(), within=1e-2)
    assert cases.close(found.table["plain_measured"].to_numpy(), found.table["plain_predicted"].to_numpy(), within=1e-2)
    assert found.correlation >= 0.999
    assert np.array_equal(found.table["predicted"], -1e-6 * scores.values)


def test_the_share_of_opposed_samples_is_that_of_the_signs() -> None:
    task, model = cases.in_double("digits fraction")
    scores = imu.influence(task, model, damping=1e-5)
    found = imu.one_step_check(task, model, scores)
    each = explicit(task, model, task.split("forget"))
    plain = (-each @ each.mean(0)).numpy()
    assert cases.close(found.opposed, (np.sign(plain) != np.sign(scores.values)).mean())
    assert found.opposed == pytest.approx(scores.opposed) and scores.opposed > 0


def test_an_estimator_without_a_preconditioner_is_held_against_the_plain_step() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    dot = imu.one_step_check(task, model, imu.influence(task, model, "gradient-dot"))
    assert dot.correlation == dot.plain_correlation >= 0.999 and dot.opposed == 0
    random = imu.one_step_check(task, model, imu.influence(task, model, "random"), samples=15)
    assert len(random) == 15 and abs(random.correlation) < 0.9


def test_bad_input_is_refused() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, model)
    with pytest.raises(ValueError, match="size must be above 0, got 0"):
        imu.one_step_check(task, model, scores, size=0)
    with pytest.raises(
        ValueError, match="these 40 scores were computed for another forget set than this task's, of 40"
    ):
        imu.one_step_check(replace(task, forget_blob=1), model, scores)


def test_it_shows_itself_shortly_and_as_a_table() -> None:
    rows = [[7, -2.0, 2.0, 2.0, 1.0, 1.0], [8, -1.0, 1.0, 1.0, -1.0, -1.0]]
    check = OneStepCheck(pd.DataFrame(rows, columns=["example", "influence", *CHANGES]))
    assert repr(check) == "OneStepCheck(2 samples, correlation 1.0000, 50% opposed)"
    assert "plain_measured" in check._repr_html_()
    assert np.isnan(OneStepCheck(check.table.head(1)).correlation)
