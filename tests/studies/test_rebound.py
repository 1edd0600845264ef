"""Rebound counts updates of relearning, on other data of the class only."""

from __future__ import annotations

from dataclasses import replace

import cases
import pytest

import imu_lab as imu


def test_rebound_counts_updates_of_relearning_and_is_empty_without_a_model() -> None:
    run = imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=40, stop_at=0.02)
    table = imu.resistance(run, rebound=30)
    known = table["rebound"].notna()
    assert known.mean() > 0.5 and table["rebound"].max() <= 30
    assert (table.loc[table["final_margin"] >= 0, "rebound"] == 0).all()
    assert (table.loc[known & (table["final_margin"] < 0), "rebound"] >= 1).all()
    assert table["rebound_censored"].equals(table["rebound"].isna()) and table["rebound_censored"].any()
    assert imu.resistance(run)["rebound"].isna().all() and not imu.resistance(run)["rebound_censored"].any()
    assert imu.resistance(replace(run, task=None), rebound=3)["rebound"].isna().all()


def test_rebound_never_learns_the_sample_itself() -> None:
    from imu_lab.features import view
    from imu_lab.studies.rebound import _lessons
    from imu_lab.tasks.protocol import labels_of

    for name in ("digits class", "digits fraction", "toy"):
        run = imu.unlearn(cases.task(name), cases.original(name), steps=1)
        task, _ = view(run.task, run.model)
        lessons = list(_lessons(task, 0))
        ids = task.split("forget").ids
        for pool, watched in lessons:
            assert not set(pool.ids.tolist()) & set(ids[watched].tolist())
            taught, asked = (set(labels_of(task, each)) for each in (pool.ids, ids[watched]))
            assert len(asked) == 1 and taught == asked, "other data of its own class"
        assert sorted(at for _, watched in lessons for at in watched.tolist()) == list(range(len(ids)))


def test_copies_learn_nothing_for_each_other() -> None:
    from imu_lab.studies.rebound import _lessons

    run = imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=3)
    mine = run.samples["example"].iloc[:40].tolist()
    other = imu.what_if(run, double=mine)
    assert imu.resistance(other, rebound=3)["rebound"].notna().any()
    forget = other.task.split("forget")
    for pool, watched in _lessons(other.task, seed=0):
        learned = set(other.task.originals(pool.ids))
        assert not learned & set(other.task.originals(forget.ids[watched]))
    with pytest.raises(ValueError, match="got -1"):
        imu.resistance(run, rebound=-1)


def test_a_run_that_went_too_far_is_taught_from_where_it_was_of_use() -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    far = imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=60)
    limit = far.events["utility_limit"]
    near = imu.again(far, steps=limit - 1)
    assert 0 < limit < 60 and near.events["utility_limit"] is None
    one, other = (imu.resistance(run, rebound=100)["rebound"] for run in (far, near))
    assert one.equals(other) and one.notna().any()
