"""Answers to the exercises of ``02_from_influence_to_intensity``."""

from __future__ import annotations

import asked
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.lessons import lesson_02


@pytest.mark.slow
def test_a_quantile_that_makes_weights_equal() -> None:
    task = imu.tasks.Classification("digits", forget_class=3)
    scores = imu.influence(task, imu.train(task, "train", seed=0))
    assert imu.intensity(scores, quantile=0.3).effective > 100 > imu.intensity(scores, quantile=0.9).effective
    asked.right("02-1", 0.3, np.float32(0.2))
    asked.wrong("02-1", 0.9, 1)
    asked.mistyped("02-1", [30, "0.3", 0, None.__class__], "quantile")


@pytest.mark.slow
def test_the_rule_for_the_memorised() -> None:
    asked.right("02-2", "inverse", "INVERSE")
    asked.wrong("02-2", "sqrt-clipped", "uniform")
    asked.mistyped("02-2", ["invers", 6, imu.intensity_rules["inverse"]], 'one of "sqrt-clipped"')


@pytest.mark.parametrize(("interval", "truth"), [((-0.01, 0.02), True), ((0.0, 0.02), True), ((0.01, 0.02), False)])
def test_whether_the_interval_holds_zero(monkeypatch: pytest.MonkeyPatch, interval: tuple, truth: bool) -> None:
    """The interval itself takes ten models, which the notebook of solutions trains."""
    monkeypatch.setattr(lesson_02, "shuffled_against_weighted", lambda: interval)
    asked.right("02-3", truth, np.bool_(truth))
    asked.wrong("02-3", not truth)
    asked.mistyped("02-3", ["True", 1, interval], "True or False")
