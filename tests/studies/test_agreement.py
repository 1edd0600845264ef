"""Arithmetic on records, against numbers by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.studies.agreement import damping_effect


def record(values: object, name: str = "some", **context: object) -> imu.Influence:
    """Influences as given."""
    values = np.asarray(values, dtype=float)
    ids = np.arange(len(values)) + 5
    table = pd.DataFrame({"example": ids, **context})
    return imu.Influence(pd.DataFrame({"example": ids, "influence": values}), table, {"estimator": name})


def test_rank_correlations_of_every_pair() -> None:
    one = record([1, 2, 3, 4])
    found = imu.rank_correlations({"a": one, "b": record([10, 20, 40, 30]), "c": record([-1, -2, -3, -4])})
    assert found.loc["a", "b"] == pytest.approx(0.8) and found.loc["a", "c"] == pytest.approx(-1)
    assert np.allclose(np.diag(found), 1) and list(imu.rank_correlations([one, one])) == ["some", "some (2)"]


def test_a_comparison_of_different_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' speak of other samples than 'a'"):
        imu.rank_correlations({"a": record([1, 2]), "b": record([1, 2, 3])})
    with pytest.raises(ValueError, match="two influences or more, got 1"):
        imu.rank_correlations([record([1, 2])])


def test_where_damping_makes_the_metric_do_nothing() -> None:
    plain = np.array([-1.0, -2.0, -3.0, -4.0, 1.0])
    noise = np.array([0.5, -1.0, 0.2, 0.9, -0.7])
    sweep = {d: record(plain + noise / d, gradient_dot=plain) for d in (100.0, 0.1, 1.0, 10.0)}
    found = damping_effect(sweep)
    assert found["damping"].tolist() == [0.1, 1.0, 10.0, 100.0] and found["correlation"].iloc[-1] > 0.9999
    assert found.attrs["indifferent"] == 10.0
    assert np.isnan(damping_effect({0.1: sweep[0.1]}).attrs["indifferent"])
    with pytest.raises(ValueError, match="no gradient_dot"):
        damping_effect({1.0: record(plain)})


def intensity(weights: list[float], confidence: list[float]) -> imu.Intensity:
    """Weights as given."""
    scores = record([-1.0] * len(weights), confidence=confidence)
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
    assert imu.lorenz_curve(intensity([1, 1, 1, 1], [0.1] * 4)).attrs["gini"] == pytest.approx(0)
    one = imu.lorenz_curve(intensity([0, 0, 0, 1], [0.1] * 4))
    assert one.attrs["gini"] == pytest.approx(0.75) and one["weight"].tolist() == [0, 0, 0, 0, 1]
    assert imu.lorenz_curve(intensity([1, 3], [0.1] * 2))["weight"].tolist() == pytest.approx([0, 0.25, 1])


def test_the_largest_disagreements() -> None:
    found = imu.largest_disagreements(record([-4, -3, -2, -1]), record([-1, -3, -2, -4]), k=2)
    assert set(found["example"]) == {5, 8} and set(found["difference"]) == {3, -3}
    assert found.set_index("example")["difference"][5] == 3, "the first presses it most, the second least"
