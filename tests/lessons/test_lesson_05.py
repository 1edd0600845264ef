"""Answers to the exercises of ``05_imu_against_the_others``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons.setting import AT_RANDOM, BY_CLASS, model_of

pytestmark = pytest.mark.slow


def test_what_a_retraining_costs() -> None:
    epochs, forget, whole = imu.tasks.training.recipe_of(BY_CLASS).epochs, len(BY_CLASS.split("forget")), 1437
    asked.right("05-1", epochs * (1 - forget / whole))
    asked.wrong("05-1", epochs, epochs * forget / whole)
    asked.mistyped("05-1", ["twelve", -1, imu], "passes over the training set")


def test_a_run_that_is_cheap_and_near() -> None:
    original, how = model_of(BY_CLASS), {"steps": 100, "step_norm": 0.02, "stop_at": 0.01}
    asked.right("05-2", imu.unlearn(BY_CLASS, original, method="delete", momentum=0.0, **how))
    asked.wrong(
        "05-2",
        imu.unlearn(BY_CLASS, original, **how),
        imu.unlearn(BY_CLASS, original, method="curvature-ascent", **how),
        imu.unlearn(BY_CLASS, original, method="delete", momentum=0.0, **how | {"steps": 5}),
        imu.unlearn(AT_RANDOM, model_of(AT_RANDOM), steps=1),
    )
    asked.mistyped("05-2", ["delete", 0.5], "a run")


def test_equal_forgetting_and_not_equal_updates() -> None:
    asked.right("05-3", False)
    asked.wrong("05-3", True)
    asked.mistyped("05-3", ["False", 0.5], "True or False")
