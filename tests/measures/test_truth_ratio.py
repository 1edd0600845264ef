"""Truth ratios beside the retrained model's: curves and Kolmogorov-Smirnov distances by hand, and words of strangers."""

from __future__ import annotations

import math

import cases
import languages
import numpy as np
import pandas as pd
import pytest
from languages import models, tiny

import imu_lab as imu
from imu_lab.measures.truth_ratio import beside


def table(*ratios: float) -> pd.DataFrame:
    return pd.DataFrame({"example": range(len(ratios)), "author": "A", "truth_ratio": ratios})


def test_the_distance_by_hand() -> None:
    """Of four ratios three lie below 1, of the retrained model's one: the curves are half apart, from 0.5 on."""
    found = beside({"now": table(0.1, 0.5, 0.5, 2.0)}, {"retrained": table(0.2, 1.5, 2.0, 3.0)})
    (row,) = found.distances.itertuples()
    assert (row.model, row.ks_distance, row.farthest) == ("now", 0.5, 0.5)
    curve = found.pairs[found.pairs["model"] == "now"]
    assert curve["share"].tolist() == [0.25, 0.75, 0.75, 1.0] and curve["truth_ratio"].is_monotonic_increasing
    assert math.isnan(found.noise_floor)


def test_the_noise_floor_is_the_mean_over_pairs_of_retrained_models() -> None:
    retrained = {"a": table(1.0, 2.0), "b": table(1.0, 5.0), "c": table(6.0, 7.0)}
    found = beside({"now": table(0.1, 0.2)}, retrained)
    assert found.noise_floor == pytest.approx((0.5 + 1.0 + 1.0) / 3)
    assert found.distances["ks_distance"].tolist() == [1.0] and found.retrained == ("a", "b", "c")


def test_rows_without_a_ratio_are_left_out_and_none_is_no_number() -> None:
    found = beside({"now": table(np.nan, 1.0), "none": table()}, {"retrained": table(1.0)})
    assert found.distances["ks_distance"].tolist()[0] == 0.0 and math.isnan(found.distances["ks_distance"][1])
    assert found.pairs["model"].tolist() == ["now", "retrained"]
    assert beside({}, {}).pairs.empty and "no model" in repr(beside({}, {}))


def test_they_are_the_ratios_of_the_task_and_the_metrics_distance() -> None:
    task, (original, retrained) = tiny(), models()
    found = imu.truth_ratios(task, {"original": original, "same": retrained}, retrained)
    ids = task.split("forget-perturbed").ids.tolist()
    mine = found.pairs[found.pairs["model"] == "original"].set_index("example").loc[ids, "truth_ratio"]
    assert cases.close(mine.to_numpy(), task.truth_ratios(original, "forget").numpy())
    metric = imu.metrics.create("forget-quality")(task, original, retrained)["forget"]
    first = found.distances.set_index("model").loc["original"]
    assert first["ks_distance"] == metric["ks_distance"] and first["forget_quality"] == metric["forget_quality"]
    assert found.distances["ks_distance"][1] == 0.0


def test_what_it_refuses() -> None:
    task, (original, retrained) = tiny(), models()
    with pytest.raises(TypeError, match="questions and answers"):
        imu.truth_ratios(cases.task("toy"), {}, cases.original("toy"))
    with pytest.raises(TypeError, match="named"):
        imu.truth_ratios(task, original, retrained)
    with pytest.raises(ValueError, match="called"):
        imu.truth_ratios(task, {"retrained": original}, retrained)
    bare = languages.tiny(data=without_wrong(), forget_pairs=(0,))
    with pytest.raises(ValueError, match="wrong answers"):
        imu.truth_ratios(bare, {"now": original}, retrained)


def without_wrong() -> object:
    from imu_lab.tasks.sources import pairs

    return pairs.supplied([{"question": f"Q{at}", "answer": f"{at}"} for at in range(3)])
