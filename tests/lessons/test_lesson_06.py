"""Answers to the exercises of ``06_auditing_a_forgetter``."""

from __future__ import annotations

from dataclasses import replace
from math import log

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons.setting import AT_RANDOM, BY_CLASS, model_of, weighted_run

pytestmark = pytest.mark.slow


def test_modified_entropy() -> None:
    right = -0.3 * log(0.7) - 0.2 * log(0.8) - 0.1 * log(0.9)
    asked.right("06-1", right, round(right, 3))
    wrong = -0.3 * log(0.7) - 0.2 * log(0.2) - 0.1 * log(0.1)
    asked.wrong("06-1", wrong, 0.0, -log(0.7))
    assert "as the wrong copies do" in imu.check("06-1", wrong).words
    asked.mistyped("06-1", ["ln 2", -1.0, None.__class__], "a number between 0 and 100, nats")


def test_a_ratio_that_was_bought() -> None:
    original, retrained = model_of(BY_CLASS), model_of(BY_CLASS, "retain")
    scores = imu.influence(BY_CLASS, original)
    for steps in range(34, 80, 2):
        bought = imu.unlearn(BY_CLASS, original, imu.intensity(scores), steps=steps, reference=retrained)
        if imu.audit(bought, "relearning")["value"].iloc[1] > 0.85:
            break
    asked.right("06-2", bought)
    stopped, other = weighted_run(BY_CLASS, 300, "forgotten"), imu.unlearn(AT_RANDOM, model_of(AT_RANDOM), steps=1)
    deep = imu.unlearn(replace(BY_CLASS, readout=("8", "10")), original, steps=1, lr=1e-3)
    asked.wrong("06-2", stopped, other, deep)
    assert "The ratio of this run is 0." in imu.check("06-2", stopped).words
    asked.mistyped("06-2", [[bought], 1.0, "run"], "a run, as imu.unlearn")


def test_when_one_sample_is_one_percent() -> None:
    asked.right("06-3", 100, 100.0)
    asked.wrong("06-3", 99, 101, 1, 10**12)
    asked.mistyped("06-3", [0, 99.5, "100"], "how many samples")
