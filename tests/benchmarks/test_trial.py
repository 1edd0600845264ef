"""The trial: its files are made of one table, the README quotes them, and a small trial goes through the whole command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from benchmarks.trial import __main__ as command
from benchmarks.trial import plan, report

RESULTS = report.RESULTS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The table that is in the repository."""
    return pd.read_parquet(RESULTS / "trial.parquet")


@pytest.mark.full
def test_the_markdown_is_made_of_the_table_and_the_readme_quotes_it(table: pd.DataFrame) -> None:
    assert (RESULTS / "trial.md").read_text("utf-8") == report.markdown(table)
    (quoted,) = report.place("trial").findall(report.README.read_text("utf-8"))
    assert quoted == report.summary(table) and quoted in (RESULTS / "trial.md").read_text("utf-8")


def test_a_task_was_tried_with_its_seeds_and_its_row_of_doing_nothing(table: pd.DataFrame) -> None:
    for name, rows in table.groupby("task"):
        seeds = plan.ENTRIES[name].seeds
        assert set(rows["arm"]) == {"original", "retrained", *plan.ARMS}
        assert all(sorted(each) == list(seeds) for _, each in rows.groupby("arm")["seed"])
        assert len(seeds) >= (8 if name.startswith("digits") else 5) and not set(seeds) & set(plan.TUNING)
        assert rows["machine"].nunique() == rows["versions"].nunique() == rows["sources"].nunique() == 1


def test_curvature_and_joint_weights_pay_on_digits(table: pd.DataFrame) -> None:
    """What the README says of them, from the rows."""
    for name, most in (("digits, random tenth", 0.45), ("digits, class 3", 0.4)):
        rows = table[table["task"] == name]
        mean = rows.groupby("arm")[report.TEST].mean()
        assert mean["curvature-ascent"] <= most * mean[plan.UNIFORM]
        found = imu.over_seeds(rows, [report.TEST], against=plan.UNIFORM).set_index("arm")
        assert found.loc["curvature-ascent", "high"] < 0 and found.loc["joint-ascent", "high"] < 0
        assert mean["joint-ascent"] < mean["joint-ascent, shuffled"]


def test_what_the_readme_says_of_the_other_tasks_is_in_the_rows(table: pd.DataFrame) -> None:
    for name, rows in table.groupby("task"):
        found = imu.over_seeds(rows, [report.TEST], against=plan.UNIFORM).set_index("arm")
        gained = found.loc["IMU weights"]
        if name.endswith("two layers"):
            assert f"{-gained['mean']:.3f}" == "0.003" and gained["high"] < 0
            probes = rows.groupby("arm")["test-forget linear probe"].mean().dropna()
            assert np.ptp(probes) < 0.02 and probes.min() > 0.97
        else:
            assert gained["high"] >= 0, "a weight per sample gains nothing"
        for arm in ("curvature-ascent", "joint-ascent"):
            if name.startswith(("digits", "sequences")) and found.loc[arm, "seeds"]:
                assert found.loc[arm, "high"] < 0
            if name.startswith("re-ID"):
                assert found.loc[arm, "low"] <= 0 <= found.loc[arm, "high"]
    tenth = imu.over_seeds(table[table["task"] == "digits, random tenth"], [report.TEST], against=report.ORIGINAL)
    ascents = tenth[tenth["arm"].str.contains("ascent|weights|DELETE")]
    assert len(ascents) == 8 and (ascents["low"] > 0).all(), "every ascent ends farther than doing nothing"


@pytest.mark.parametrize(("given", "device"), [([], None), (["--device", "cpu"], "cpu")])
def test_the_models_are_where_the_command_says(
    given: list[str], device: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def tried(task: imu.tasks.Classification, *how: object, **_: object) -> pd.DataFrame:
        asked.append((task.device, how[-1]))
        return pd.DataFrame()

    monkeypatch.setattr(command, "_tried", tried)
    monkeypatch.setattr(report, "keep", lambda *_: None)
    command.main(["--only", "digits, class 3", "--out", str(tmp_path), *given])
    assert asked == [(device, device)]


def test_a_report_says_which_gpu_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"the GPU that is {device}")
    told = [command.made_by(device)["machine"].split(", ")[-1] for device in (None, "cpu", "cuda:1", "mps")]
    assert told == ["no GPU used", "no GPU used", "the GPU that is cuda:1", "mps"]


def test_every_arm_is_tried_as_often() -> None:
    assert {len(arm.tried) for arm in plan.ARMS.values()} == {3}
    assert plan.words({"rule": ("sqrt-clipped", {"quantile": 0.8})}) == "quantile 0.8"
    assert plan.words(plan.SHUFFLED[1]) == "quantile 0.8, top 1.0" and plan.words({"method": "npo-kl"}) == "npo-kl"


TOY = plan.Entry(lambda _: imu.tasks.Toy(), ("accuracy", "<=", 0.1), "10 % accuracy", 0.1, 60, (0, 1, 2))


def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pd.DataFrame:
    """The command on the toy, with three arms and a task whose data are missing."""
    arms = {
        plan.UNIFORM: plan.ARMS[plan.UNIFORM],
        "curvature-ascent": plan.ARMS["curvature-ascent"],
        "never": plan.Arm({"rule": "uniform", "step_norm": 1e-5}, plan.MOMENTA),
    }
    entries = {"toy": TOY, "CIFAR-10": plan.ENTRIES["CIFAR-10, random tenth"]}
    for module in (plan, command, report):
        for name, value in (("ARMS", arms), ("ENTRIES", entries)):
            monkeypatch.setattr(module, name, value, raising=False)
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    assert command.main(["--jobs", "1", "--out", str(tmp_path)]) == 0
    return pd.read_parquet(tmp_path / "trial.parquet")


@pytest.mark.slow
def test_a_small_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    readme = report.README.read_bytes()
    table = small(monkeypatch, tmp_path)
    assert (
        set(table["arm"]) == {"original", "retrained", plan.UNIFORM, "curvature-ascent", "never"} and len(table) == 15
    )
    words = (tmp_path / "trial.md").read_text("utf-8")
    assert words == report.markdown(table) and report.README.read_bytes() == readme
    assert "Not tried: it needs a folder of CIFAR-10 pictures" in words and "--cifar10 FOLDER" in words
    rows = {
        cells[0]: cells
        for cells in (re.split(r" *\| *", line.strip("| ")) for line in words.splitlines())
        if len(cells) > 7
    }
    assert rows["never"][3].startswith("0 of 3; came to") and rows[plan.UNIFORM][3] == "3 of 3"
    assert rows["curvature-ascent"][1:3] == [
        "statistic",
        table.loc[table["arm"] == "curvature-ascent", "setting"].iloc[0],
    ]
    found = imu.over_seeds(table, [report.TEST], against=plan.UNIFORM).set_index("arm").loc["curvature-ascent"]
    half = found["high"] - found["mean"]
    assert rows["curvature-ascent"][5] == f"{found['mean']:+.3f} ± {half:.3f}".replace("-", "−")
    side = "pays" if found["high"] < 0 else "costs" if found["low"] > 0 else "changes nothing that these seeds show"
    assert f"**curvature-ascent** {side} on unseen data to keep ({rows['curvature-ascent'][5]})" in words
    # A second call reads all cells, and keeps what other tasks have in the table.
    pd.concat([table, table.assign(task="CIFAR-10")]).to_parquet(tmp_path / "trial.parquet")
    monkeypatch.setattr("imu_lab.studies.cells.Cell.made", lambda *_: pytest.fail("a cell is made again"))
    command.main(["--jobs", "1", "--out", str(tmp_path)])
    again = pd.read_parquet(tmp_path / "trial.parquet")
    pd.testing.assert_frame_equal(again[again["task"] == "toy"], table)
    assert (again["task"] == "CIFAR-10").sum() == len(table)


def test_the_setting_that_was_best_on_the_seeds_of_the_tuning_is_taken() -> None:
    arm = plan.ARMS["curvature-ascent"]
    rows = [(f"a {at}", reached, value) for at in range(3) for reached, value in TRIED[at]]
    tuning = pd.DataFrame(rows, columns=["arm", "reached", "test kl_retrained"])
    assert command._best(tuning, "a", arm, "test kl_retrained") == 1
    once = plan.ARMS["newton-step"]
    assert command._best(tuning, "a", once, "test kl_retrained") == 2, "a method of one step is read at its end"
    assert (
        command._best(tuning.assign(reached=False, **{"test kl_retrained": np.nan}), "a", arm, "test kl_retrained") == 0
    )


TRIED = ([(True, 0.5), (True, 0.4)], [(True, 0.3), (True, 0.2)], [(True, 0.1), (False, np.nan)])


def test_a_tenth_of_a_folder_is_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    for split, label, count in (("train", "cat", 25), ("train", "dog", 20), ("test", "cat", 10), ("test", "dog", 11)):
        (tmp_path / "pictures" / split / label).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "pictures" / split / label / f"{number:02}.png").write_bytes(b"x")
    for _ in range(2):
        made = plan.a_tenth(tmp_path / "pictures")
        found = sorted(path.relative_to(made).as_posix() for path in made.rglob("*.png"))
        assert len(found) == 3 + 2 + 1 + 2 and found[0] == "test/cat/00.png" and "train/cat/20.png" in found
    with pytest.raises(FileNotFoundError, match="train/<class>"):
        plan.a_tenth(tmp_path)
