"""TOFU's page: it is made of one table, whose seeds have models of their own, and a small one goes through the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import imu_lab as imu
from benchmarks import tofu
from benchmarks.trial.report import RESULTS

pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The table that is in the repository."""
    return pd.read_parquet(RESULTS / "tofu.parquet")


def test_the_page_is_made_of_the_table(table: pd.DataFrame) -> None:
    assert (RESULTS / "tofu.md").read_text("utf-8") == tofu.markdown(table)


def test_each_seed_has_every_arm_and_models_of_its_own(table: pd.DataFrame) -> None:
    arms = ["do nothing", "retrained", *tofu.ARMS]
    assert all(rows["arm"].tolist() == arms for _, rows in table.groupby("seed"))
    for arm in arms:
        assert table.loc[table["arm"] == arm, "retain loss"].nunique() == table["seed"].nunique()


def test_the_page_says_what_is_in_the_rows(table: pd.DataFrame) -> None:
    page = tofu.markdown(table)
    curvature = table.loc[table["arm"] == "curvature-ascent", "retain loss"]
    row = next(line for line in page.splitlines() if line.startswith("| curvature-ascent"))
    assert row.split(" | ")[4] == f"{curvature.mean():.3g} ± {curvature.std():.2g}"
    away = (table.pivot(index="seed", columns="arm", values="truth ratio").T - _ratios(table, "retrained")).abs().T
    near = away.drop(columns="retrained").mean().idxmin()
    assert f"over the seeds, that of {near}: {away[near].mean():.2g} away" in page
    assert all(question in page and answer in page for question, answer in table.attrs["asked"])
    assert set(table.attrs["answers"]) == set(tofu.ANSWERING)


def _ratios(table: pd.DataFrame, arm: str) -> pd.Series:
    return table[table["arm"] == arm].set_index("seed")["truth ratio"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the run did not reach its goal")
def test_a_small_one_is_made_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"Who is {at}?", "answer": f"It is {at}."} for at in range(60)]
    told = [row | {"paraphrased_answer": f"{row['answer']} Yes", "perturbed_answer": ["Me.", "You."]} for row in rows]
    for name, some in {
        "full": rows,
        "forget01": rows[:20],
        "forget01_perturbed": told[:20],
        "retain_perturbed": told[20:],
    }.items():
        (tmp_path / f"{name}.json").write_text("\n".join(map(json.dumps, some)))
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    recipe = imu.tasks.Recipe(epochs=1, optimizer="adamw", batch_size=16)
    for name, value in {"SHAPE": (8, 1, 1, 300), "RECIPE": recipe, "STEPS": 1, "SHOWN": (0, 1)}.items():
        monkeypatch.setattr(tofu, name, value)
    out = tmp_path / "page.md"
    assert tofu.main([str(tmp_path), "--seeds", "2", "--out", str(out)]) == 0
    made = pd.read_parquet(out.with_suffix(".parquet"))
    assert out.read_text("utf-8") == tofu.markdown(made) and len(made) == 2 * (2 + len(tofu.ARMS))
    assert made.attrs["about"].startswith("60 pairs about 3 authors") and "seeds: 2;" in out.read_text("utf-8")
    assert made.loc[made["arm"] == "do nothing", "forget loss"].nunique() == 2
