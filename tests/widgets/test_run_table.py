"""The table of runs: what fits is shown, in order; what cannot be read is told, and the rows stay."""

from __future__ import annotations

import cases
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.widgets.base.job import Job

TABLE = pd.DataFrame(
    {
        "method": ["imu", "scrub", "delete", "<b>scrub</b>"],
        "seed": [0, 0, 1, 1],
        "reached": [True, False, True, True],
        "test accuracy": [0.9, 0.8, 0.95, float("nan")],
        "test accuracy gap": 0.1,
    }
)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", [0, 1, 2, 3]),
        ("scrub", [1, 3]),
        ("SCRUB, seed = 0", [1]),
        ("test accuracy > 0.85", [0, 2]),
        ("test accuracy>=0.9,seed!=1", [0]),
        ("method = imu", [0]),
        ("method != 'imu', reached = True", [2, 3]),
        ("nothing like it", []),
        (" , ", [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_conditions_and_words(where: str, found: list[int]) -> None:
    assert imu.chosen_runs(TABLE, where).index.tolist() == found


def test_names_with_commas_and_truth_values_are_read() -> None:
    names = ["imu (lr 0.1, rule uniform)", "imu (lr 0.1, rule inverse)", "ssd"]
    table = pd.DataFrame({"arm": names, "reached": [True, False, True], "seed": [0, 1, 2]})
    assert imu.chosen_runs(table, f"arm = {names[0]}, seed = 0").index.tolist() == [0]
    for said in ("true", "True", "1", "yes"):
        assert imu.chosen_runs(table, f"reached = {said}").index.tolist() == [0, 2]
    assert imu.chosen_runs(table, "reached != true").index.tolist() == [1]
    with pytest.raises(ValueError, match="holds true or false; got 'maybe'"):
        imu.chosen_runs(table, "reached = maybe")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("test acuracy > 0.9", "unknown column in this table: 'test acuracy'. Did you mean 'test accuracy'"),
        ("seed = first", "'seed' holds numbers; got 'first'"),
        ("method > imu", "'method' holds words, which have no order; say method = one of 'imu'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_the_rows_stay(where: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        imu.chosen_runs(TABLE, where)
    shown = imu.run_table(TABLE)
    before = shown.rows.value
    shown.where.value = where
    assert words.split(";")[0].split(".")[0].replace("'", "&#x27;") in shown.words.value and shown.rows.value == before


def test_the_rows_follow_the_line_and_the_menu() -> None:
    shown = imu.run_table(TABLE)
    assert shown.words.value == "4 of 4 runs" and "&lt;b&gt;scrub" in shown.rows.value and "gap" not in shown.rows.value
    shown.where.value, shown.by.value, shown.falling.value = "test accuracy > 0", "test accuracy", True
    assert shown.table["method"].tolist() == ["delete", "imu", "scrub"] and shown.words.value == "3 of 4 runs"
    assert shown.rows.value.index(">delete<") < shown.rows.value.index(">imu<")


def test_runs_are_compared_first() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2)
    assert imu.run_table([run]).table["run"].tolist() == [run.label, "original"]
    with pytest.raises(TypeError, match="run_table takes runs of imu.unlearn, one or several; got"):
        imu.run_table(3)


def test_a_distance_that_became_infinite_is_shown() -> None:
    shown = imu.run_table(TABLE.assign(**{"test kl_retrained": [float("inf"), 0.1, float("-inf"), 0.2]}))
    assert "∞" in shown.rows.value and "−∞" in shown.rows.value


def test_what_has_no_order_is_told_and_what_fails_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = imu.run_table(TABLE.assign(setting=[1, "a <b", 2, "c"]))
    before = shown.rows.value
    shown.by.value = "setting"
    assert shown.words.value == (
        '<span role="alert">&#x27;setting&#x27; holds values of several kinds (int, str), which have no common order; '
        "order by another column</span>"
    )
    assert shown.rows.value == before and len(shown.table) == 4
    shown.by.value = "seed"
    assert shown.words.value == "4 of 4 runs"

    def broken(*_: object) -> None:
        raise KeyError("<lost>")

    monkeypatch.setattr("imu_lab.widgets.run_table.chosen_runs", broken)
    failed = len(Job.errors)
    shown.where.value = "scrub"
    assert "KeyError: &#x27;&lt;lost&gt;&#x27;" in shown.words.value and 'role="alert"' in shown.words.value
    assert len(Job.errors) == failed + 1 and len(shown.table) == 4
    Job.errors.pop()
