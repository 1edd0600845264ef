"""Answers to the exercises of ``07_which_samples_resist``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons.setting import AT_RANDOM, BY_CLASS, model_of, weighted_run

pytestmark = pytest.mark.slow


def test_the_most_resistant() -> None:
    run = weighted_run(BY_CLASS, 40, "forgotten")
    table = imu.resistance(run, uniform=imu.again(run, weights=None, steps=80))
    known = table[~table["uniform_censored"]].sort_values("uniform_rank")["example"]
    asked.right("07-1", known.iloc[-1])
    asked.wrong("07-1", known.iloc[0], 0)
    asked.mistyped("07-1", ["1206", known, 0.5], "whole number")


def test_the_share_that_was_never_pushed() -> None:
    table = imu.resistance(weighted_run(AT_RANDOM, 40)).sort_values("rank")
    upper = table[table["rank"] > table["rank"].median()]
    share = (upper["pressure"] == 0).mean()
    assert 0.3 < share < 0.7
    asked.right("07-2", share, round(float(share), 2))
    asked.wrong("07-2", 0.0, share + 0.1)
    asked.mistyped("07-2", [51, "half", table], "the upper half")


def test_five_orders_of_batches() -> None:
    run = imu.unlearn(BY_CLASS, model_of(BY_CLASS), steps=30, lr=3e-3)
    mine = [imu.again(run, seed=seed) for seed in range(5)]
    other = imu.unlearn(BY_CLASS, model_of(BY_CLASS, seed=1), steps=30, lr=3e-3, seed=9)
    asked.right("07-3", mine, tuple(mine))
    asked.wrong("07-3", mine[:4] + mine[:1], [weighted_run(BY_CLASS, 40)] * 5, [*mine[:4], other])
    random, short = (
        [imu.unlearn(task, model_of(task), steps=2, seed=seed) for seed in range(5)] for task in (AT_RANDOM, BY_CLASS)
    )
    asked.wrong("07-3", random, short)
    assert "Most 3s are still read" in imu.check("07-3", short).words
    assert "do not start from one model" in imu.check("07-3", [*mine[:4], other]).words
    asked.mistyped("07-3", [mine[:4], run, [1, 2, 3, 4, 5], "runs"], "a list of 5 runs")


def test_what_decides() -> None:
    asked.right("07-4", "the model")
    asked.wrong("07-4", "the order of batches")
    asked.mistyped("07-4", ["model", 1], 'one of "the model"')
