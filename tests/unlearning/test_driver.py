"""How a run stops: asked, at a target, at divergence, by an interrupt. What it leaves is always whole."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Recipe, Toy
from imu_lab.unlearning import driver
from imu_lab.unlearning.driver import StopRule, stop_rule
from imu_lab.unlearning.recorder import Recorder
from imu_lab.unlearning.request import Request, Update

MEASURED = {"forget": {"accuracy": 0.3, "loss": 1.0}, "test": {"accuracy": 0.9}}


@pytest.mark.parametrize(("given", "expected"), [
    (None, None),
    (0.1, StopRule("accuracy", "<=", 0.1)),
    (0, StopRule("accuracy", "<=", 0.0)),
    (np.float64(0.1), StopRule("accuracy", "<=", 0.1)),
    ("retrained", StopRule("accuracy", "<=", 0.3)),
    (("loss", ">=", 2), StopRule("loss", ">=", 2.0)),
    (["loss", ">", 2], StopRule("loss", ">", 2.0)),
    (("test accuracy", "<", 0.5), StopRule("accuracy", "<", 0.5, "test")),
])  # fmt: skip
def test_forms_of_a_stop_rule(given: object, expected: StopRule | None) -> None:
    assert stop_rule(given, MEASURED) == expected


@pytest.mark.parametrize("given", ["soon", ("loss", "=", 1), ("loss", "<="), True, {"loss": 1}, [0.1]])
def test_what_is_no_rule_is_refused_with_the_forms(given: object) -> None:
    with pytest.raises(ValueError, match="stop_at must be a forget accuracy, \"retrained\", or .*'<=', '<', '>=', '>'"):
        stop_rule(given, MEASURED)


def test_retrained_without_a_reference_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r'pass reference=imu.train\(task, "retain"\)'):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, stop_at="retrained")


@pytest.mark.parametrize(("operator", "value", "met"), [
    ("<=", 0.3, True), ("<", 0.3, False), (">=", 0.3, True), (">", 0.3, False), ("<", 0.31, True), (">", 0.29, True),
])  # fmt: skip
def test_comparisons(operator: str, value: float, met: bool) -> None:
    assert StopRule("accuracy", operator, value)(MEASURED) is met


def test_an_unknown_metric_to_stop_at_is_refused_before_any_update() -> None:
    with pytest.raises(imu.UnknownName, match="metric on 'forget' to stop at: 'acuracy'. Did you mean 'accuracy'"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, stop_at=("acuracy", "<=", 0.1))


def test_a_run_stops_at_the_first_update_that_meets_the_rule() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    free = imu.unlearn(task, model, steps=30, lr=0.01)
    line = free.series("forget", "accuracy")
    target = float(line.iloc[12])
    first = int(line.index[line <= target][0])
    stopped = imu.unlearn(task, model, steps=30, lr=0.01, stop_at=target)
    assert 0 < first <= 12
    assert stopped.events["stopped_at"] == stopped.events["steps"] == stopped.steps[-1] == first
    pd_free = free.curve[free.curve["step"] <= first].reset_index(drop=True)
    assert stopped.curve.equals(pd_free) and len(stopped.terms["step"].unique()) == first


def test_a_rule_that_the_original_meets_stops_before_any_update() -> None:
    with pytest.warns(
        UserWarning, match=r"made no update: stop_at=1.0 was met before the first, with accuracy 1 .* share"
    ):
        run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=5, stop_at=1.0)
    assert run.events["stopped_at"] == 0 and run.steps.tolist() == [0]
    assert torch.equal(run.model[2].weight, cases.original("toy")[2].weight)


def test_a_rule_that_is_never_met_runs_all_steps() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=3, stop_at=("loss", ">", 1e9))
    assert run.events["stopped_at"] is None and run.events["steps"] == 3


def test_stopping_at_the_retrained_models_forget_accuracy() -> None:
    task, reference = cases.task("toy"), cases.retrained("toy")
    run = imu.unlearn(task, cases.original("toy"), steps=300, stop_at="retrained", reference=reference)
    assert run.value("forget", "accuracy") <= task.evaluate(reference, "forget")["accuracy"]
    assert run.events["stopped_at"] == run.steps[-1]


@pytest.mark.parametrize(("steps", "every", "recorded"), [
    (0, 1, [0]), (5, 1, [0, 1, 2, 3, 4, 5]), (5, 2, [0, 2, 4, 5]), (6, 3, [0, 3, 6]), (2, 10, [0, 2]),
])  # fmt: skip
def test_which_updates_are_recorded(steps: int, every: int, recorded: list[int]) -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=steps, record_every=every)
    assert run.steps.tolist() == recorded and run.trajectory["step"].unique().tolist() == recorded
    assert sorted(run.terms["step"].unique()) == list(range(1, steps + 1))


def test_recording_less_changes_nothing_else() -> None:
    often, seldom = (imu.unlearn(cases.task("toy"), cases.original("toy"), steps=6, record_every=k) for k in (1, 4))
    assert torch.equal(often.model[2].weight, seldom.model[2].weight)
    assert often.value("test", "accuracy") == seldom.value("test", "accuracy")


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["toy", "digits fraction", "language"])
def test_a_loss_is_looked_at_between_two_records(name: str) -> None:
    """Who looks seldom ends at the same update as who looks at each, in the same state."""
    task, model = cases.task(name), cases.original(name)
    path = imu.unlearn(task, model, steps=7, seed=3).series("forget", "loss")
    goal = ("loss", ">=", (path[4] + path[5]) / 2)
    assert path[:5].max() < goal[2] < path[5], "the loss rises, or nothing is tested"
    often, seldom, past = (imu.unlearn(task, model, steps=7, seed=3, stop_at=goal, record_every=k) for k in (1, 100, 3))
    assert often.events["stopped_at"] == seldom.events["stopped_at"] == past.events["stopped_at"] == 5
    assert seldom.steps.tolist() == [0, 5] and past.steps.tolist() == [0, 3, 5]
    assert cases.close(seldom.value("forget", "loss"), often.value("forget", "loss"))
    for one, other in zip(often.model.parameters(), seldom.model.parameters()):
        assert torch.equal(one, other)


# Divergence.


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("how", [
    {"method": "imu", "lr": 1e30},
    {"method": "imu", "lr": 1e30, "optimizer": "adamw"},
    {"method": "gradient-ascent", "lr": 1e30, "scope": "all"},
], ids=lambda how: how.get("scope", how.get("optimizer", "sgd")))  # fmt: skip
def test_a_run_that_diverges_stops_warns_and_keeps_the_last_finite_model(how: dict, every: int) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    before = cases.frozen(model)
    with pytest.warns(UserWarning, match=r"the run diverged at update \d+: .* with lr=1e\+30"):
        run = imu.unlearn(task, model, steps=200, record_every=every, **how)
    assert cases.same(before, model)
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())
    last = run.events["diverged_at"] - 1
    assert run.events["steps"] == run.steps[-1] == last
    assert run.value("forget", "accuracy") == task.evaluate(run.model, "forget")["accuracy"]
    assert run.events["stopped_at"] is None


def test_a_diverging_retraining_stops_by_itself_too() -> None:
    @dataclass(frozen=True)
    class Wild(Toy):
        """Blobs with a recipe that cannot work."""

        recipe = Recipe(epochs=5, lr=1e30, batch_size=16)

    with pytest.warns(UserWarning, match="the run diverged at update 1: retrain"):
        run = imu.unlearn(Wild(), cases.original("toy"), method="retrain", steps=5)
    assert all(torch.isfinite(value).all() for value in run.model.parameters())
    assert run.steps.tolist() == [0]
    assert run.value("forget", "accuracy") == cases.task("toy").evaluate(run.model, "forget")["accuracy"]


def test_a_diverged_run_can_be_saved_and_read(tmp_path) -> None:
    with pytest.warns(UserWarning, match="diverged"):
        run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=50, lr=1e30)
    again = imu.load_run(run.save(tmp_path / "a.imu"))
    assert again.events == run.events


# Methods of a user's own.


@dataclass(frozen=True)
class Nudges:
    """Adds 1 to every weight of the readout; ends, or is interrupted, at a given update."""

    end: int | None = None
    interrupt: int | None = None

    def __call__(self, task: object, model: nn.Module, request: Request) -> Iterator[Update | None]:
        for step in range(1, 10**9):
            if step == self.end:
                return
            with torch.no_grad():
                for value in model.parameters():
                    if value.requires_grad:
                        value += 1
                    if step == self.interrupt:
                        raise KeyboardInterrupt
            yield Update({}, torch.tensor([0]), torch.ones(1))


@pytest.mark.parametrize("every", [1, 2, 100])
def test_a_method_that_ends_by_itself_ends_the_run(every: int) -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), method=Nudges(end=4), steps=10, record_every=every)
    assert run.steps[-1] == run.events["steps"] == 3 and run.events["diverged_at"] is None
    assert cases.close(run.model[2].bias, cases.original("toy")[2].bias + 3, within=1e-5)


@pytest.mark.parametrize(("every", "kept"), [(1, 3), (2, 2), (100, 0)])
def test_an_interrupt_in_the_middle_of_an_update_leaves_the_last_recorded_model(every: int, kept: int) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method=Nudges(interrupt=4), steps=10, record_every=every)
    assert run.steps[-1] == run.events["steps"] == kept
    for name in ("weight", "bias"):  # the interrupt came between the two
        assert cases.close(getattr(run.model[2], name), getattr(model[2], name) + kept, within=1e-5)
    if every == 1:
        assert run.samples["pressure"].sum() == kept == len(run.trajectory["step"].unique()) - 1


def test_a_stop_event_ends_the_run_at_the_next_update() -> None:
    event, seen = threading.Event(), []

    def progress(made: int, asked: int) -> None:
        seen.append((made, asked))
        if made == 3:
            event.set()

    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=50, progress=progress, stop=event)
    assert run.events["steps"] == 3 and run.steps.tolist() == [0, 1, 2, 3]
    assert seen == [(k, 50) for k in range(4)]


def test_the_private_model_only_has_its_readout_free() -> None:
    seen = []

    @dataclass(frozen=True)
    class Looks:
        def __call__(self, task: object, model: nn.Module, request: Request) -> Iterator[None]:
            seen.append(({name for name, value in model.named_parameters() if value.requires_grad}, model.training))
            assert request.retain is None
            while True:
                yield None

    task, model = cases.task("own data"), cases.original("own data")
    imu.unlearn(task, model, method=Looks(), steps=1, cache=False)
    assert seen == [({"classifier.weight", "classifier.bias"}, False)]


def test_the_driver_can_be_stepped() -> None:
    task, private = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    request = Request(task.split("forget"), torch.full((40,), 1 / 40))
    states = driver.drive(Recorder(task, request.forget), private, Nudges(), request, 10)
    assert [state.step for state in islice(states, 3)] == [0, 1, 2]
    assert cases.close(private[2].bias, cases.original("toy")[2].bias + 2, within=1e-5)


# The mark where utility has fallen.


class Told:
    """What ``utility_limit`` reads of a recorder."""

    task = cases.task

    def __init__(self, *accuracies: tuple[float, float]) -> None:
        self.steps = [10 * k for k in range(len(accuracies))]
        self.metrics = [{"retain": {"accuracy": a}, "test": {"accuracy": b}} for a, b in accuracies]
        self.task = cases.TASKS["toy"]()


@pytest.mark.parametrize(("accuracies", "limit"), [
    ([(1.0, 1.0), (0.96, 0.96), (0.951, 0.951)], None),
    ([(1.0, 1.0), (0.95, 1.0), (0.9, 0.9)], 10),
    ([(1.0, 0.8), (1.0, 0.76), (1.0, 0.75)], 20),
    ([(0.9, 0.9), (0.7, 0.9), (0.95, 0.95)], 10),
])  # fmt: skip
def test_the_utility_limit_is_the_first_fall_of_five_points(accuracies: list, limit: int | None) -> None:
    assert driver.utility_limit(Told(*accuracies)) == limit


@pytest.mark.parametrize(("accuracies", "at"), [
    ([(1.0, 1.0), (0.7, 0.7), (0.63, 0.7), (0.62, 0.7)], 30),
    ([(1.0, 1.0), (0.7, 0.62), (0.5, 0.7)], 10),
    ([(1.0, 1.0), (0.9, 0.9)], None),
    ([(0.52, 0.52), (0.5, 0.5)], None),
])  # fmt: skip
def test_a_collapse_is_near_what_one_answer_reaches(accuracies: list, at: int | None) -> None:
    """Two blobs are kept, so one answer reaches a half; a model that knew as little as that has nothing to lose."""
    assert driver.collapsed_at(Told(*accuracies)) == at


def test_a_loss_that_rises_has_no_limit_in_points() -> None:
    class Losses(Told):
        def __init__(self) -> None:
            super().__init__((3.0, 3.0), (1.0, 1.0))
            self.task = type("Rises", (), {"forgotten_when": ("accuracy", ">=")})()

    assert driver.utility_limit(Losses()) is None and driver.utility_limit(Told((3.0, 3.0), (1.0, 1.0))) == 10


def test_the_utility_limit_is_in_the_record() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, steps=200, lr=0.5)
    wide = run.curve[run.curve["metric"] == "accuracy"].pivot(index="step", columns="split", values="value")
    fallen = (wide.loc[0, ["retain", "test"]] - wide[["retain", "test"]] >= 0.05 - 1e-12).any(axis=1)
    assert fallen.any() and run.events["utility_limit"] == fallen.idxmax()


def test_no_bar_is_left_of_a_run_that_reached_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    class Bar(driver.tqdm):
        """Keeps what it showed when it was closed."""

        def close(self) -> None:
            bars.append((self.n, self.total))
            super().close()

    monkeypatch.setattr(driver, "tqdm", Bar)
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=200, lr=1.0, stop_at=0.5)
    assert 0 < run.events["stopped_at"] < 200
    assert bars[0] == (run.events["stopped_at"],) * 2, "in a notebook, a bar that is not full stays, in red"


@pytest.mark.parametrize("stop_at", [float("nan"), np.nan, ("loss", ">=", float("nan"))])
def test_what_nothing_can_be_compared_with_is_no_goal(stop_at: object) -> None:
    with pytest.raises(ValueError, match="stop_at must be a forget accuracy, .*; got .*nan"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=5, stop_at=stop_at)
