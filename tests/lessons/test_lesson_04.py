"""Answers to the exercises of ``04_influence_as_a_direction``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu

pytestmark = pytest.mark.slow


def test_more_damping() -> None:
    asked.right("04-1", 10, 100.0)
    asked.wrong("04-1", 0.1, 0.2)
    asked.mistyped("04-1", ["ten", -1, imu], "a damping ρ")


def test_the_forget_set_s_own_curvature() -> None:
    asked.right("04-2", False)
    asked.wrong("04-2", True)
    asked.mistyped("04-2", ["False", 0.5], "True or False")


def test_who_is_left_alone() -> None:
    task = imu.tasks.Classification("digits", forget_fraction=0.1, seed=0)
    weights = imu.joint_intensity(task, imu.train(task, "train", seed=0))
    zeros = sum(weight == 0 for weight in weights.frame["weight"])
    asked.right("04-3", zeros, float(zeros))
    asked.wrong("04-3", zeros - 1, len(weights.values) - zeros)
    asked.mistyped("04-3", [0.5, "none", weights], "how many samples")
