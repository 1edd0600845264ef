"""Answers to the exercises of ``08_watching_a_model_forget``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons.setting import AT_RANDOM, BY_CLASS, model_of, weighted_run

pytestmark = pytest.mark.slow


def test_when_the_first_is_lost() -> None:
    run = weighted_run(BY_CLASS, 60)
    line = run.series("retain", "accuracy")
    first = line.index[line < line.iloc[0]][0]  # nobody is won in the same update: all were right
    asked.right("08-1", first, float(first))
    asked.wrong("08-1", first - 5, first + 5)
    asked.mistyped("08-1", ["late", 35.5, run], "whole number")


def test_ten_times_the_weight() -> None:
    run = weighted_run(BY_CLASS, 60)
    by_pressure = run.samples.sort_values("pressure")["example"]
    mine = imu.what_if(run, reweight=dict.fromkeys(by_pressure.head(10), 10.0))
    asked.right("08-2", mine)
    heavy, five, twice = (
        imu.what_if(run, reweight=dict.fromkeys(chosen, factor))
        for chosen, factor in ((by_pressure.tail(10), 10.0), (by_pressure.head(5), 10.0), (by_pressure.head(10), 2.0))
    )
    asked.wrong("08-2", run, heavy, five, twice, imu.what_if(run, drop=by_pressure.head(1)))
    asked.mistyped("08-2", [10, [mine], mine.samples], "a run, as imu.unlearn")
    asked.right("08-3", "hardly different")
    asked.wrong("08-3", "faster", "slower")
    asked.mistyped("08-3", [34, "no"], 'one of "faster"')
    steps = imu.compare([run, mine], at_forget=0.01)["updates"]
    assert abs(steps[0] - steps[1]) <= 2, "what 08-3 takes for right"


def test_a_fork_with_equal_weights() -> None:
    run = weighted_run(BY_CLASS, 60)
    asked.right("08-4", imu.fork(run, 20, weights=None, steps=80))
    asked.wrong("08-4", run, imu.fork(run, 21, weights=None, steps=80), imu.fork(run, 20, lr=1e-3))
    asked.wrong("08-4", imu.fork(run, 20, weights=None, steps=22))  # ends before the goal
    other = imu.unlearn(AT_RANDOM, model_of(AT_RANDOM), steps=30)
    asked.wrong("08-4", imu.fork(other, 20, weights=None, steps=22))
    assert (
        imu.check("08-4", other).words
        == imu.check("08-2", other).words
        == "This run forgets other samples than run does."
    )
    asked.mistyped("08-4", [20, run.curve], "a run, as imu.unlearn")
