"""The comparison that all other tests rest on: the largest value decides, and nothing passes by accident."""

from __future__ import annotations

import math

import cases
import numpy as np
import pandas as pd
import pytest
import torch


def test_the_largest_value_decides_for_all() -> None:
    assert cases.relative([7.5, 0.008402], [7.5, 0.008400]) == pytest.approx(2e-6 / 7.5)
    assert cases.relative([0.0, -4.0], [1.0, -4.0]) == 0.25
    assert cases.relative(3.0, 4.0) == 0.25 and cases.relative([[3.0, 5.0]], 4.0) == 0.25, "one number for all"


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, pd.Series, lambda values: torch.tensor(values).float()])
def test_every_kind_of_numbers_is_taken(kind) -> None:
    values = [1.0, -2.0, 4.0]
    assert cases.relative(kind(values), np.array([1.0, -2.0, 5.0])) == 0.2
    assert cases.close(kind(values), kind(values), within=0)


def test_tensors_that_are_part_of_a_graph_and_short_ones_are_taken() -> None:
    assert cases.close(torch.nn.Linear(2, 2).weight * 0, torch.zeros(2, 2))
    assert cases.close(torch.tensor([1.5], dtype=torch.bfloat16), [1.5], within=0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([1.0, 2.0], [1.0]),
        ([[1.0, 2.0]], [1.0, 2.0]),
        ([1.0, math.nan], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, math.nan]),
        ([math.inf], [-math.inf]),
        ([math.inf, 1.0], [1e300, 1.0]),
        ([1e-30], [0.0]),
    ],
)
def test_what_does_not_fit_is_never_close(found: list, expected: list) -> None:
    assert cases.relative(found, expected) == math.inf
    with pytest.raises(AssertionError):
        cases.close(found, expected, within=1e9)


def test_what_is_not_finite_alike_and_zeros_alike_are_equal() -> None:
    odd = [math.nan, math.inf, -math.inf, 2.0]
    assert cases.relative(odd, odd) == cases.relative([0.0], [0.0]) == cases.relative([], []) == 0
    assert cases.relative([math.nan, 2.0], [math.nan, 4.0]) == 0.5


def test_a_scale_can_be_given_where_the_values_tell_none() -> None:
    assert cases.close([1e-9], [0.0], within=1e-6, of=1.0)
    with pytest.raises(AssertionError):
        cases.close([1e-3], [0.0], within=1e-6, of=1.0)


def test_the_message_says_how_far_and_where() -> None:
    with pytest.raises(AssertionError, match=r"0.2 of the largest value apart, 1e-06 is allowed; most at \[1\]: 4.*5"):
        cases.close([1.0, 4.0], [1.0, 5.0])


def test_each_column_is_a_quantity_of_its_own() -> None:
    table = pd.DataFrame({"example": [1, 2], "label": ["a", "b"], "loss": [1e-3, 2e-3], "norm": [1e3, 2e3]})
    assert cases.close(table, table.assign(norm=[1e3, 2e3 + 1e-4]))
    with pytest.raises(AssertionError, match="loss: "):
        cases.close(table.assign(loss=[1.1e-3, 2e-3]), table)
    with pytest.raises(AssertionError, match="label: "):
        cases.close(table.assign(label=["a", "c"]), table)
    for other in (table.rename(columns={"loss": "lss"}), table.iloc[::-1]):
        with pytest.raises(AssertionError):
            cases.close(other, table)
    assert cases.close({"a": 1.0, "b": 1e-9}, {"a": 1.0, "b": 1e-9})
    with pytest.raises(AssertionError, match="b: "):
        cases.close({"a": 1.0, "b": 1e-9}, {"a": 1.0, "b": 2e-9})
