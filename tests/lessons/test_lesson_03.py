"""Answers to the exercises of ``03_can_influence_be_fooled``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons import lesson_03

pytestmark = pytest.mark.slow


def test_a_quantile_that_keeps_attackers_down() -> None:
    asked.right("03-1", 0.3, 0.1)
    asked.wrong("03-1", 0.93, 1.0)
    assert "they take 7" in imu.check("03-1", 0.93).words
    asked.mistyped("03-1", ["low", 40, 0, [0.3, 0.2]], "quantile")


def test_a_larger_budget() -> None:
    asked.right("03-2", False)
    asked.wrong("03-2", True)
    asked.mistyped("03-2", ["no", 0], "True or False")


def test_the_most_misjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    task = imu.tasks.Classification("digits", forget_fraction=0.1, seed=0)
    original = imu.train(task, "train", seed=0)
    truth = imu.leave_one_out(task, original, l2=1e-3)
    monkeypatch.setattr(lesson_03, "leave_one_out", lambda *_, **__: truth)  # ten seconds, once
    cheap = imu.influence(task, imu.refit(task, original, l2=1e-3), "fisher-diagonal")
    gap = (cheap.frame["influence"].rank() - truth["influence"].rank()).abs()
    row = int(gap.idxmax())
    asked.right("03-3", truth["example"][row], int(truth["example"][row]))
    asked.wrong("03-3", truth["example"][gap.idxmin()], row)  # a row's number is no example
    asked.mistyped("03-3", ["the first", 1.5, -row], "whole number")
