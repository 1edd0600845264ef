"""Stability over draws: by hand, against scipy, and on models and augmentations."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from figures import records
from torchvision.transforms import v2

import imu_lab as imu


def test_each_samples_place_by_hand() -> None:
    found = imu.stability([records.influence([-3, -2, 1]), records.influence([-3, -1, -2])])
    assert found["mean"].tolist() == [-3, -1.5, -0.5] and found["negative"].tolist() == [1, 1, 0.5]
    assert found["rank_deviation"].tolist() == [0, 0.5, 0.5] and found.attrs["spearman"] == pytest.approx(0.5)


def test_equal_draws_agree_and_random_ones_do_not() -> None:
    random = np.random.default_rng(1)
    same = [records.influence(np.arange(50.0)) for _ in range(3)]
    noise = [records.influence(random.normal(size=50)) for _ in range(3)]
    found = imu.rank_stability({"same": same, "noise": noise}, resamples=200).set_index("estimator")
    assert found.loc["same", ["spearman", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    assert found.loc["noise", "low"] < 0 < found.loc["noise", "high"] and abs(found.loc["noise", "spearman"]) < 0.3
    assert found["draws"].tolist() == [3, 3] and found["samples"].tolist() == [50, 50]
    again = imu.rank_stability({"same": same, "noise": noise}, resamples=200).set_index("estimator")
    pd.testing.assert_frame_equal(found, again)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="two influences or more, got 1"):
        imu.stability([records.influence([1, 2])])
    with pytest.raises(ValueError, match="3 samples or more, got 2"):
        imu.rank_stability({"x": [records.influence([1, 2])] * 2})


def test_little_noise_keeps_more_of_the_order_than_a_shift_does() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    noise, shift = v2.GaussianNoise(0, 0.02, clip=False), v2.RandomAffine(0, translate=(1 / 8, 1 / 8))
    draws = {
        name: [imu.influence(imu.tasks.Augmented(task, transform, seed), model) for seed in range(3)]
        for name, transform in (("noise", noise), ("shift", shift))
    }
    found = imu.rank_stability(draws, resamples=100).set_index("estimator")
    assert found.loc["noise", "low"] > found.loc["shift", "high"] and found.loc["noise", "spearman"] < 1
