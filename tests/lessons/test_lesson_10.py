"""Answers to the exercises of ``10_forget_a_person``."""

from __future__ import annotations

import asked
import pytest

import imu_lab as imu
from imu_lab.lessons import lesson_10
from imu_lab.lessons.setting import model_of

pytestmark = pytest.mark.slow


def test_the_lookalike_and_the_seeming_rank_1() -> None:
    answers = imu.retrieve(lesson_10.TASK, model_of(lesson_10.TASK, "retain")).answers
    wrong = [row.person for row in answers.itertuples() if row.mark == "wrong" and row.rank <= 6]
    most = max(set(wrong), key=wrong.count)
    asked.right("10-1", most, float(most))
    asked.wrong("10-1", 7, min(set(wrong), key=wrong.count), 99)
    asked.mistyped("10-1", ["person 8", 8.5, answers], "whole number")
    first = answers[answers["place"] == 1]
    seeming = (first["person"] == 7).mean()
    asked.right("10-3", seeming, float(seeming))
    asked.wrong("10-3", (answers[answers["rank"] == 1]["mark"] == "right").mean(), 0.0)
    asked.mistyped("10-3", ["all", 8, first], "share of the queries")


def test_how_much_of_the_way_was_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a run whose lines are known: named until update 2, found at 0.9, 0.8, 0.7, 0.5."""

    class Known:
        def series(self, split, metric):
            import pandas as pd

            return pd.Series({"identity_accuracy": [1.0, 0.5, 0.0, 0.0], "map": [0.9, 0.8, 0.7, 0.5]}[metric])

    monkeypatch.setattr(lesson_10, "deep_run", Known)
    asked.right("10-2", 0.5, 0.502)
    asked.wrong("10-2", 0.25, 0.6)
    asked.mistyped("10-2", [50, "half"], "share of the way")
