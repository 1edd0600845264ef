"""The comparison: its files are made of one table, the README quotes them, and a small one goes through the whole command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from benchmarks.compare import __main__ as command
from benchmarks.compare import plan, report
from benchmarks.trial import plan as trial
from benchmarks.trial.report import README, place
from imu_lab.studies.arms import arms_of

RESULTS = report.RESULTS
ALWAYS = {"original", "retrained", "shuffled"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The table that is in the repository."""
    return pd.read_parquet(RESULTS / "compare.parquet")


@pytest.mark.full
def test_the_markdown_is_made_of_the_table_and_the_readme_quotes_it(table: pd.DataFrame) -> None:
    assert (RESULTS / "compare.md").read_text("utf-8") == report.markdown(table)
    (quoted,) = place("compare").findall(README.read_text("utf-8"))
    assert quoted == report.summary(table) and quoted in (RESULTS / "compare.md").read_text("utf-8")


def test_a_task_was_compared_with_its_seeds_and_the_rows_that_nobody_asks_for(table: pd.DataFrame) -> None:
    assert {"digits, class 3", "digits, random tenth"} <= set(table["task"])
    for name, rows in table.groupby("task"):
        assert set(rows["method"]) == {*ALWAYS, *plan.METHODS}
        assert (rows.groupby("method")["seed"].apply(sorted) == [*[list(plan.SEEDS)] * rows["method"].nunique()]).all()
        assert rows["machine"].nunique() == rows["versions"].nunique() == rows["sources"].nunique() == 1
        assert not set(plan.SEEDS) & set(plan.tuning_of(str(name)))


def told(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """A task's rows, its methods' mean distance on unseen data and passes, and the passes of a retraining."""
    rows = table[table["task"] == name]
    mean = rows.groupby("method")[[report.TEST, "passes"]].mean()
    return rows, mean.drop(index="retrained"), mean.loc["retrained", "passes"]


def nearest(mean: pd.DataFrame, count: int) -> set[str]:
    """The methods that are nearest to the retrained model on unseen data."""
    return set(mean[report.TEST].drop("original").nsmallest(count).index)


def test_what_the_readme_says_of_a_class_is_in_the_rows(table: pd.DataFrame) -> None:
    rows, mean, cost = told(table, "digits, class 3")
    assert nearest(mean, 2) == {"curvature-ascent", "scrub"}
    assert mean["passes"].idxmax() == "fine-tune" and mean["passes"].drop("fine-tune").max() < cost
    assert (mean["passes"] < cost / 3).sum() > 0.8 * len(mean)
    assert rows.loc[rows["method"] != "original", "reached"].sum() == 3 * (rows["method"].nunique() - 1) - 1
    rows, mean, cost = told(table, "CIFAR-10, aeroplanes")
    assert set(mean.index[mean["passes"] > cost]) == {"salun"}
    assert set(mean.index[mean[report.TEST] > mean.loc["original", report.TEST]]) == {"random-label"}
    assert nearest(mean, 3) == {"l1-sparse", "fine-tune", "neggrad-plus"}
    assert 0.5 < rows.loc[rows["method"] == "original", "test accuracy"].mean() < 0.6


def test_what_the_readme_says_of_a_random_tenth_is_in_the_rows(table: pd.DataFrame) -> None:
    for name, best in (
        ("digits, random tenth", {"curvature-ascent"}),
        ("CIFAR-10, random tenth", {"curvature-ascent", "undial"}),
    ):
        rows, mean, _ = told(table, name)
        assert nearest(mean, len(best)) == best and mean[report.TEST].idxmin() == "original"
    never = set(rows["method"]) - set(rows.loc[rows["reached"], "method"]) - {"original"}
    assert never == {"fine-tune", "l1-sparse", "neggrad-plus", "scrub", "ssd"}


def test_weights_do_no_better_than_uniform_ones(table: pd.DataFrame) -> None:
    for name in table["task"].unique():
        rows = table[table["task"] == name]
        unseen = imu.over_seeds(rows, [report.TEST], by=["method"], against=plan.UNIFORM).set_index("method")
        assert all(unseen.loc[method, "high"] >= 0 for method in ("imu", "shuffled"))


def test_every_method_has_as_many_settings_to_try_and_all_exist() -> None:
    arms = arms_of(plan.METHODS, None)
    assert pd.Series([arm.of for arm in arms]).value_counts().eq(3).all()


def row_of(words: str, method: str) -> list[str]:
    """The cells of a method in the last table of a report."""
    lines = [re.split(r" *\| *", line.strip("| ")) for line in words.splitlines() if line.startswith("| ")]
    return [cells for cells in lines if cells[0] == method][-1]


@pytest.mark.slow
def test_a_small_comparison(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = trial.Entry(lambda _: imu.tasks.Toy(), ("accuracy", "<=", 0.1), "10 % accuracy", 0.1, 60)
    methods = {name: plan.METHODS[name] for name in (plan.UNIFORM, "imu", "curvature-ascent", "scrub")}
    methods["never"] = {"method": "imu", "rule": "uniform", "step_norm": [1e-5, 2e-5, 3e-5]}
    entries = {"toy": toy, "CIFAR-10": replace(trial.ENTRIES["CIFAR-10, random tenth"])}
    for module in (command, report):
        monkeypatch.setattr(module, "METHODS", methods)
        monkeypatch.setattr(module, "ENTRIES", entries)
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    readme = README.read_bytes()
    assert command.main(["--jobs", "1", "--out", str(tmp_path)]) == 0
    table, words = pd.read_parquet(tmp_path / "compare.parquet"), (tmp_path / "compare.md").read_text("utf-8")
    assert words == report.markdown(table) and README.read_bytes() == readme
    assert set(table["method"]) == {*ALWAYS, *methods} and len(table) == 8 * len(plan.SEEDS)
    assert "Not compared: it needs a folder of CIFAR-10 pictures" in words and "--cifar10 FOLDER" in words
    cells = row_of(words, "curvature-ascent")
    found = imu.over_seeds(table, [report.TEST, "passes"], by=["method"]).set_index(["quantity", "method"])
    mine = found.loc[(report.TEST, "curvature-ascent")]
    assert cells[1:4] == ["statistic", table.loc[table["method"] == "curvature-ascent", "setting"].iloc[0], "3 of 3"]
    assert cells[5] == f"{mine['mean']:.3f} ± {mine['high'] - mine['mean']:.2g}"
    assert cells[7] == report._interval(found.loc[("passes", "curvature-ascent")])
    assert row_of(words, "never")[3].startswith("0 of 3; came to") and "never got there" in report.summary(table)
    # A second call makes nothing again, and keeps what other tasks have in the table.
    pd.concat([table, table.assign(task="CIFAR-10")]).to_parquet(tmp_path / "compare.parquet")
    monkeypatch.setattr("imu_lab.studies.cells.Cell.made", lambda *_: pytest.fail("a run is made again"))
    command.main(["--jobs", "1", "--out", str(tmp_path)])
    again = pd.read_parquet(tmp_path / "compare.parquet")
    pd.testing.assert_frame_equal(again[again["task"] == "toy"], table)
    assert (again["task"] == "CIFAR-10").sum() == len(table)


def test_numbers_are_told_with_their_intervals() -> None:
    told = [report._interval(pd.Series({"mean": mean, "high": high}), sign) for mean, high, sign in (
        (0.0123, 0.0223, ""), (-0.0123, -0.0023, "+"), (12.34, 13.34, ""), (0.5, np.nan, ""), (np.nan, np.nan, ""))]  # fmt: skip
    assert told == ["0.012 ± 0.01", "−0.012 ± 0.01", "12.3 ± 1", "0.500", ""]
