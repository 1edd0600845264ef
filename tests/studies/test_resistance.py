"""Resistance against hand-made trajectories: censoring, ranks, pressure, the utility limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cases
import numpy as np
import pytest
from figures.records import run as by_hand

import imu_lab as imu
from imu_lab.studies.resistance import mean_over_updates, ranked

# samples 100..104 over updates 0..3: forgotten at 2; never; at 1; rebounds twice and is never; at 0
MARGINS = np.array([[3.0, 2, 1, 1, -1], [1, 2, -1, -1, -2], [-1, 2, -2, 1, -2], [-2, 2, -3, 0, -2]])


def record(margins: np.ndarray = MARGINS, steps: tuple = (0, 1, 2, 3), **how: object) -> imu.Run:
    return by_hand({"forget": [1.0] * len(steps)}, steps=steps, margins=margins, **how)


def with_columns(run: imu.Run, **columns: object) -> imu.Run:
    return replace(run, samples=run.samples.assign(**columns))


def test_a_sample_that_is_right_at_the_end_is_censored_not_forgotten_last() -> None:
    table = imu.resistance(record()).set_index("example")
    assert table["censored"].to_dict() == {100: False, 101: True, 102: False, 103: True, 104: False}
    assert table["time_to_forget"].dropna().to_dict() == {100: 2.0, 102: 1.0, 104: 0.0}


def test_the_censored_rank_last_and_among_themselves_by_what_was_left() -> None:
    table = imu.resistance(record()).set_index("example")
    assert table["rank"].to_dict() == {104: 1, 102: 2, 100: 3, 103: 4, 101: 5}
    assert table.loc[101, "confidence_auc"] > table.loc[103, "confidence_auc"]


def test_what_cannot_be_told_apart_shares_its_rank() -> None:
    assert ranked(np.array([2.0, 2.0, np.nan, 1.0]), np.array([0.5, 0.5, 0.1, 0.9])).tolist() == [2.5, 2.5, 4, 1]


def test_forgetting_events_count_falls_not_states() -> None:
    assert imu.resistance(record()).set_index("example")["forgetting_events"].to_dict() == {
        100: 1,
        101: 0,
        102: 1,
        103: 1,
        104: 0,
    }


def test_the_mean_confidence_weighs_uneven_updates() -> None:
    assert cases.close(mean_over_updates(np.array([[1.0], [0.5], [0.0]]), np.array([0, 1, 5])), (0.75 + 1.0) / 5)
    assert (imu.resistance(record())["confidence_auc"].between(0, 1)).all()


def test_a_sample_without_pressure_is_marked_and_an_unknown_pressure_is_not() -> None:
    run = with_columns(record(), pressure=[0.5, 0.0, 1.0, np.nan, 0.1])
    assert imu.resistance(run)["pressed"].tolist() == [True, False, True, True, True]


def test_what_falls_after_the_utility_limit_is_marked() -> None:
    assert imu.resistance(record(events={"utility_limit": 1}))["after_limit"].tolist() == [True] + 4 * [False]
    assert not imu.resistance(record())["after_limit"].any()


def test_what_happens_after_the_limit_ranks_nobody() -> None:
    for limit in (0, 1, 2, 3):
        cut = record(MARGINS[: limit + 1], steps=tuple(range(limit + 1)))
        whole = imu.resistance(record(events={"utility_limit": limit}))
        assert whole["rank"].tolist() == imu.resistance(cut)["rank"].tolist()
    table = imu.resistance(record(events={"utility_limit": 1})).set_index("example")
    assert table["time_to_forget"][100] == 2 and table["rank"][100] > table["rank"][104]


def test_a_sample_that_was_wrong_before_is_marked() -> None:
    assert imu.resistance(record())["wrong_before"].tolist() == 4 * [False] + [True]
    assert imu.resistance(record(-np.abs(MARGINS)))["wrong_before"].all()


def test_time_below_retrained_must_stay_so() -> None:
    run = record()
    left = run.trajectory.pivot(index="step", columns="example", values="confidence")
    run = with_columns(run, confidence_retrained=[left.loc[1, 100], 0.01, 0.9, left.loc[0, 103], 0.9])
    times = imu.resistance(run)["time_below_retrained"].tolist()
    assert times[:1] == [1] and np.isnan(times[1]) and times[3:] == [0, 0]
    assert times[2] == 0, "at or under from the first record on"
    assert imu.resistance(record())["time_below_retrained"].isna().all(), "no retrained model, no number"


def test_uniform_pressure_stands_beside_in_the_order_of_the_samples() -> None:
    other = record(MARGINS[:, ::-1])
    table = imu.resistance(record(), uniform=other)
    assert table["uniform_rank"].tolist() == imu.resistance(other)["rank"].tolist()
    with pytest.raises(ValueError, match="a run for each of the 2 runs, got 1"):
        imu.resistance([record(), record()], uniform=other)


def test_a_uniform_run_is_made_on_request() -> None:
    task, original = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=8, lr=0.05)
    given = imu.resistance(run, uniform=imu.again(run, weights=None))
    made = imu.resistance(run, uniform=True)
    assert made.equals(given) and "uniform_after_limit" in given
    assert imu.again(run, weights=None).samples["weight"].nunique() == 1 < run.samples["weight"].nunique()
    assert "uniform_rank" not in imu.resistance(run, uniform=False)
    with pytest.raises(ValueError, match="at update 4"):
        imu.resistance(imu.fork(run, 4), uniform=True)
    with pytest.raises(ValueError, match="another forget set: it lacks 5 of 40"):
        imu.resistance(run, uniform=replace(run, samples=run.samples.iloc[5:]))


def test_several_runs_are_told_apart_and_averaged() -> None:
    table = imu.resistance([record(seed=0), record(-MARGINS, seed=1)])
    assert table["number"].tolist() == 5 * [0] + 5 * [1] and set(table["seed"]) == {0, 1}
    mean = imu.mean_ranks(table)
    assert mean["mean_rank"].is_monotonic_decreasing and (mean["runs"] == 2).all()
    assert mean.set_index("example").loc[101, ["lowest_rank", "highest_rank"]].tolist() == [1, 5]
    idle = imu.mean_ranks(table.assign(pressed=table["example"] != 101))
    assert idle["example"].iloc[-1] == 101 and idle["withstood"].iloc[-1] == 0, "who was not pressed resisted nothing"
    with pytest.raises(ValueError, match="at least one run"):
        imu.resistance([])


def test_it_works_on_a_loaded_run_and_says_the_same(tmp_path: Path) -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=8, lr=0.05, reference=cases.retrained("toy"))
    loaded = imu.load_run(run.save(tmp_path / "run.imu"))
    assert imu.resistance(loaded).equals(imu.resistance(run))
    assert imu.resistance(run)["time_to_forget"].equals(run.samples["time_to_forget"])


def test_a_method_that_finds_its_own_shares_is_no_control_of_itself() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), method="joint-ascent", steps=5)
    with pytest.raises(
        ValueError, match="'joint-ascent' finds its own shares, so uniform=True would compare the run with"
    ):
        imu.resistance(run, uniform=True)
