"""Likelihood ratios by hand, and why nobody may score the models that the normals were fitted to."""

from __future__ import annotations

import cases
import numpy as np
from scipy.stats import norm

from imu_lab.measures.lira import LEAST, Normals, accuracy, held_out
from imu_lab.measures.membership import auc


def drawn(shift: float, models: int = 20, samples: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds of samples with levels of their own, under models that saw them and that did not."""
    random = np.random.default_rng(seed)
    level = random.normal(0, 3, samples)
    return tuple(level + random.normal(0, 1, (models, samples)) + at for at in (shift, 0.0))


def test_ratios_are_those_of_scipy() -> None:
    seen, never = drawn(1.0)
    found, odds = Normals.of(seen, never), np.linspace(-3, 3, 30)
    expected = [norm.logpdf(odds, side.mean(0), side.std(0, ddof=1)) for side in (seen, never)]
    assert cases.close(found.ratio(odds), expected[0] - expected[1], 1e-9)


def test_few_models_share_their_deviation() -> None:
    seen, never = drawn(1.0, models=6)
    found = Normals.of(seen, never)
    assert cases.close(found.deviation[0], np.full(30, np.sqrt(seen.var(0, ddof=1).mean())), 1e-12)
    assert len(np.unique(Normals.of(*drawn(1.0)).deviation[0])) == 30


def test_models_that_say_the_same_give_numbers() -> None:
    """Public code fits normals to right or wrong, 0 or 1, whose deviation is often 0: the result is NaN."""
    same = np.ones((20, 4))
    found = Normals.of(same, same)
    assert (found.deviation == LEAST).all() and found.ratio(np.ones(4)).tolist() == [0.0] * 4
    apart = Normals.of(same, 0 * same)
    assert np.isfinite(apart.ratio(np.ones(4))).all() and (apart.ratio(np.ones(4)) > 0).all()


def test_the_overlap_of_equal_deviations_by_formula() -> None:
    mean = np.array([[0.0, 1.0, 3.0, 40.0], [0.0, 0.0, 0.0, 0.0]])
    found = Normals(mean, np.full((2, 4), 1.5)).overlap()
    assert cases.close(found, 2 * norm.cdf(-np.abs(mean[0]) / 3.0), 1e-4)
    wide = Normals(np.zeros((2, 1)), np.array([[1.0], [2.0]])).overlap()
    at = np.sqrt(8 / 3 * np.log(2))  # where N(0, 1) and N(0, 2) meet
    assert cases.close(wide, [2 * norm.cdf(-at) + 1 - 2 * norm.cdf(-at / 2)], 1e-3)


def test_noise_is_no_leak_where_other_models_are_scored() -> None:
    """Public code scores the points to which it fitted, and finds a leak where there is none."""
    held, fitted = [], []
    for seed in range(20):
        seen, never = drawn(0.0, models=16, seed=seed)
        held.append(auc(*held_out(seen, never)).mean())
        normals = Normals.of(seen, never)
        fitted.append(auc(normals.ratio(seen), normals.ratio(never)).mean())
    assert abs(np.mean(held) - 0.5) < 0.01 < 0.05 < np.mean(fitted) - 0.5


def test_a_leak_is_found_by_sample_where_no_threshold_for_all_finds_it() -> None:
    seen, never = drawn(2.0, models=32)
    by_sample = auc(*held_out(seen, never)).mean()
    assert by_sample > 0.85 > 0.75 > auc(seen, never).mean()
    ratios = held_out(seen, never)
    assert accuracy(*ratios).mean() > 0.75 and accuracy(np.array([1.0, -1.0]), np.array([-1.0, -1.0])) == 0.75
