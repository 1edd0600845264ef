"""A trial: every arm gets the same models and its own weights, read at equal forgetting; and its means over seeds."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import imu_lab as imu

ARMS = {
    "influence": {},
    "uniform": {"rule": "uniform"},
    "shuffled": {"rule": "shuffled"},
    "mini-batch": {"method": "imu-minibatch", "refresh": 5},
}


@pytest.mark.full
def test_each_row_is_the_run_that_its_arm_describes() -> None:
    task = cases.task("digits class")
    found = imu.trial(task, ARMS, at_forget=0.05, step_norms=(None, 0.05), seeds=(0, 1), steps=120, lr=5e-3)
    assert len(found) == 2 * 2 * len(ARMS) and set(found["steps"]) == {"plain steps", "equal steps (‖Δθ‖ = 0.05)"}
    assert found["reached"].all() and (found["forget accuracy"] <= 0.05).all() and (found["seconds"] > 0).all()
    model = imu.train(task, "train", seed=1)
    weights = imu.intensity(imu.influence(task, model), "shuffled", seed=1)
    run = imu.unlearn(task, model, weights, steps=120, seed=1, stop_at=0.05, step_norm=0.05, lr=5e-3)
    row = found[(found["arm"] == "shuffled") & (found["seed"] == 1) & (found["steps"] != "plain steps")].iloc[0]
    assert row["updates"] == imu.compare(run, at_forget=0.05)["updates"][0]


def test_chance_is_the_seeds_and_settings_reach_the_method() -> None:
    task = cases.task("toy")
    with pytest.raises(TypeError, match="has no setting 'refrsh'. Did you mean 'refresh'"):
        imu.trial(task, {"x": {"method": "imu-minibatch", "refrsh": 5}}, at_forget=0.5, seeds=(0,))
    for arms in (["imu"], {"imu": "uniform"}, "imu"):
        with pytest.raises(TypeError, match="arms says by name what is different about each, such as .*; got "):
            imu.trial(cases.task("toy"), arms, at_forget=0.5)
    with pytest.raises(imu.UnknownName, match="unknown intensity rule: 'unifrom'. Did you mean 'uniform'"):
        imu.trial(task, {"x": {"rule": "unifrom"}}, at_forget=0.5, seeds=(0,))
    rule = imu.intensity_rules.create("sqrt-clipped", quantile=0.5)
    found = imu.trial(task, {"x": {"rule": rule, "estimator": "random"}}, at_forget=-1, seeds=(0,), steps=2)
    assert not found["reached"][0] and np.isnan(found["updates"][0])
    lengths = (each for each in (None, 0.1))
    found = imu.trial(task, {"x": {}}, at_forget=0.1, step_norms=lengths, seeds=(0, 1), steps=40, lr="auto")
    assert len(found) == 4 and found["reached"].all() and "refused" not in found


def table(**arms: list[float]) -> pd.DataFrame:
    """One row per arm and seed, plain steps."""
    rows = [("plain", arm, seed, value) for arm, values in arms.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["steps", "arm", "seed", "updates"])


def test_the_interval_is_students() -> None:
    values = [3.0, 5.0, 4.0, 9.0]
    found = imu.over_seeds(table(a=values), ["updates"]).iloc[0]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((5.25, low, high))
    assert found["quantity"] == "updates" and found["seeds"] == found["of"] == 4


def test_a_run_without_a_number_does_not_count_and_one_number_has_no_interval() -> None:
    found = imu.over_seeds(table(a=[1, np.nan, 3], b=[np.nan, 2, np.nan], c=[np.nan] * 3), ["updates"])
    assert found["seeds"].tolist() == [2, 1, 0] and found["of"].tolist() == [3, 3, 3]
    assert found["mean"].tolist()[:2] == [2, 2] and found["low"].isna().tolist() == [False, True, True]


def test_differences_to_a_control_are_paired_by_seed() -> None:
    given = table(control=[10, 20, 30], other=[11, 22, 33]).sample(frac=1, random_state=0)
    found = imu.over_seeds(given, ["updates"], against="control").set_index("arm")
    assert found.loc["control", ["mean", "low", "high"]].tolist() == [0, 0, 0]
    low, high = stats.t.interval(0.95, 2, 2, stats.sem([1, 2, 3]))
    assert found.loc["other", ["mean", "low", "high"]].tolist() == pytest.approx([2, low, high])
    assert set(found["against"]) == {"control"}


def test_a_run_whose_control_has_no_number_does_not_count() -> None:
    given = table(control=[10, np.nan, 30], other=[11, 22, 33]).query("not (arm == 'control' and seed == 2)")
    found = imu.over_seeds(given, ["updates"], against="control").set_index("arm").loc["other"]
    assert (found["mean"], found["seeds"], found["of"]) == (1, 1, 3) and np.isnan(found["low"])


def test_groups_keep_to_themselves() -> None:
    given = pd.concat([table(control=[1, 2], other=[3, 4]), table(control=[5, 6], other=[7, 8]).assign(steps="equal")])
    found = imu.over_seeds(given, ["updates"], against="control")
    assert found["mean"].tolist() == [0, 2, 0, 2]
    assert imu.over_seeds(given, ["updates"], by=["arm"])["of"].tolist() == [4, 4]


def test_what_the_table_does_not_have_is_named() -> None:
    with pytest.raises(imu.UnknownName, match="unknown column in this table: 'update'. Did you mean 'updates'"):
        imu.over_seeds(table(a=[1, 2]), ["update"])
    with pytest.raises(imu.UnknownName, match="unknown arm to compare with: 'b'. .*Known: a"):
        imu.over_seeds(table(a=[1, 2]), ["updates"], against="b")


def test_a_control_has_one_row_for_a_seed_and_a_quantity_counts_once() -> None:
    given = pd.concat([table(control=[1, 2], other=[3, 4]), table(control=[5, 6], other=[7, 8]).assign(steps="equal")])
    with pytest.raises(ValueError, match="arm 'control' has several rows for seed 0, and only one"):
        imu.over_seeds(given, ["updates"], by=["arm"], against="control")
    once = imu.over_seeds(table(a=[1, 2, 4]), "updates")
    pd.testing.assert_frame_equal(once, imu.over_seeds(table(a=[1, 2, 4]), ["updates", "updates"]))
    assert once["seeds"].tolist() == [3]


def test_tables_put_together_do_not_make_more_seeds() -> None:
    table = pd.DataFrame({"steps": "plain", "arm": "a", "seed": [0, 1, 2], "seconds": 1.0, "x": [1.0, 2.0, 4.0]})
    both = pd.concat([table, table.assign(seconds=2.0), table.assign(arm="b")])
    found = imu.over_seeds(both, "x")
    assert found["seeds"].tolist() == [3, 3]
    assert cases.close(
        found[["mean", "low", "high"]].iloc[0], imu.over_seeds(table, "x")[["mean", "low", "high"]].iloc[0]
    )
