"""Two runs side by side: each part is what the audits say of either run alone."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu
from imu_lab.studies.side_by_side import SideBySide


@pytest.fixture(scope="module")
def runs() -> tuple[imu.Run, imu.Run]:
    task, original, reference = (
        cases.task("digits class"),
        cases.original("digits class"),
        cases.retrained("digits class"),
    )
    how = {"steps": 12, "step_norm": 0.05, "reference": reference}
    return imu.unlearn(task, original, **how), imu.unlearn(task, original, method="delete", seed=1, **how)


@pytest.fixture(scope="module")
def record(runs: tuple[imu.Run, imu.Run]) -> SideBySide:
    return imu.side_by_side(*runs)


@pytest.mark.full
def test_each_part_is_what_the_audits_say_of_either_run(runs: tuple[imu.Run, imu.Run], record: SideBySide) -> None:
    assert not record.missing and record.split == "test-forget" and record.names["A"] != record.names["B"]
    for name, run in zip("AB", runs):
        assert record.matrices[name].equals(imu.prediction_matrix(run, "test-forget"))
        assert cases.close(record.classes[name], imu.class_accuracy(run)["value"])
        scores = imu.membership(run)
        mine, theirs = record.scores[record.scores["model"] == name], scores[scores["model"] == "run"]
        assert mine["example"].tolist() == theirs["example"].tolist() and cases.close(mine["loss"], theirs["loss"])
        told = imu.audit(run, "cka", draws=1).set_index(["name", "split"])["value"]
        for row in record.layers.itertuples():
            assert cases.close(getattr(row, name), told[f"CKA of layer {row.layer}", row.split])
    assert record.matrices["retrained"].equals(imu.prediction_matrix(runs[0], "test-forget", "retrained"))
    goal = imu.class_accuracy(runs[0])["goal"]
    assert cases.close(record.classes["A gap"], record.classes["A"] - goal)


def test_one_plane_holds_the_answers_of_all_models(runs: tuple[imu.Run, imu.Run], record: SideBySide) -> None:
    task, plane = runs[0].task, record.plane
    a = plane[(plane["model"] == "A") & (plane["split"] == "forget")]
    logs = runs[0].model(task.split("forget").batch().inputs).detach().double().log_softmax(-1)
    centred = logs - logs.mean(-1, keepdim=True)
    assert len(a) == len(logs) and a["answer"].tolist() == [task.classes[k] for k in logs.argmax(1).tolist()]
    drawn, whole = (torch.cdist(each, each).numpy() for each in (torch.tensor(a[["x", "y"]].to_numpy()), centred))
    assert (drawn <= whole + 1e-6).all() and np.corrcoef(drawn.ravel(), whole.ravel())[0, 1] > 0.7


@pytest.mark.full
def test_where_both_runs_are_one_all_its_points_lie_on_each_other(runs: tuple[imu.Run, imu.Run]) -> None:
    twin = imu.side_by_side(runs[0], runs[0]).plane
    one, other = (twin.loc[twin["model"] == name, ["x", "y"]].to_numpy() for name in "AB")
    assert cases.close(one, other)


def test_an_attack_calls_members_on_their_side_of_the_threshold(record: SideBySide) -> None:
    for score, sign in (("loss", -1), ("confidence", 1)):
        rows = record.scores[record.scores["model"] == "B"]
        at = float(rows[score].median())
        found = record.attacked("B", score, at).set_index("example")
        called = sign * rows[score].to_numpy() >= sign * at
        members = rows["member"].to_numpy()
        assert record.rates("B", score, at) == pytest.approx(
            {"true": called[members].mean(), "false": called[~members].mean()}
        )
        assert found["called"].sum() == called.sum()
        ordered = record.attacked("B", score, at)["score"]
        assert (np.diff(ordered) * -sign >= 0).all(), "the most member-like first"
    assert record.rates("A", "loss", np.inf) == {"true": 1.0, "false": 1.0}


def test_what_does_not_stand_side_by_side_is_refused(runs: tuple[imu.Run, imu.Run], record: SideBySide) -> None:
    of_others = imu.unlearn(cases.task("digits fraction"), cases.original("digits fraction"), steps=1)
    of_other_data = imu.unlearn(imu.tasks.Toy(), imu.train(imu.tasks.Toy()), steps=1)
    for other in (of_others, of_other_data):
        with pytest.raises(ValueError, match="these runs answer two requests"):
            imu.side_by_side(runs[0], other)
    with pytest.raises(TypeError, match="side_by_side takes a run of imu.unlearn; got"):
        imu.side_by_side(runs[0], pd.DataFrame())
    with pytest.raises(imu.UnknownName, match="unknown score: 'los'. Did you mean 'loss'"):
        record.attacked("A", "los", 0.0)
    with pytest.raises(imu.UnknownName, match="unknown model: 'C'"):
        record.attacked("C", "loss", 0.0)
    with pytest.raises(imu.UnknownName, match="unknown view: 'plain'. Did you mean 'plane'"):
        imu.plot_side_by_side(record, view="plain")


@pytest.mark.full
def test_both_runs_stand_beside_the_first_ones_reference(runs: tuple[imu.Run, imu.Run]) -> None:
    first, second = runs
    task, other = cases.task("digits class"), imu.train(cases.task("digits class"), "retain", seed=1)
    alone = imu.unlearn(task, cases.original("digits class"), method="delete", seed=1, steps=12, step_norm=0.05)
    beside = imu.unlearn(
        task, cases.original("digits class"), method="delete", seed=1, steps=12, step_norm=0.05, reference=other
    )
    wanted = imu.side_by_side(first, second).layers
    for run in (alone, beside):
        found = imu.side_by_side(first, run)
        assert not found.missing and cases.close(found.layers["B"], wanted["B"])


def test_a_fault_is_not_taken_for_what_cannot_be_had(runs: tuple[imu.Run, imu.Run], monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("imu_lab.studies.side_by_side.predictions.prediction_matrix", broken)
    with pytest.raises(ValueError, match="could not be broadcast"):
        imu.side_by_side(*runs)
