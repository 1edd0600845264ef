"""What is kept is kept by content, up to a limit, and can be forgotten."""

from __future__ import annotations

import gc

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.core import memo
from imu_lab.core.memo import Memo, remembered


def test_equal_keys_are_one_value_and_the_one_not_used_for_longest_goes_first() -> None:
    kept: Memo[str] = Memo(2)
    kept.put("a", "1")
    kept.put("b", "2")
    assert kept.get("a") == "1"
    kept.put("c", "3")
    assert kept.get("b") is None and (kept.get("a"), kept.get("c")) == ("1", "3") and kept.size == 2


def test_the_newest_value_that_fits_is_found_and_stays_longest() -> None:
    kept: Memo[str] = Memo(2)
    kept.put("a", "odd")
    kept.put("b", "odd")
    assert kept.find(lambda key, value: value == "odd") == "odd" and kept.find(lambda key, value: key == "c") is None
    assert kept.find(lambda key, value: key == "a") == "odd"
    kept.put("c", "even")
    assert "a" in kept and "b" not in kept


def test_a_limit_may_count_bytes_and_the_newest_value_stays_in_any_case() -> None:
    kept: Memo[np.ndarray] = Memo(100, lambda value: value.nbytes)
    kept.put(1, np.zeros(10, np.int64))
    assert kept.size == 80
    kept.put(2, np.zeros(50, np.int64))
    assert kept.get(1) is None and kept.size == 400


def test_a_remembered_function_is_asked_once_per_arguments_and_none_is_an_answer() -> None:
    asked: list[tuple] = []

    @remembered(2)
    def answer(first: int, second: int = 0) -> None:
        asked.append((first, second))

    answer(1)
    answer(1)
    answer(1, second=2)
    answer(1, second=2)
    assert asked == [(1, 0), (1, 2)]


def test_what_raises_is_not_remembered() -> None:
    asked: list[int] = []

    @remembered(2)
    def fails(value: int) -> int:
        asked.append(value)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            fails(1)
    assert asked == [1, 1]


def test_clear_caches_empties_every_memo_and_changes_no_answer() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    imu.clear_caches()  # features that another test asked for in other batches are rounded otherwise
    before = imu.influence(task, model).values
    assert any(each.size for each in memo._memos)
    imu.clear_caches()
    gc.collect()
    assert [each.size for each in memo._memos if each.size] == []
    assert np.array_equal(imu.influence(task, model).values, before)
