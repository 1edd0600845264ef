"""A metric of a user's: what it may return, what is refused, and how its values come to have a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.core.quantities import describe


@dataclass(frozen=True)
class Scripted:
    """Returns what a test gives it."""

    gives: Callable[[], Any]

    def __call__(self, task: Any, model: torch.nn.Module, reference: Any) -> Any:
        return self.gives()


def run(gives: Callable[[], Any]) -> imu.Run:
    """One update that follows a scripted metric."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, follow=[Scripted(gives)])


@pytest.mark.parametrize(("found", "came"), [
    ({"score": 0.3}, r"it gave \{'score': 0.3\}"),
    (0.3, "it gave 0.3"),
    (None, "it gave None"),
    ([("forget", {"score": 0.3})], r"it gave \[\('forget'"),
    ({"forget": {"score": "good"}}, "under 'forget' 'score' is 'good', which is no number"),
    ({"forget": {"score": None}}, "'score' is None"),
    ({"forget": {"score": [1.0]}}, r"'score' is \[1.0\]"),
    ({"forget": {"score": torch.zeros(3)}}, r"'score' is tensor"),
    ({"forget": {"score": np.zeros(1)}}, r"'score' is array"),
    ({"forget": {"score": 1j}}, "'score' is 1j"),
    ({"forget": {"fine": 1.0}, "retain": {"score": {}}}, "under 'retain' 'score' is {}"),
])  # fmt: skip
def test_what_is_no_table_of_numbers_is_refused_with_what_is_expected(found: Any, came: str) -> None:
    expected = (
        r'metric \'Scripted\' must return \{split: \{name: number\}\}, such as \{"forget": \{"Scripted": 0.5\}\}; '
    )
    with pytest.raises(TypeError, match=expected + ".*" + came if came.startswith("'") else expected + came):
        run(lambda: found)


@pytest.mark.parametrize(("split", "meant"), [("retian", "retain"), ("forgets", "forget"), ("tests", "test")])
def test_a_split_that_was_probably_misspelt_is_told_once(split: str, meant: str) -> None:
    """Its values would stand in a split of their own, and nothing in that which was meant."""
    with pytest.warns(UserWarning, match=f"'Scripted' gives values on '{split}', .* Did you mean '{meant}'") as told:
        run(lambda: {split: {"score": 0.5}})
    assert len(told) == 1


@pytest.mark.parametrize("split", ["train", "forget", "strangers"])
def test_a_split_of_its_own_is_nothing_to_tell(split: str) -> None:
    assert run(lambda: {split: {"score": 0.5}}).value(split, "score") == 0.5


@pytest.mark.parametrize("name", ["accuracy", "loss", "score"])
def test_a_value_stands_in_no_others_place(name: str) -> None:
    """Else a metric of a user's would decide when a run has forgotten, or collapsed."""
    own = Scripted(lambda: {"forget": {name: 0.5}})
    others = [Scripted(lambda: {"forget": {"score": 1.0}})]
    with pytest.raises(
        ValueError, match=f"metric 'Scripted' gives '{name}' on 'forget', which is measured there already"
    ):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, follow=[*others, own])


@pytest.mark.parametrize("value", [1, True, 0.5, np.float32(0.5), np.int64(3), torch.tensor(0.5), np.array(0.5)])
def test_numbers_of_every_kind_are_understood(value: Any) -> None:
    made = run(lambda: {"forget": {"score": value}, "elsewhere": {"score": 2 * value}})
    assert made.value("forget", "score") == float(value) and made.value("elsewhere", "score") == 2 * float(value)
    assert made.curve["value"].dtype == np.float64


@pytest.fixture
def registered() -> Iterator[None]:
    """Two metrics of a user's, one of which names several values."""

    @imu.metric("one-number", unit="logits", good="high on retain", title="My number")
    @dataclass(frozen=True)
    class One:
        """The largest logit,
        averaged. No more than that.

        With a second paragraph.
        """

        def __call__(self, task: Any, model: torch.nn.Module, reference: Any) -> dict:
            return {"forget": {"largest_logit": 1.0}, "retain": {"largest_logit": 2.0}}

    @imu.metric("several", unit="shares", title="parts")
    @dataclass(frozen=True)
    class Several:
        def __call__(self, task: Any, model: torch.nn.Module, reference: Any) -> dict:
            return {"forget": {"part_a": 1.0, "part_b": 2.0}, "elsewhere": {"accuracy": 0.5}}

    yield
    imu.metrics.unregister("one-number")
    imu.metrics.unregister("several")


def test_values_mean_what_the_decorator_says(registered: None) -> None:
    assert describe("one_number").title == describe("one-number").title == "My number"
    before = describe("accuracy")
    imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, follow=["one-number", "several"])
    about = describe("largest_logit")
    assert about.title == "My number" and about.unit == "logits" and about.good == "high on retain"
    assert about.meaning == "the largest logit, averaged. No more than that"
    assert [describe(f"part_{name}").title for name in "ab"] == ["parts, part a", "parts, part b"]
    assert describe("part_a").unit == "shares" and describe("part_a").meaning == describe("part_a").good == ""
    assert describe("accuracy") == before, "what the tasks' own metrics mean is not for a metric to change"


def test_a_metric_registered_again_means_what_it_says_now(registered: None) -> None:
    @imu.metric("one-number")
    @dataclass(frozen=True)
    class Bare:
        def __call__(self, task: Any, model: torch.nn.Module, reference: Any) -> dict:
            return {"forget": {"largest_logit": 1.0}}

    imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, follow=["one-number"])
    assert describe("one_number") == ("one number", "", "", "", None)
    assert describe("largest_logit") == ("largest logit", "", "", "", None)


def test_the_built_in_metrics_mean_something_before_anything_is_measured() -> None:
    found = {name: describe(name.replace("-", "_")) for name in imu.metrics if name != "transitions"}
    assert {"kl-retrained", "js-retrained", "agreement"} <= set(found)
    assert all(about.title and about.unit and about.good and about.meaning for about in found.values())
    assert describe("transitions").unit == "probability"
