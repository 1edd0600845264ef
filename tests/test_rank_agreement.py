"""Kendall's W against known cases, and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.rank_agreement import kendalls_w


def table(values: np.ndarray) -> pd.DataFrame:
    runs, samples = values.shape
    return pd.DataFrame(
        {
            "number": np.repeat(np.arange(runs), samples),
            "example": np.tile(np.arange(samples), runs),
            "rank": values.ravel(),
        }
    )


def test_the_same_order_is_one_and_opposite_orders_are_zero() -> None:
    assert kendalls_w(np.tile(np.arange(7.0), (4, 1))) == pytest.approx(1)
    assert kendalls_w(np.array([np.arange(7.0), -np.arange(7.0)])) == pytest.approx(0)


def test_it_is_the_mean_spearman_correlation_in_other_words() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40)) + 0.7 * np.arange(40)
    correlations = pd.DataFrame(values.T).corr("spearman").to_numpy()[np.triu_indices(5, 1)]
    assert kendalls_w(values) == pytest.approx((correlations.mean() * 4 + 1) / 5)


def test_ties_are_corrected_for() -> None:
    tied = np.tile([1.0, 1, 2, 3, 3, 3], (3, 1))
    assert kendalls_w(tied) == pytest.approx(1)
    assert np.isnan(kendalls_w(np.ones((2, 4))))


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


def test_samples_that_some_run_did_not_press_are_left_out_and_counted() -> None:
    known = table(np.tile(np.arange(8.0), (3, 1))).assign(pressed=True)
    known.loc[(known["number"] == 1) & (known["example"] < 2), ["rank", "pressed"]] = [[9.0, False], [7.5, False]]
    found = imu.agreement_of_ranks(known, draws=10)
    assert (found.kendalls_w, found.samples, found.without_pressure) == (pytest.approx(1), 6, 2)
    uniform = imu.agreement_of_ranks(known.rename(columns={"rank": "uniform_rank"}), "uniform_rank", draws=10)
    assert (uniform.samples, uniform.without_pressure) == (8, 0), "under uniform pressure everybody was pressed"


def test_never_forgotten_is_latest_not_left_out() -> None:
    times = np.array([[1.0, 2, 3, np.nan, np.nan], [1.0, 2, 3, np.nan, np.nan]])
    known = table(times).rename(columns={"rank": "time_to_forget"})
    found = imu.agreement_of_ranks(known, "time_to_forget", draws=10)
    assert (found.kendalls_w, found.samples) == (pytest.approx(1), 5)
    other = table(np.vstack([times[0], -times[0]])).rename(columns={"rank": "time_to_forget"})
    assert imu.agreement_of_ranks(other, "time_to_forget", draws=10).kendalls_w < 1
    with pytest.raises(KeyError, match="no column to rank by 'ranks'"):
        imu.agreement_of_ranks(known, "ranks")
