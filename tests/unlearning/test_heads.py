"""Several states of a readout at once: the same as one after the other, and nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.lab.session import Session
from imu_lab.measures.contract import Beside
from imu_lab.tasks import Classification, Examples
from imu_lab.tasks.evaluation import mean_metrics
from imu_lab.unlearning import driver
from imu_lab.unlearning.heads import Heads
from imu_lab.unlearning.recorder import TOGETHER, Recorder
from imu_lab.unlearning.snapshots import moving_state


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)])
def test_all_heads_at_once_are_each_head_alone(bias: bool, shape: tuple[int, ...]) -> None:
    layers, inputs = [nn.Linear(4, 2, bias=bias).double() for _ in range(3)], torch.randn(*shape, dtype=torch.float64)
    found = Heads([moving_state(layer) for layer in layers])(inputs)
    assert cases.close(found, torch.cat([layer(inputs) for layer in layers]).detach(), within=1e-5)


def recorded_heads() -> tuple[Recorder, nn.Linear, list[dict]]:
    """A recorder on cached digits, the readout, and forty states of it."""
    task, head = Session(cases.task("digits class"), cases.original("digits class")).view()
    chance = torch.Generator().manual_seed(0)  # a sample on the border could fall either side, once in a while
    states = [
        {name: value + 0.05 * torch.randn(value.shape, generator=chance) for name, value in moving_state(head).items()}
        for _ in range(40)
    ]
    return Recorder(task, task.split("forget")), head, states


def test_what_is_seen_at_once_is_what_is_seen_alone() -> None:
    recorder, head, states = recorded_heads()
    for state, seen in zip(states, recorder.look_at_heads(states), strict=True):
        head.load_state_dict(state)
        alone = recorder.look(head)
        assert {split: values["accuracy"] for split, values in seen.measured.items()} == {
            split: values["accuracy"] for split, values in alone.measured.items()
        }
        assert seen.measured["forget"]["loss"] == pytest.approx(alone.measured["forget"]["loss"], rel=1e-5)
        assert cases.close(seen.outcome, alone.outcome, within=1e-4)


def test_each_split_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, _, states = recorded_heads()
    rows, forward = [], Heads.forward
    monkeypatch.setattr(Heads, "forward", lambda self, inputs: rows.append(len(inputs)) or forward(self, inputs))
    recorder.follow = (Beside(imu.metrics.create("agreement"), imu.references(cases.task("digits class"), seeds=[0])),)
    recorder.look_at_heads(states)
    assert sum(rows) == sum(len(recorder.task.split(split)) for split in recorder.splits), "distances included"


@pytest.mark.few(2)
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("metric", ["kl-retrained", "js-retrained", "agreement"])
def test_distances_are_seen_at_once_too(models: int, metric: str) -> None:
    recorder, head, states = recorded_heads()
    references = imu.references(cases.task("digits class"), seeds=range(models))
    followed = Recorder(recorder.task, recorder.forget, [Beside(imu.metrics.create(metric), references)])
    assert followed.at_once(head) == recorder.at_once(head) > 1
    for state, seen in zip(states[:5], followed.look_at_heads(states[:5]), strict=True):
        head.load_state_dict(state)
        alone = followed.look(head).measured
        for split, values in seen.measured.items():
            assert cases.close(values, alone[split], within=1e-4) and list(values) == list(alone[split])
    followed.follow = (lambda task, model: {}, *followed.follow)
    assert followed.at_once(head) == 1, "nobody knows of any other metric how to measure several heads"


def test_what_is_followed_twice_is_not_counted_twice() -> None:
    recorder, _, states = recorded_heads()
    distance = Beside(imu.metrics.create("kl-retrained"), imu.references(cases.task("digits class"), seeds=[0]))
    recorder.follow = (distance,)
    once = recorder.look_at_heads(states[:2])[1].measured
    recorder.follow = (distance, distance)
    assert recorder.look_at_heads(states[:2])[1].measured == once and once["test"]["kl_retrained"] > 0


def test_no_more_at_once_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, head, _ = recorded_heads()
    assert recorder.at_once(head) == TOGETHER
    monkeypatch.setattr("imu_lab.unlearning.recorder.ROOM", 3 * head.weight.numel())
    assert head.weight.numel() > len(recorder.forget) and recorder.at_once(head) == 3
    monkeypatch.setattr(recorder, "forget", recorder.task.split("retain"))
    assert recorder.at_once(head) == 3 * head.weight.numel() // len(recorder.task.split("retain")) == 1
    monkeypatch.setattr("imu_lab.unlearning.recorder.ROOM", 1)
    assert recorder.at_once(head) == 1 == recorder.at_once(nn.Sequential(head))


@pytest.mark.parametrize("room", [1, 2**14, 2**30])
def test_many_examples_are_put_through_all_heads_a_few_at_a_time(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, _, states = recorded_heads()
    whole = recorder.look_at_heads(states)
    monkeypatch.setattr("imu_lab.tasks.evaluation.SEVERAL", room)
    sizes, product = [], Heads.forward
    monkeypatch.setattr(Heads, "forward", lambda heads, inputs: (sizes.append(len(inputs)), product(heads, inputs))[1])
    for seen, other in zip(recorder.look_at_heads(states), whole, strict=True):
        assert seen.measured.keys() == other.measured.keys()
        assert all(seen.measured[split]["accuracy"] == other.measured[split]["accuracy"] for split in recorder.splits)
        assert cases.close(seen.outcome, other.outcome, within=1e-5)
    assert sizes[0] == 64 and (max(sizes) > 512) == (room == 2**30)


def test_no_split_to_follow_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, head, _ = recorded_heads()
    monkeypatch.setattr(recorder, "splits", [])
    assert recorder.at_once(head) == TOGETHER


def test_a_task_that_measures_in_its_own_way_is_asked() -> None:
    class Own(Classification):
        def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
            return {"accuracy": 0.25}

    task = Own("digits", forget_class=3)
    run = imu.unlearn(task, cases.original("digits class"), steps=3)
    assert set(run.series("retain", "accuracy")) == {0.25}
    cached, head = Session(task, cases.original("digits class")).view()
    assert Recorder(cached, cached.split("forget")).at_once(head) == 1


@pytest.mark.parametrize("settings", [{}, {"record_every": 3}, {"stop_at": 0.3}, {"stop_at": 0.3, "record_every": 4}])
def test_measuring_ahead_changes_nothing(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    ahead = imu.unlearn(task, model, steps=40, lr=3e-3, **settings)
    monkeypatch.setattr("imu_lab.unlearning.recorder.TOGETHER", 1)
    alone = imu.unlearn(task, model, steps=40, lr=3e-3, **settings)
    assert ahead.steps.tolist() == alone.steps.tolist() and ahead.events["stopped_at"] == alone.events["stopped_at"]
    assert (ahead.events["stopped_at"] is not None) == ("stop_at" in settings)
    assert cases.same(cases.frozen(ahead.model), alone.model) and ahead.terms.equals(alone.terms)
    assert np.array_equal(ahead.samples["pressure"], alone.samples["pressure"])
    assert cases.close(ahead.trajectory["loss"].to_numpy(), alone.trajectory["loss"].to_numpy(), within=1e-4)
    for step in ahead.kept_steps:
        assert cases.same(cases.frozen(ahead.model_at(step)), alone.model_at(step))


@dataclass(frozen=True)
class Interrupted:
    """IMU, until somebody presses a key in the middle of the sixth update."""

    def __call__(self, task: imu.tasks.Task, model: nn.Module, request: imu.Request) -> Iterator[imu.Update]:
        yield from islice(imu.methods.create("imu", lr=3e-3)(task, model, request), 5)
        with torch.no_grad():
            model.weight += 1
        raise KeyboardInterrupt


@pytest.mark.parametrize(("every", "kept"), [(1, 5), (2, 4), (100, 0)])
def test_an_interrupt_loses_no_update_that_was_made_and_was_to_be_recorded(every: int, kept: int) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, method=Interrupted(), steps=40, record_every=every)
    short = imu.unlearn(task, model, method=imu.methods.create("imu", lr=3e-3), steps=kept)
    assert run.steps[-1] == run.events["steps"] == kept
    assert cases.same(cases.frozen(run.model), short.model)
    assert np.array_equal(run.samples["pressure"], short.samples["pressure"])


def test_at_each_state_told_the_model_is_in_it() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    seen: list[tuple[int, float]] = []

    def watch(state: driver.RunState) -> None:
        seen.append((state.step, len(state.recorder.steps)))

    imu.unlearn(task, model, steps=20, watch=watch)
    assert seen == [(step, step + 1) for step in range(21)], "nothing of what lies ahead is in the record"


def test_the_means_of_a_tie_and_of_nothing() -> None:
    task = cases.task("toy")
    level = nn.Linear(2, 3)
    nn.init.zeros_(level.weight), nn.init.zeros_(level.bias)
    assert task.evaluate(level, "train") == {"accuracy": 0.0}, "a model that cannot tell knows nothing"
    empty = Examples.of(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert mean_metrics(task, level, empty) == {}
