"""Correlations, concordance and the bootstrap: by hand, and against scipy."""

from __future__ import annotations

import re
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imu_lab.studies.agreement import RankAgreement
from imu_lab.studies.explanation import Prediction
from imu_lab.studies.ground_truth import Score
from imu_lab.studies.statistics import confidence_interval, kendalls_w, mean_spearman, spearman


def test_spearman_by_hand() -> None:
    # 1 - 6 Σ d² / (n (n² - 1)) with d = 0, 0, 1, -1
    assert spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(1 - 6 * 2 / 60)
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)


def test_spearman_is_scipys_with_ties_and_for_many_pairs_at_once() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 6, 20)).round(1)
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(one, other)]
    assert cases.close(spearman(one, other), expected, within=1e-5)
    assert cases.close(spearman(one.T, other.T, axis=0), expected, within=1e-5)
    assert cases.close(spearman(one, other[0]), [stats.spearmanr(a, other[0]).statistic for a in one], within=1e-5)


def test_a_constant_has_no_correlation() -> None:
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3])) and np.isnan(spearman([1, 2, 3], [2, 2, 2]))
    assert np.isnan(mean_spearman(np.ones((2, 5))))


def test_the_mean_over_pairs_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20)).round(1)  # with ties
    pairs = [stats.spearmanr(values[i], values[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
    assert mean_spearman(values) == pytest.approx(np.mean(pairs))


def test_the_same_order_is_one_and_opposite_orders_are_zero() -> None:
    assert cases.close(kendalls_w(np.tile(np.arange(7.0), (4, 1))), 1)
    assert cases.close(kendalls_w(np.array([np.arange(7.0), -np.arange(7.0)])), 0, of=1.0)


def test_kendalls_w_by_hand() -> None:
    # The rank sums 2, 4, 7, 7 lie 3, 1, 2, 2 from their mean, so W = 12 S / (m² (n³ - n)) with S = 18.
    assert cases.close(kendalls_w(np.array([[1.0, 2, 3, 4], [1, 2, 4, 3]])), 12 * 18 / (4 * 60))


@pytest.mark.parametrize("shape", [(2, 3), (2, 20), (5, 30), (3, 146)])
def test_kendalls_w_is_friedmans_statistic_with_ties(shape: tuple[int, int]) -> None:
    runs, samples = shape
    values = np.random.default_rng(samples).integers(0, samples // 2 + 2, size=shape).astype(float)
    expected = stats.friedmanchisquare(*values.T).statistic / (runs * (samples - 1))
    assert cases.close(kendalls_w(values), expected, within=1e-12)


def test_kendalls_w_where_scipy_has_none() -> None:
    assert cases.close(kendalls_w(np.array([[1.0, 2], [3, 7]])), 1), "two samples are an order, too"
    assert cases.close(kendalls_w(np.array([[3.0, 1, 2]])), 1), "one ranking agrees with itself"
    assert np.isnan(kendalls_w(np.ones((2, 4)))), "nobody has an order"
    half = kendalls_w(np.array([[1.0, 2, 3], [1, 1, 1]]))
    assert half == pytest.approx(0.5), "all the variance that is possible, of one ranking in two"


def test_ties_are_corrected_for() -> None:
    assert cases.close(kendalls_w(np.tile([1.0, 1, 2, 3, 3, 3], (3, 1))), 1)


def test_it_is_the_mean_spearman_correlation_in_other_words() -> None:
    values = np.random.default_rng(0).normal(size=(5, 40)) + 0.7 * np.arange(40)
    correlations = pd.DataFrame(values.T).corr("spearman").to_numpy()[np.triu_indices(5, 1)]
    assert kendalls_w(values) == pytest.approx((correlations.mean() * 4 + 1) / 5)
    assert mean_spearman(values) == pytest.approx(correlations.mean())


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = confidence_interval(np.mean, values, draws=4000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_samples_are_drawn_together_and_by_the_seed() -> None:
    values = np.random.default_rng(2).normal(size=(3, 50))
    low, high = confidence_interval(spearman, values, values[:1], draws=100)
    assert low.shape == high.shape == (3,) and low[0] == high[0] == pytest.approx(1)
    assert (low[1:] < spearman(values[1:], values[0])).all() and (high[1:] > spearman(values[1:], values[0])).all()
    for statistic in (kendalls_w, mean_spearman):
        found, again = (confidence_interval(statistic, values, draws=100) for _ in range(2))
        assert found == again and found[0] < statistic(values) < found[1]
    assert confidence_interval(kendalls_w, values, draws=100, seed=1) != found


def test_the_interval_is_scipys() -> None:
    values = np.random.default_rng(3).normal(size=(2, 40))
    own = confidence_interval(spearman, *values, draws=300, seed=5)
    scipys = stats.bootstrap(
        values, spearman, paired=True, n_resamples=300, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    assert own == pytest.approx((scipys.low, scipys.high))


def test_draws_without_a_value_do_not_count() -> None:
    rare = np.zeros(30)
    rare[0] = 1  # a third of the draws miss it, and have no correlation
    assert np.isfinite(confidence_interval(spearman, rare, np.arange(30.0), draws=200)).all()
    assert np.isnan(confidence_interval(spearman, np.ones(30), np.arange(30.0), draws=20)).all()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Score(0.9234, 0.85, 0.961, 50), "Score(Spearman 0.92, 0.85 to 0.96; 50 units)"),
        (
            RankAgreement(0.8996531479856941, 0.86, 0.92, 0.2, 5, 146, 3),
            "RankAgreement(Kendall's W 0.90, 0.86 to 0.92, by chance 0.20; 5 runs, 146 samples, 3 excluded)",
        ),
        (
            Prediction(0.61, 0.5, 0.7, 0.02, 0.1, 146, 5, pd.DataFrame(), pd.DataFrame()),
            "Prediction(held-out Spearman 0.61, 0.50 to 0.70; with shuffled targets 0.02, at most 0.10; 146 samples)",
        ),
    ],
)
def test_a_result_shows_itself_shortly_and_in_a_notebook_as_a_table(record: Any, said: str) -> None:
    assert repr(record) == said and "DataFrame" not in record._repr_html_()
    shown = re.findall(r"<th>(\w+)</th>", record._repr_html_())
    assert shown == [name for name in record._fields if name not in ("importance", "dependence")]
