"""Kendall's W against known cases, and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu


def table(values: np.ndarray) -> pd.DataFrame:
    runs, samples = values.shape
    return pd.DataFrame(
        {
            "number": np.repeat(np.arange(runs), samples),
            "example": np.tile(np.arange(samples), runs),
            "rank": values.ravel(),
        }
    )


def test_the_interval_holds_the_estimate_and_chance_is_one_over_runs() -> None:
    random = np.random.default_rng(1)
    found = imu.agreement_of_ranks(table(random.normal(size=(5, 120)) + random.normal(size=120)), draws=200)
    assert found.low < found.kendalls_w < found.high and found.high - found.low < 0.3
    assert (found.runs, found.samples, found.by_chance) == (5, 120, 0.2)
    noise = imu.agreement_of_ranks(table(random.normal(size=(5, 400))), draws=200)
    assert noise.low < 0.2 < noise.high, "independent rankings are at chance level, also under resampling"


def test_only_samples_in_every_run_count_and_too_few_are_refused() -> None:
    known = table(np.random.default_rng(2).normal(size=(2, 5)))
    known.loc[0, "rank"] = np.nan
    assert imu.agreement_of_ranks(known, draws=10).samples == 4
    with pytest.raises(ValueError, match="got 1 and 5"):
        imu.agreement_of_ranks(table(np.ones((1, 5))))


def test_who_had_nothing_to_withstand_is_left_out_and_counted() -> None:
    known = table(np.tile(np.arange(8.0), (3, 1))).assign(pressed=True, wrong_before=False)
    known.loc[(known["number"] == 1) & (known["example"] < 2), ["rank", "pressed"]] = [[9.0, False], [7.5, False]]
    known.loc[(known["number"] == 2) & (known["example"] == 5), ["rank", "wrong_before"]] = [-1.0, True]
    found = imu.agreement_of_ranks(known, draws=10)
    assert (found.kendalls_w, found.samples, found.left_out) == (pytest.approx(1), 5, 3)
    uniform = imu.agreement_of_ranks(known.rename(columns={"rank": "uniform_rank"}), "uniform_rank", draws=10)
    assert (uniform.samples, uniform.left_out) == (7, 1), "under uniform pressure everybody was pressed"


def test_agreement_by_construction_is_not_counted() -> None:
    random = np.random.default_rng(0)
    ranks = random.permuted(np.tile(np.arange(40.0), (4, 1)), axis=1)
    ranks[:, :8] = -1
    known = table(ranks).assign(wrong_before=lambda rows: rows["example"] < 8)
    assert imu.agreement_of_ranks(known.drop(columns="wrong_before"), draws=10).kendalls_w > 0.5
    assert imu.agreement_of_ranks(known, draws=10).kendalls_w < 0.4


def test_never_forgotten_is_latest_and_unknown_is_not_never() -> None:
    times = np.array([[1.0, 2, 3, np.nan, np.nan], [1.0, 2, 3, np.nan, np.nan]])
    for column, mark in (("time_to_forget", "censored"), ("rebound", "rebound_censored")):
        known = table(times).rename(columns={"rank": column})
        found = imu.agreement_of_ranks(known.assign(**{mark: known[column].isna()}), column, draws=10)
        assert (found.kendalls_w, found.samples) == (pytest.approx(1), 5)
        assert imu.agreement_of_ranks(known.assign(**{mark: False}), column, draws=10).samples == 3
    below = table(times).rename(columns={"rank": "time_below_retrained"})
    assert imu.agreement_of_ranks(below, "time_below_retrained", draws=10).samples == 5
    for name in ("time_below_retrained", "rebound"):
        nothing = table(np.full((2, 5), np.nan)).rename(columns={"rank": name}).assign(rebound_censored=False)
        with pytest.raises(ValueError, match="got 0 and 0|got 2 and 0"):
            imu.agreement_of_ranks(nothing, name)


def test_what_cannot_be_ranked_says_so() -> None:
    with pytest.raises(KeyError, match="no column to rank by 'ranks'"):
        imu.agreement_of_ranks(table(np.ones((2, 5))), "ranks")
    with pytest.raises(ValueError, match="all 5 samples have the same 'rank' in run 0"):
        imu.agreement_of_ranks(table(np.ones((2, 5))))
