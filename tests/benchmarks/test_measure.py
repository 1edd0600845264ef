"""The benchmarks' own instruments."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
import torch

import benchmarks
from benchmarks.__main__ import HARNESS
from benchmarks.measure import Row, allocated_mib, seconds


def test_the_peak_counts_what_is_held_together() -> None:
    def together() -> None:
        kept = [torch.zeros(2**18) for _ in range(3)]  # a MiB each
        del kept

    def in_turn() -> None:
        for _ in range(3):
            torch.zeros(2**18)

    assert allocated_mib(together) == pytest.approx(3, abs=0.01)
    assert allocated_mib(in_turn) == pytest.approx(1, abs=0.01)


def test_rivals_take_turns_and_the_median_counts() -> None:
    clock, calls = iter(range(100)), []
    found = seconds(lambda: calls.append("a"), lambda: calls.append("b"), rounds=2, clock=lambda: next(clock))
    assert calls == ["a", "b"] * 3 and found == [1, 1]


def test_untimed_calls_come_before_each_turn() -> None:
    clock, calls = iter(range(100)), []
    found = seconds(
        lambda: calls.append("a"), lambda: calls.append("b"), rounds=1, warmup=0, clock=lambda: next(clock), settle=2
    )
    assert calls == ["a"] * 3 + ["b"] * 3 and found == [1, 1]


def test_a_row_says_whether_it_meets_its_target() -> None:
    assert str(Row("what", 2.0, 2.3)) == "ok   what: 2 x (target ≤ 2.3 x)"
    assert "MISS" in str(Row("what", 2.0, 3.0, least=True))


def test_every_benchmark_that_runs_by_default_has_rows() -> None:
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name not in HARNESS:
            assert callable(import_module(f"benchmarks.{module.name}").rows)
