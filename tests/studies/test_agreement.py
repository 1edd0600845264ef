"""Agreement of estimators, draws and runs, against numbers by hand."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from figures import records
from torchvision.transforms import v2

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
    assert cases.close(np.diag(found), 1, within=1e-5) and list(imu.rank_correlations([one, one])) == [
        "some",
        "some (2)",
    ]


def test_a_comparison_of_different_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' hold other samples than 'a'"):
        imu.rank_correlations({"a": record([1, 2]), "b": record([1, 2, 3])})
    with pytest.raises(ValueError, match="two influences or more, got 1"):
        imu.rank_correlations([record([1, 2])])


def test_where_damping_makes_the_metric_do_nothing() -> None:
    plain = np.array([-1.0, -2.0, -3.0, -4.0, 1.0])
    noise = np.array([0.5, -1.0, 0.2, 0.9, -0.7])
    sweep = {d: record(plain + noise / d, gradient_dot=plain) for d in (100.0, 0.1, 1.0, 10.0)}
    found = damping_effect(sweep)
    assert found["damping"].tolist() == [0.1, 1.0, 10.0, 100.0] and found["correlation"].iloc[-1] > 0.9999
    assert found["indifferent"].tolist() == [False, False, True, True]
    assert not damping_effect({0.1: sweep[0.1]})["indifferent"].any()
    with pytest.raises(ValueError, match="no gradient_dot"):
        damping_effect({1.0: record(plain)})


def test_the_largest_disagreements() -> None:
    found = imu.largest_disagreements(record([-4, -3, -2, -1]), record([-1, -3, -2, -4]), k=2)
    assert set(found["example"]) == {5, 8} and set(found["difference"]) == {3, -3}
    assert found.set_index("example")["difference"][5] == 3, "the first presses it most, the second least"


def test_each_samples_place_by_hand() -> None:
    found = imu.stability([records.influence([-3, -2, 1]), records.influence([-3, -1, -2])])
    assert found["mean"].tolist() == [-3, -1.5, -0.5] and found["negative"].tolist() == [1, 1, 0.5]
    assert found["rank_deviation"].tolist() == [0, 0.5, 0.5]


def test_equal_draws_agree_and_random_ones_do_not() -> None:
    random = np.random.default_rng(1)
    same = [records.influence(np.arange(50.0)) for _ in range(3)]
    noise = [records.influence(random.normal(size=50)) for _ in range(3)]
    found = imu.rank_stability({"same": same, "noise": noise}, resamples=200).set_index("estimator")
    assert cases.close(found.loc["same", ["spearman", "low", "high"]].tolist(), [1, 1, 1])
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
    found = imu.rank_agreement(table(random.normal(size=(5, 120)) + random.normal(size=120)), draws=200)
    assert found.low < found.kendalls_w < found.high and found.high - found.low < 0.3
    assert (found.runs, found.samples, found.by_chance) == (5, 120, 0.2)
    noise = imu.rank_agreement(table(random.normal(size=(5, 400))), draws=200)
    assert noise.low < 0.2 < noise.high, "independent rankings are at chance level, also under resampling"


def test_only_samples_in_every_run_count_and_too_few_are_refused() -> None:
    known = table(np.random.default_rng(2).normal(size=(2, 5)))
    known.loc[0, "rank"] = np.nan
    assert imu.rank_agreement(known, draws=10).samples == 4
    with pytest.raises(ValueError, match="got 1 and 5"):
        imu.rank_agreement(table(np.ones((1, 5))))


def test_who_had_nothing_to_withstand_is_excluded_and_counted() -> None:
    known = table(np.tile(np.arange(8.0), (3, 1))).assign(pressed=True, wrong_before=False)
    known.loc[(known["number"] == 1) & (known["example"] < 2), ["rank", "pressed"]] = [[9.0, False], [7.5, False]]
    known.loc[(known["number"] == 2) & (known["example"] == 5), ["rank", "wrong_before"]] = [-1.0, True]
    found = imu.rank_agreement(known, draws=10)
    assert (found.kendalls_w, found.samples, found.excluded) == (pytest.approx(1), 5, 3)
    uniform = imu.rank_agreement(known.rename(columns={"rank": "uniform_rank"}), "uniform_rank", draws=10)
    assert (uniform.samples, uniform.excluded) == (7, 1), "under uniform pressure everybody was pressed"


def test_agreement_by_construction_is_not_counted() -> None:
    random = np.random.default_rng(0)
    ranks = random.permuted(np.tile(np.arange(40.0), (4, 1)), axis=1)
    ranks[:, :8] = -1
    known = table(ranks).assign(wrong_before=lambda rows: rows["example"] < 8)
    assert imu.rank_agreement(known.drop(columns="wrong_before"), draws=10).kendalls_w > 0.5
    assert imu.rank_agreement(known, draws=10).kendalls_w < 0.4


def test_never_forgotten_is_latest_and_unknown_is_not_never() -> None:
    times = np.array([[1.0, 2, 3, np.nan, np.nan], [1.0, 2, 3, np.nan, np.nan]])
    for column, mark in (("time_to_forget", "censored"), ("rebound", "rebound_censored")):
        known = table(times).rename(columns={"rank": column})
        found = imu.rank_agreement(known.assign(**{mark: known[column].isna()}), column, draws=10)
        assert (found.kendalls_w, found.samples) == (pytest.approx(1), 5)
        assert imu.rank_agreement(known.assign(**{mark: False}), column, draws=10).samples == 3
    below = table(times).rename(columns={"rank": "time_below_retrained"})
    assert imu.rank_agreement(below, "time_below_retrained", draws=10).samples == 5
    for name in ("time_below_retrained", "rebound"):
        nothing = table(np.full((2, 5), np.nan)).rename(columns={"rank": name}).assign(rebound_censored=False)
        with pytest.raises(ValueError, match="got 0 and 0|got 2 and 0"):
            imu.rank_agreement(nothing, name)


def test_what_cannot_be_ranked_says_so() -> None:
    with pytest.raises(KeyError, match="unknown column to rank by: 'ranks'"):
        imu.rank_agreement(table(np.ones((2, 5))), "ranks")
    with pytest.raises(ValueError, match="all 5 samples have the same 'rank' in run 0"):
        imu.rank_agreement(table(np.ones((2, 5))))
