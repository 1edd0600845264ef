"""Every audit in one table: what stands in it, that nothing depends on order or numbering, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pytest
import sequences

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.measures.membership import auc
from imu_lab.studies import audit as module


@pytest.fixture(scope="module")
def digit() -> Run:
    """A digit was forgotten, beside its retrained model."""
    task, original, retrained = (make("digits class") for make in (cases.task, cases.original, cases.retrained))
    return imu.unlearn(task, original, steps=20, step_norm=0.3, reference=retrained)


def by_name(table):
    """The rows by name and split."""
    return table.set_index(["name", "split"])


def test_membership_is_that_of_the_scores_table(digit: Run) -> None:
    table, samples = imu.audit(digit, "membership"), imu.membership(digit)
    assert len(table) == 8 and list(table)[:8] == module.COLUMNS[:8]
    assert samples["model"].unique().tolist() == ["run", "original", "retrained"]
    for model, column in (("run", "value"), ("original", "original"), ("retrained", "goal")):
        mine = samples[samples["model"] == model]
        for score, sign in (("loss", -1), ("confidence", 1), ("entropy", -1), ("modified_entropy", -1)):
            expected = auc(*(sign * mine.loc[mine["member"] == side, score].to_numpy() for side in (True, False)))
            row = by_name(table).loc[(f"AUC by {score.replace('_', ' ')}", "forget against test-forget")]
            assert row[column] == pytest.approx(expected, abs=1e-12)
    areas = table[table["unit"] == "probability"]
    assert (areas["low"] <= areas["value"]).all() and (areas["value"] <= areas["high"]).all()
    assert (table["high"] - table["low"]).between(0, 0.6).all() and table["formula"].str.contains("score").all()


def test_the_retrained_model_is_found_again(digit: Run, tmp_path) -> None:
    first = imu.audit(digit, "membership")
    loaded = imu.load_run(digit.save(tmp_path / "run"))
    assert loaded.beside is None
    assert imu.audit(loaded, "membership").equals(first)
    again = imu.again(digit, seed=digit.settings["seed"])
    assert imu.audit(again, "membership").equals(first)


def test_of_several_retrained_models_the_goal_is_the_mean() -> None:
    task, original = cases.task("digits fraction"), cases.original("digits fraction")
    references = imu.references(task, seeds=(0, 1))
    run = imu.unlearn(task, original, steps=2, reference=references)
    table = imu.audit(run, "membership")
    each = [imu.audit(run, "membership", reference=one)["goal"] for one in references.models]
    assert cases.close(table["goal"].to_numpy(), np.mean(each, 0), 1e-12)
    assert table["split"].unique().tolist() == ["forget against test"]


def test_without_a_retrained_model_goals_are_empty_and_that_is_said() -> None:
    run = imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=2)
    with pytest.warns(UserWarning, match="no retrained model beside it: goals are empty"):
        table = imu.audit(run)
    assert table["goal"].isna().all() and (table["note"] != "").all()
    assert table.loc[table["audit"] == "membership", "value"].notna().all()


def test_what_cannot_be_audited_is_said(digit: Run, tmp_path) -> None:
    with pytest.raises(TypeError, match="audit takes a run of imu.unlearn; got a list of Run"):
        imu.audit([digit])
    with pytest.raises(imu.UnknownName, match="unknown audit: 'membrship'. Did you mean 'membership'"):
        imu.audit(digit, "membrship")
    with pytest.raises(ValueError, match="has the original itself"):
        imu.audit(digit, reference=cases.original("digits class"))
    with pytest.raises(ValueError, match=r"does not know its task; load it with imu.load_run\(path, task=...\)"):
        imu.audit(replace(digit, task=None))
    with pytest.raises(ValueError, match="kept no weights"):
        imu.audit(replace(digit, snapshots=None))
    with pytest.raises(TypeError, match="reference is a retrained model or imu.references"):
        imu.audit(digit, reference="retrained")


def test_sequences_are_audited_by_the_mean_over_their_tokens() -> None:
    original, retrained = sequences.models()
    run = imu.unlearn(sequences.tiny(), original, steps=3, reference=retrained)
    table = imu.audit(run, "membership")
    assert table["value"].notna().all() and table["split"].str.endswith("test-forget").all()
