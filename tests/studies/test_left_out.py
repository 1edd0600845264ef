"""Damage by leaving samples out of the run: against runs made by hand, and against what first order predicts."""

from __future__ import annotations

import cases
import pytest

import imu_lab as imu
from imu_lab.tasks.evaluation import outcomes


def made(name: str = "digits class", **how: object) -> imu.Run:
    task, original = cases.task(name), cases.original(name)
    return imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), **how)


def test_it_is_the_difference_to_a_run_without_the_sample() -> None:
    run = made(steps=20)
    some = run.samples["example"].iloc[[3, 9]].tolist()
    table = imu.left_out(run, some, step=12).set_index("example")
    weights = run.samples["weight"].to_numpy().copy()
    weights[9] = 0.0
    other = imu.unlearn(run.task, run.model_at(0), weights, steps=12)
    retain = run.task.split("retain")
    with_it, without = (outcomes(run.task, each.model_at(12), retain)[:, 0].double().mean() for each in (run, other))
    assert table.loc[some[1], "measured"] == pytest.approx(float(with_it - without), abs=1e-6)
    assert list(table.index) == table["measured"].sort_values(ascending=False).index.tolist() and len(table) == 2


def test_those_blamed_for_a_victims_damage_did_it() -> None:
    run = made(steps=34)
    victim = int(imu.collateral(run, step=12)["example"][0])
    blamed = imu.responsible(run, victim, step=12)["example"].tolist()
    table = imu.left_out(run, [*blamed[:5], *blamed[60:70]], step=12, example=victim).set_index("example")["measured"]
    assert table[blamed[:5]].min() > 1.5 * table[blamed[60:70]].abs().max()


def test_where_nothing_is_predicted_it_is_measured_all_the_same() -> None:
    run = made("toy", steps=4, optimizer="adamw", lr=0.05)
    table = imu.left_out(run, run.samples["example"].iloc[:3])
    assert table["predicted"].isna().all() and table["measured"].abs().max() > 0
    assert set(table) >= {"example", "label", "pressure"}


def test_who_is_not_in_the_forget_set_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="are not in the forget set"):
        imu.left_out(made("toy", steps=2), [10**6])
