"""What a method yields is checked at once, in words: a slip of a user's ends in no foreign traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cases
import pytest
import torch
import user_tasks

import imu_lab as imu

COUNT = 40  # samples to forget on the blobs


@dataclass(frozen=True)
class Scripted:
    """A method that makes no change and yields what a test gives it."""

    gives: Callable[[imu.Request], Any]

    def __call__(self, task: Any, model: torch.nn.Module, request: imu.Request) -> Any:
        return self.gives(request)


def run(gives: Callable[[imu.Request], Any]) -> imu.Run:
    """Two updates of a scripted method."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), method=Scripted(gives), steps=2)


def for_ever(update: Any) -> Callable[[imu.Request], Iterator[Any]]:
    """A generator of the same thing."""

    def gives(request: imu.Request) -> Iterator[Any]:
        while True:
            yield update

    return gives


@pytest.mark.parametrize(("gives", "came"), [
    (lambda request: None, "returned None"),
    (lambda request: [imu.Update()], r"returned \[Update"),
    (lambda request: 0.5, "returned 0.5"),
])  # fmt: skip
def test_a_method_that_is_no_generator_is_told_what_is_expected(gives: Callable, came: str) -> None:
    with pytest.raises(TypeError, match=f"method 'Scripted' must be a generator.*for ever; it {came}.*imu.descend"):
        run(gives)


@pytest.mark.parametrize("update", [0.5, {"loss": 1.0}, "done", (1, 2)])
def test_what_is_no_update_is_told_apart(update: Any) -> None:
    with pytest.raises(
        TypeError, match="method 'Scripted' must yield an imu.Update or None after each update; it gave"
    ):
        run(for_ever(update))


@pytest.mark.parametrize("terms", [{"loss": "high"}, {"loss": torch.ones(2)}, [1.0], {"loss": None}])
def test_terms_are_named_numbers(terms: Any) -> None:
    with pytest.raises(TypeError, match="the terms of an update are named numbers; method 'Scripted' gave"):
        run(for_ever(imu.Update(terms)))


@pytest.mark.parametrize("positions", [[0, COUNT], [-1, 0], [100, 101], [0.0, 1.0], [True, False]])
def test_positions_outside_the_forget_set_are_refused(positions: list) -> None:
    update = imu.Update({}, torch.tensor(positions), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=f"from 0 to {COUNT - 1}; method 'Scripted' gave .*no ids of the training set"):
        run(for_ever(update))


def test_each_position_has_its_share() -> None:
    update = imu.Update({}, torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"positions of shape \(3,\) and shares of \(2,\)"):
        run(for_ever(update))


def test_a_slip_in_a_later_update_is_found_too() -> None:
    def gives(request: imu.Request) -> Iterator[Any]:
        yield imu.Update({}, torch.tensor([0]), torch.tensor([1.0]))
        yield imu.Update({}, torch.tensor([COUNT]), torch.tensor([1.0]))

    with pytest.raises(ValueError, match="from 0 to 39"):
        run(gives)


def test_lists_numbers_and_left_out_shares_are_understood() -> None:
    made = run(for_ever(imu.Update({"loss": torch.tensor(2.0), "count": 3}, [0, 4])))
    assert made.samples["pressure"].tolist()[:5] == [1.0, 0, 0, 0, 1.0]
    assert made.terms["value"].tolist() == [2.0, 3.0, 0.0, 2.0, 3.0, 0.0], "the last is how many examples it read"


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("split", ["retain", "train", "test"])
def test_what_a_method_did_not_declare_it_does_not_see(split: str, cache: bool) -> None:
    """Else a comparison would say of it that it needs the forget set alone."""

    @dataclass(frozen=True)
    class Peeking(imu.Descent):
        own: bool = False
        needs_retain = property(lambda self: self.own)

        def __call__(self, task: Any, model: torch.nn.Module, request: imu.Request) -> Iterator[Any]:
            seen = task.split("forget"), task.split(split)
            assert len(seen[0]) == len(request.forget) and len(seen[1])
            yield imu.Update()

    def peek(own: bool) -> imu.Run:
        how = Peeking(own=own)
        return imu.unlearn(cases.task("toy"), cases.original("toy"), method=how, steps=1, cache=cache)

    with pytest.raises(ValueError, match=f"method 'Peeking' asked for the '{split}' split, .*needs_retain"):
        peek(own=False)
    assert imu.compare(peek(own=True))["needs"][0] == "retain data"


def test_what_a_task_reads_of_its_own_data_is_no_peeking() -> None:
    @dataclass(frozen=True)
    class Weighted(user_tasks.Own):
        """Each loss counts by how rare its class is in the training set."""

        def example_loss(self, forward: Callable, batch: Any) -> torch.Tensor:
            counts = torch.bincount(self.split("train").batch().targets)
            return super().example_loss(forward, batch) / counts[batch.targets]

    task = Weighted()
    run = imu.unlearn(task, task.make_model(0), method="gradient-ascent", steps=1, lr=0.1)
    assert run.events["steps"] == 1


def test_nothing_said_is_nothing_known() -> None:
    made = run(for_ever(None))
    assert made.samples["pressure"].isna().all() and made.events["steps"] == 2
    assert made.terms["term"].tolist() == ["examples"] * 2, "which is counted, and not said"


def test_weights_that_have_seen_the_training_set_are_told() -> None:
    task, model = cases.task("toy"), cases.original("toy")

    def of(**how: Any) -> imu.Intensity:
        return imu.intensity(imu.influence(task, model, **how), "softmax")

    expected = {
        "statistic": [
            imu.joint_intensity(task, model),
            of(estimator="curvature", curvature="train"),
            of(target="train"),
        ],
        "forget set": [None, imu.joint_intensity(task, model, curvature="forget"), of(estimator="curvature"), of()],
        "retain data": [of(target="retain"), of(estimator="exact", curvature="retain")],
    }
    for words, several in expected.items():
        runs = [imu.unlearn(task, model, weights, steps=1, lr=0.01) for weights in several]
        assert imu.compare(runs)["needs"].tolist() == [words] * len(runs) + ["nothing"]
    turned = imu.unlearn(task, model, of(), method="curvature-ascent", steps=1, lr=0.01)
    unused = imu.unlearn(task, model, imu.joint_intensity(task, model), method="delete", steps=1, lr=0.01)
    assert imu.compare([turned, unused])["needs"].tolist() == ["statistic", "forget set", "nothing"]
