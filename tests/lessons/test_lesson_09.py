"""Answers to the exercises of ``09_forget_a_pattern``."""

from __future__ import annotations

import asked
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.lessons import lesson_09
from imu_lab.lessons.setting import BY_CLASS, model_of

pytestmark = pytest.mark.slow


def test_where_the_run_was_closest() -> None:
    curve = lesson_09.run().curve
    line = curve[(curve["split"] == "test-forget") & (curve["metric"] == "kl_retrained")].sort_values("value")
    asked.right("09-1", line["step"].iloc[0], int(line["step"].iloc[0]))
    asked.wrong("09-1", 0, 50, 51)
    asked.mistyped("09-1", ["16", 16.5, line], "whole number")


def test_a_model_that_knows_nothing() -> None:
    asked.right("09-2", -np.log(0.1), 2.303)
    asked.wrong("09-2", np.log(0.1), np.log2(10), 0.1)
    assert "bits" in imu.check("09-2", np.log2(10)).words
    asked.mistyped("09-2", ["-log 0.1", np.log], "nats per token")
    asked.right("09-3", "worse")
    asked.wrong("09-3", "better")
    asked.mistyped("09-3", [2.38, False], 'one of "better"')


def test_a_run_that_stops_by_itself() -> None:
    task, original, retrained = lesson_09.TASK, model_of(lesson_09.TASK), model_of(lesson_09.TASK, "retain")
    near, far = (
        imu.unlearn(task, original, steps=30, reference=retrained, stop_at=("kl_retrained", "<=", value))
        for value in (0.3, 0.34)
    )
    without = imu.unlearn(task, original, steps=10, stop_at=("loss", ">=", 2.0))
    asked.right("09-4", near)
    asked.wrong("09-4", far, without, lesson_09.run())
    how = {"reference": model_of(BY_CLASS, "retain"), "follow": ["kl-retrained"], "steps": 60}
    digits = imu.unlearn(BY_CLASS, model_of(BY_CLASS), stop_at=("kl_retrained", "<=", 0.3), step_norm=0.02, **how)
    asked.wrong("09-4", digits)
    assert imu.check("09-4", digits).words == "This run does not forget source 1 of the lesson."
    asked.mistyped("09-4", [0.3, [near], original], "a run, as imu.unlearn")
