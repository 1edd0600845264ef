"""Weights that a user gives: they belong to samples, whatever order they come in, and are weights or are refused."""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu

HOW = dict(steps=3, lr=0.1, batch_size=1000)


def made() -> imu.Intensity:
    return imu.intensity(imu.influence(cases.task("toy"), cases.original("toy")))


def unlearned(weights: object) -> imu.Run:
    return imu.unlearn(cases.task("toy"), cases.original("toy"), weights, **HOW)


def test_a_record_that_was_sorted_presses_the_same_samples() -> None:
    weights = made()
    other = replace(weights, frame=weights.frame.sort_values("weight"))
    assert other.frame["example"].tolist() != weights.frame["example"].tolist()
    first, second = unlearned(weights), unlearned(other)
    assert first.samples.equals(second.samples) and cases.same(cases.frozen(first.model), second.model)


def test_a_record_whose_weights_were_scaled_sums_to_1_again() -> None:
    weights = made()
    run = unlearned(replace(weights, frame=weights.frame.assign(weight=3 * weights.values)))
    assert cases.close(run.samples["weight"].to_numpy(), weights.values, within=1e-12)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "that of example 3 is nan"), (-1.0, "is -1"), (np.inf, "is inf")])
def test_a_record_with_a_weight_that_is_none_is_refused(value: float, said: str) -> None:
    weights = made()
    frame = weights.frame.assign(weight=np.where(np.arange(len(weights)) == 3, value, weights.values))
    with pytest.raises(ValueError, match=said):
        unlearned(replace(weights, frame=frame))
    with pytest.raises(ValueError, match="in this record all are 0"):
        unlearned(replace(weights, frame=weights.frame.assign(weight=0.0)))


def test_a_column_in_another_order_than_the_forget_set_is_refused() -> None:
    weights = made()
    column, by_example = weights.frame["weight"], weights.frame.set_index("example")["weight"]
    for each in (column, by_example):
        assert cases.close(unlearned(each).samples["weight"].to_numpy(), weights.values, within=1e-12)
        with pytest.raises(ValueError, match="in the order of the forget set, and the index of this column"):
            unlearned(each.sort_values())
    assert unlearned(column.sort_values().to_numpy()).samples["weight"].is_monotonic_increasing


def test_the_samples_themselves_are_no_weights() -> None:
    ids = cases.task("toy").split("forget").ids
    for given in (ids, ids.numpy(), ids.flip(0), ids.tolist(), pd.Series(ids.numpy())):
        with pytest.raises(ValueError, match="weights are the numbers of the samples to forget"):
            unlearned(given)
    assert unlearned(ids.double() + 1).samples["weight"].is_monotonic_increasing
    assert len(unlearned(ids + 1).samples) == len(ids)


@pytest.mark.parametrize("form", [{"dtype": torch.bfloat16}, {"requires_grad": True}], ids=["half", "with a gradient"])
def test_weights_may_be_any_tensor(form: dict) -> None:
    weights = torch.ones(len(made()), **form)
    assert unlearned(weights).samples["weight"].nunique() == 1


@pytest.mark.filterwarnings("error")
def test_weights_whose_sum_is_no_number_still_sum_to_1() -> None:
    """Divided by an infinite sum all of them would be 0, and the run would do nothing."""
    count = len(cases.task("toy").split("forget"))
    sizes = np.linspace(1, 2, count)
    wanted = unlearned(sizes).samples["weight"]
    record = made()
    large = replace(record, frame=record.frame.assign(weight=sizes * 8e307))
    for given in (sizes * 8e307, large):
        found = unlearned(given).samples["weight"]
        assert cases.close(found.to_numpy(), wanted.to_numpy()) and found.sum() == pytest.approx(1)
    scores = imu.influence(cases.task("toy"), cases.original("toy"))
    huge = replace(scores, frame=scores.frame.assign(influence=-sizes * 8e307))
    assert imu.intensity(huge, "linear").values.sum() == pytest.approx(1)
