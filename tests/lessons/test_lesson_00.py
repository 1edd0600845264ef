"""Answers to the exercises of ``00_start_here``."""

from __future__ import annotations

import asked
import pytest

from imu_lab.lessons.setting import BY_CLASS, weighted_run

pytestmark = pytest.mark.slow


def test_clipped() -> None:
    asked.right("00-1", "uniform", " Uniform")
    asked.wrong("00-1", "shuffled", "gradient-norm")
    asked.mistyped("00-1", ["equal", 1, True, ["uniform", "shuffled"]], 'one of "uniform"')


def test_the_last_to_go() -> None:
    gone = weighted_run(BY_CLASS, 60, "forgotten").samples.sort_values("time_to_forget")["example"].astype(int)
    asked.right("00-2", gone.iloc[-1], float(gone.iloc[-1]), gone.tail(1))
    asked.wrong("00-2", gone.iloc[0], 0)
    asked.mistyped("00-2", [-1, 2.5, str(gone.iloc[-1]), gone, None is None], "whole number")


def test_which_falls_first() -> None:
    asked.right("00-3", "forget")
    asked.wrong("00-3", "retain", "test")
    asked.mistyped("00-3", ["test-forget", 7], 'one of "forget"')


def test_forgotten_does_not_mean_wrong() -> None:
    asked.right("00-4", False)
    asked.wrong("00-4", True)
    asked.mistyped("00-4", ["False", 0, 0.99], "True or False")
