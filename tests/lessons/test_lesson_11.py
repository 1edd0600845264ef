"""Answers to the exercises of ``11_forget_a_fact``."""

from __future__ import annotations

import asked
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.lessons import lesson_11
from imu_lab.lessons.setting import model_of

pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = pytest.mark.slow


def test_a_truth_ratio_by_hand() -> None:
    asked.right("11-1", np.exp(-3) / np.exp(-1), 0.1353)
    asked.wrong("11-1", np.exp(2), np.mean(np.exp([-2, -3, -4])) / np.exp(-1), 1.0)
    assert "geometric" in imu.check("11-1", np.mean(np.exp([-2, -3, -4])) / np.exp(-1)).words
    asked.mistyped("11-1", ["e", True, -1.0], "number")


def test_who_was_damaged_most() -> None:
    run = lesson_11.run()
    names = lesson_11.kept()
    table = imu.pair_table(run.task, run.model, "retain", by="author").set_index("author")["probability"]
    before = imu.pair_table(run.task, run.model_at(0), "retain", by="author").set_index("author")["probability"]
    change = (table - before)[names]
    asked.right("11-2", change.idxmin(), f"  {change.idxmin().upper()} ")
    asked.wrong("11-2", change.idxmax())
    asked.mistyped("11-2", ["nobody", 3], "one of")


def test_a_run_that_costs_less() -> None:
    task, original, retrained = lesson_11.task(), model_of(lesson_11.task()), model_of(lesson_11.task(), "retain")
    how = {"steps": 100, "record_every": 100, "stop_at": lesson_11.GOAL, "reference": retrained, "follow": ()}
    asked.right("11-3", imu.unlearn(task, original, method="curvature-ascent", **how))
    short = imu.unlearn(task, original, **how | {"steps": 1})
    asked.wrong("11-3", short, lesson_11.run())
    asked.mistyped("11-3", ["curvature-ascent", [short]], "a run, as imu.unlearn")
