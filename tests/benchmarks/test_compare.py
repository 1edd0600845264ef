"""The comparison: its files are made of one table, the README quotes them, and a small one goes through the whole command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
        assert set(rows["method"]) == {*ALWAYS, *plan.methods_of(str(name))}
        assert all(sorted(each) == list(plan.SEEDS) for _, each in rows.groupby("method")["seed"])
        later = rows["method"].isin([*plan.WHOLE, *plan.ANEW])
        apart = (name == "CIFAR-10, random tenth") & rows["method"].eq("salun") & rows["seed"].eq(2)
        for part in (rows[later], rows[~later & ~apart], rows[apart]):
            assert all(part[column].nunique() == bool(len(part)) for column in ("machine", "versions", "sources"))
        assert not set(plan.SEEDS) & set(plan.tuning_of(str(name)))


def test_what_is_told_of_where_the_rows_of_cifar10_were_made_is_in_the_rows(table: pd.DataFrame) -> None:
    anew, before = (
        rows[rows["task"].str.contains("CIFAR") & (rows["method"] != "retrained")]
        for rows in (table, pd.read_parquet(RESULTS / "cifar10_on_a_cpu.parquet"))
    )
    elsewhere = anew[~anew["machine"].str.endswith("NVIDIA H200")]
    assert elsewhere[["task", "method", "seed"]].to_numpy().tolist() == [["CIFAR-10, random tenth", "salun", 2]]
    assert anew.drop(elsewhere.index)["versions"].str.contains("torch 2.11.").all()
    assert before["machine"].str.endswith("no GPU used").all()
    found, known = (
        imu.over_seeds(rows, [report.TEST], by=["task", "method"]).set_index(["task", "method"])
        for rows in (anew, before)
    )
    known = known[(known["seeds"] > 1) & (found["seeds"].reindex(known.index) > 1)]
    mean = found["mean"].reindex(known.index)
    within = (known["low"] <= mean) & (mean <= known["high"])
    assert len(known) == 34 and within.index[~within].tolist() == [("CIFAR-10, aeroplanes", "ssd")]


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
    reached = rows.groupby("method")["reached"].sum()
    assert reached["cf-k"] == 0 and reached["fine-tune"] == 2 and mean[report.TEST].idxmax() == "bad-teacher"
    assert set(reached[reached < 3].index) == {"original", "cf-k", "fine-tune"}
    assert mean.loc["bad-teacher", "passes"] < 2 and 0.4 * cost < mean.loc["eu-k", "passes"] < 0.5 * cost
    rows, mean, cost = told(table, "CIFAR-10, aeroplanes")
    assert set(mean.index[mean["passes"] > cost]) == {"salun"}
    assert set(mean.index[mean[report.TEST] > mean.loc["original", report.TEST]]) == {"random-label"}
    assert nearest(mean, 3) == {"l1-sparse", "fine-tune", "neggrad-plus"}
    forget = rows[rows["method"] != "retrained"].groupby("method")[report.FORGET].mean()
    assert forget.idxmin() == "eu-k" and 0.9 * cost < mean.loc["eu-k", "passes"] < cost
    assert set(rows["method"]) - set(rows.loc[rows["reached"], "method"]) == {"original", "bad-teacher"}
    assert 0.5 < rows.loc[rows["method"] == "original", "test accuracy"].mean() < 0.6


def test_what_the_readme_says_of_all_of_cifar10_is_in_the_rows(table: pd.DataFrame) -> None:
    known, never = [], []
    for name in plan.ALL:
        rows, mean, cost = told(table, name)
        known.append(rows.loc[rows["method"] == "original", "test accuracy"].mean())
        never.append(set(rows["method"]) - set(rows.loc[rows["reached"], "method"]) - {"original"})
        farther = imu.over_seeds(rows, [report.TEST], by=["method"], against="original").set_index("method")["mean"]
        farther = farther.drop(["original", "retrained"]).dropna()
        if "random" in name:
            assert farther.min() > 0
        else:
            assert set(mean.index[mean["passes"] > cost / 10]) == {"joint-ascent"}
            assert (farther < 0).sum() == 8 == len(farther) / 2 and nearest(mean, 2) == {"l1-sparse", "neggrad-plus"}
    assert [round(each, 2) for each in known] == [0.86, 0.86]
    assert never[0] == {"fine-tune", "scrub", "ssd"} and len(never[1]) == 7 and "curvature-ascent" in never[1]


def test_what_the_readme_says_of_a_random_tenth_is_in_the_rows(table: pd.DataFrame) -> None:
    for name, best in (
        ("digits, random tenth", {"curvature-ascent"}),
        ("CIFAR-10, random tenth", {"curvature-ascent", "undial"}),
    ):
        rows, mean, cost = told(table, name)
        farther = imu.over_seeds(rows, [report.TEST], by=["method"], against="original").set_index("method")["mean"]
        assert nearest(mean, len(best)) == best and farther.drop(["original", "retrained"]).dropna().min() > 0
        assert not rows.loc[rows["method"] == "eu-k", "reached"].any()
    never = set(rows["method"]) - set(rows.loc[rows["reached"], "method"]) - {"original"}
    assert never == {"fine-tune", "l1-sparse", "neggrad-plus", "scrub", "ssd", "cf-k", "eu-k"}
    retain = set(rows.loc[rows["needs"] == "retain data", "method"]) - {"retrained"}
    assert len(retain) == 10 and len(retain & never) == 6
    assert (mean.loc[["curvature-ascent", "undial"], "passes"] > cost).all()


def test_weights_do_no_better_than_uniform_ones_but_on_one_task(table: pd.DataFrame) -> None:
    better, measured = [], [report.TEST, report.FORGET]
    for name in table["task"].unique():
        found = imu.over_seeds(table[table["task"] == name], measured, by=["method"], against=plan.UNIFORM)
        found = found.set_index(["method", "quantity"])
        better += [(name, *key) for key in found.index if key[0] in ("imu", "shuffled") and found.loc[key, "high"] < 0]
        if name == "all of CIFAR-10, aeroplanes":
            assert found.loc["imu", "mean"].loc[measured].round(3).tolist() == [-0.003, -0.094]
    assert better == [("all of CIFAR-10, aeroplanes", "imu", column) for column in measured]
    assert table["task"].nunique() == 6


def test_every_method_has_as_many_settings_to_try_and_all_exist() -> None:
    arms = arms_of({**plan.METHODS, **plan.WHOLE, **plan.ANEW}, None)
    assert pd.Series([arm.of for arm in arms]).value_counts().eq(3).all()
    assert all(set(plan.methods_of(name)) == {arm.of for arm in arms} for name in plan.TASKS)
    assert all(plan.methods_of(name) == list(plan.METHODS) for name in plan.ALL)


def test_of_cifar10_what_moves_more_than_the_readout_takes_a_gpu() -> None:
    assert all(plan.made_on(device, "CIFAR-10, aeroplanes") == list(plan.METHODS) for device in (None, "cpu"))
    for device, name in ((None, "digits, class 3"), ("cuda", "digits, class 3"), ("cuda", "CIFAR-10, aeroplanes")):
        assert plan.made_on(device, name) == [*plan.METHODS, *plan.WHOLE, *plan.ANEW]


def test_all_pictures_take_the_settings_that_were_best_on_a_tenth(table: pd.DataFrame, tmp_path: Path) -> None:
    for name, (like, _) in plan.ALL.items():
        methods = command.chosen(like, RESULTS)
        assert list(methods) == list(plan.METHODS)
        (one, other) = (
            rows[rows["method"].isin(plan.METHODS)].groupby("method")["setting"].unique().map(list)
            for rows in (table[table["task"] == each] for each in (name, like))
        )
        assert one.equals(other) and plan.tuning_of(name) == ()
    with pytest.raises(FileNotFoundError, match="its settings are those of CIFAR-10, aeroplanes"):
        command.chosen("CIFAR-10, aeroplanes", tmp_path)


@pytest.mark.parametrize(("device", "left_out"), [(None, plan.ALL), ("cpu", plan.ALL), ("cuda", {})])
def test_all_pictures_take_a_gpu(
    device: str | None, left_out: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    entries = {name: replace(entry, task=lambda _: imu.tasks.Toy()) for name, entry in plan.ENTRIES.items()}
    monkeypatch.setattr(command, "ENTRIES", entries)
    monkeypatch.setattr(trial, "on", lambda device, task: task)
    monkeypatch.setattr(command, "chosen", lambda name, out: {"chosen": {"method": name}})
    monkeypatch.setattr(
        command, "compared", lambda task, name, methods, *_: asked.append((name, methods)) or pd.DataFrame()
    )
    monkeypatch.setattr(report, "keep", lambda *_: None)
    command.main(["--out", str(tmp_path), *(["--device", device] if device else [])])
    assert [name for name, _ in asked] == [name for name in entries if name not in left_out]
    for name, methods in asked:
        assert methods == ({"chosen": {"method": plan.ALL[name][0]}} if name in plan.ALL else plan.METHODS)


@pytest.mark.parametrize(("given", "device"), [([], None), (["--device", "cpu"], "cpu")])
def test_the_models_are_where_the_command_says(
    given: list[str], device: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(command, "compared", lambda task, *how: asked.append((task.device, how[-1])) or pd.DataFrame())
    monkeypatch.setattr(report, "keep", lambda *_: None)
    command.main(["--only", "digits, class 3", "--out", str(tmp_path), *given])
    assert asked == [(device, device)]


def test_what_is_read_at_its_end_has_numbers_where_it_is_still_forgotten() -> None:
    ends = pd.DataFrame(
        {"method": "eu-k", "seed": [0, 1], "seconds": 1.0, "updates": 60, "passes": 9.0, "test kl_retrained": 0.1}
        | {"forget accuracy": [0.0, 0.2], "forget loss": [0.5, 0.1], "forget loss gap": [0.2, -0.2]}
    )
    goals = pd.Series({0: "words", 1: "other words"})
    for goal in (("accuracy", "<=", 0.01), ("loss", ">=", "retrained")):
        found = command._read_at_the_end(ends, goal, goals)
        assert found["reached"].tolist() == [True, False] and found["goal"].tolist() == ["words", "other words"]
        assert found["came_to"].tolist() == ends[f"forget {goal[0]}"].tolist() and found["seconds"].eq(1).all()
        assert found.loc[0, "passes"] == 9 and found.loc[1, ["updates", "passes", "test kl_retrained"]].isna().all()


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
        monkeypatch.setattr(module, "WHOLE", whole := {"bad-teacher": plan.WHOLE["bad-teacher"]})
        monkeypatch.setattr(module, "ANEW", anew := {"eu-k": {"step_norm": [0.1, 0.05, 0.2]}})
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    readme = README.read_bytes()
    assert command.main(["--jobs", "1", "--out", str(tmp_path)]) == 0
    table, words = pd.read_parquet(tmp_path / "compare.parquet"), (tmp_path / "compare.md").read_text("utf-8")
    assert words == report.markdown(table) and README.read_bytes() == readme
    assert set(table["method"]) == {*ALWAYS, *methods, *whole, *anew} and len(table) == 10 * len(plan.SEEDS)
    ends = table[table["method"] == "eu-k"]
    assert ends["reached"].any() and ends["reached"].tolist() == (ends["came_to"] <= 0.1).tolist()
    assert (
        ends.loc[ends["reached"], "updates"].eq(plan.ANEW_STEPS).all()
        and ends["updates"].count() == ends["reached"].sum()
    )
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
