"""How weights are spread over a forget set, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from figures import records

import imu_lab as imu


def intensity(weights: list[float], confidence: list[float]) -> imu.Intensity:
    """Weights as given."""
    scores = records.influence([-1.0] * len(weights), confidence=confidence)
    shares = np.array(weights) / sum(weights)
    return imu.Intensity(scores.frame.assign(selected=shares > 0, weight=shares), scores.context)


def test_shares_of_pressure_by_fit() -> None:
    found = imu.pressure_shares(intensity([1, 0, 3, 4, 0, 2], [0.9, 0.8, 0.1, 0.2, 0.3, 0.95]), parts=3)
    assert found["weight"].tolist() == pytest.approx([0.7, 0.0, 0.3])
    assert found["samples"].tolist() == [2, 2, 2] and found["selected"].tolist() == [1, 0, 1]
    assert found["confidence_low"].tolist() == [0.1, 0.3, 0.9]
    alike = imu.pressure_shares(intensity([1] * 10, [0.5] * 10))
    assert alike["weight"].tolist() == pytest.approx([0.2] * 5)
    with pytest.raises(ValueError, match="parts must lie between 1 and the 2 samples, got 5"):
        imu.pressure_shares(intensity([1, 1], [0.1, 0.2]))


def test_the_lorenz_curve_and_its_gini() -> None:
    alike, one, two = (intensity(weights, [0.1] * len(weights)) for weights in ([1, 1, 1, 1], [0, 0, 0, 1], [1, 3]))
    assert (alike.gini, one.gini, two.gini) == pytest.approx((0, 0.75, 0.25))
    assert imu.lorenz_curve(one)["weight"].tolist() == [0, 0, 0, 0, 1]
    assert imu.lorenz_curve(two)["weight"].tolist() == pytest.approx([0, 0.25, 1])


def test_gini_is_twice_the_area_under_the_diagonal() -> None:
    weights = intensity(np.random.default_rng(0).random(30).tolist(), [0.1] * 30)
    curve = imu.lorenz_curve(weights)
    assert weights.gini == pytest.approx(1 - 2 * np.trapezoid(curve["weight"], curve["samples"]))
