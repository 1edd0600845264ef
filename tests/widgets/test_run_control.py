"""Run control in plain Python: hold, one step, stop, rewind, fork; and what a run will take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import cases
import numpy as np
import pytest
from waiting import until

import imu_lab as imu
from imu_lab.lab import live as live_run
from imu_lab.lab.live import Gate, estimate, so_far
from imu_lab.widgets.base.job import Job

SECONDS = 60.0


@pytest.fixture
def control() -> Iterator:
    Job.errors.clear()
    made = imu.run_control(cases.task("toy"), cases.original("toy"), steps=30, reference=cases.retrained("toy"))
    assert made.wait(SECONDS)
    yield made
    made.stop()
    assert made.wait(SECONDS) and not Job.errors, Job.errors


def at(control) -> int:
    live = control.live
    return int(live.events["steps"]) if isinstance(live, imu.Run) else -1


def test_start_runs_to_the_end(control) -> None:
    assert "will take about" in control.costs.value
    control.buttons["start"].click()
    assert control.wait(SECONDS)
    assert control.run.events["steps"] == 30 and control.rewind.options == tuple(range(31))
    assert "forget accuracy" in control.scores.value and not control.fork.disabled
    twin = imu.unlearn(cases.task("toy"), cases.original("toy"),
                       imu.intensity(imu.influence(cases.task("toy"), cases.original("toy"))), steps=30)  # fmt: skip
    assert twin.trajectory.equals(control.run.trajectory), "watching changes nothing"


def test_one_step_at_a_time_and_then_on(control) -> None:
    control.buttons["step"].click()
    until(lambda: "paused · after update 1 of 30" in control.note.value)
    assert at(control) == 1 and control.gate.paused and control.buttons["start"].description == "Resume"
    control.buttons["step"].click()
    until(lambda: at(control) == 2)
    control.buttons["start"].click()
    assert control.wait(SECONDS) and control.run.events["steps"] == 30


def test_a_run_under_way_is_drawn_beside_the_retrained_model_and_said_to_be_paused(control) -> None:
    control.buttons["step"].click()
    until(lambda: at(control) == 1)
    until(lambda: control.status.value == "paused")
    levels = {trace.meta["split"]: list(trace.y) for trace in control.figures["curves"].data
              if trace.meta["role"] == "retrained"}  # fmt: skip
    known = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, reference=cases.retrained("toy")).reference
    known = known[known["metric"] == "accuracy"].set_index("split")["value"]
    assert levels["forget"] and all(set(levels[split]) == {known[split]} for split in levels), levels
    assert control.figures["curves"].layout.xaxis.dtick == 1, "there is no half an update"
    control.buttons["start"].click()
    assert control.wait(SECONDS) and control.status.value == "up to date"
    assert control.figures["curves"].layout.xaxis.dtick is None


def test_a_panel_that_is_closed_lets_go_of_a_run_that_is_held() -> None:
    Job.errors.clear()
    made = imu.run_control(cases.task("toy"), cases.original("toy"), steps=30)
    made.step()
    until(lambda: at(made) == 1)
    made.close()
    assert made.wait(SECONDS), "the thread is free"
    assert not made.under_way and not made.runs and not Job.errors


def test_stop_keeps_what_was_recorded(control) -> None:
    for _ in range(3):
        control.step()
    until(lambda: at(control) == 3)
    control.buttons["stop"].click()
    assert control.wait(SECONDS)
    assert control.run.events["steps"] == 3 and control.run.kept_steps == [0, 1, 2, 3]
    assert control.buttons["stop"].disabled and not control.under_way


def test_rewind_and_fork_with_other_settings(control) -> None:
    control.start()
    assert control.wait(SECONDS)
    parent = control.run
    control.rewind.value = 5
    assert [shape.x0 for shape in control.figures["paths"].layout.shapes if shape.name == "rewind"] == [5]
    control.method.controls.controls["lr"].value = 0.2
    control.steps.value = 4
    control.fork.click()
    assert control.wait(SECONDS)
    child = control.run
    assert child is not parent and child.settings["forked"]["step"] == 5 and child.events["steps"] == 9
    assert child.settings["settings"]["lr"] == 0.2 and "forked at 5" in control.scores.value
    assert child.value("forget", "loss", 5) == parent.value("forget", "loss", 5)


def made(control, steps: int, rule: str) -> imu.Run:
    control.rule.names.value, control.steps.value = rule, steps
    control.start()
    assert control.wait(SECONDS)
    return control.run


@pytest.mark.full
def test_any_finished_run_can_be_rewound_and_forked(control) -> None:
    assert control.from_run.disabled and control.from_run.value is None
    first, second = made(control, 9, "sqrt-clipped"), made(control, 4, "uniform")
    assert [name for name, _ in control.from_run.options] == ["2: imu · uniform", "1: imu · sqrt-clipped"]
    assert all(name in control.scores.value for name, _ in control.from_run.options), "numbered as in the table"
    assert control.from_run.value is second and control.rewind.options == (0, 1, 2, 3, 4), "the newest at first"
    control.from_run.value = first
    assert control.rewind.options == tuple(range(10)) and control.rewind.value == 9
    assert shown(control) == shown_of(first) != shown_of(second)
    assert [shape.x0 for shape in control.figures["paths"].layout.shapes if shape.name == "rewind"] == [9]
    control.rewind.value, control.steps.value = 6, 2
    control.fork.click()
    assert control.wait(SECONDS)
    child = control.run
    assert child.settings["forked"] == {"run": first.label, "step": 6, "since": 0} and child.events["steps"] == 8
    assert child.value("forget", "loss", 6) == first.value("forget", "loss", 6)
    assert control.from_run.value is child and control.rewind.options == tuple(range(9)), "and then the newest again"
    assert shown(control) == shown_of(child)


def shown(control) -> list:
    return control.figures["paths"].data[0].z.tolist()


def shown_of(run: imu.Run) -> list:
    return imu.plot_trajectories(run).data[0].z.tolist()


def test_a_new_run_is_drawn_once_and_no_older_one_in_between(control, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(control, 2, "sqrt-clipped")
    drawn: list[imu.Run] = []
    update = imu.figures.update_trajectories
    monkeypatch.setattr(
        imu.figures, "update_trajectories", lambda figure, run: (drawn.append(run), update(figure, run))
    )
    second = made(control, 3, "uniform")
    control.from_run.value = first
    assert drawn == [second, first]


def test_what_goes_wrong_when_a_run_is_chosen_is_told_in_the_panel(control, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = made(control, 2, "sqrt-clipped"), made(control, 3, "uniform")

    def broken(*_) -> None:
        raise ValueError("these trajectories cannot be drawn")

    monkeypatch.setattr(imu.figures, "update_trajectories", broken)
    control.from_run.value = first
    assert "cannot be drawn" in control.error.value
    Job.errors.clear()


@pytest.mark.full
def test_the_utility_limit_and_the_rewind_line_stand_side_by_side(control) -> None:
    control.method.controls.controls["lr"].value = 0.5
    run = made(control, 30, "sqrt-clipped")
    assert run.events["utility_limit"] is not None, "else this test sees nothing"
    control.rewind.value = 3
    names = {shape.name for shape in control.figures["paths"].layout.shapes}
    assert {"after the limit", "rewind"} <= names


def test_a_fork_without_a_run_is_refused_in_the_panel(control) -> None:
    control.guarded(lambda: control.fork_here())()
    assert "needs a finished run" in control.error.value
    Job.errors.clear()


def test_the_gate_holds_releases_and_ends() -> None:
    gate, passed = Gate(), []
    gate.reset(paused=True)

    def work() -> None:
        for number in range(100):
            gate()
            if gate.stop.is_set():
                return
            passed.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    gate.once()
    until(lambda: passed == [0])
    gate.once()
    gate.once()
    until(lambda: passed == [0, 1, 2])
    assert gate.paused
    gate.end()
    thread.join(SECONDS)
    assert passed == [0, 1, 2] and not gate.paused


@pytest.mark.full  # it times a run, which means little beside another process
def test_an_estimate_is_near_what_the_run_takes() -> None:
    session = imu.Session(cases.task("toy"), cases.original("toy"))
    session.unlearn(steps=3)
    guess = estimate(session, None, "imu", steps=60)
    run, *others = (session.unlearn(steps=60) for _ in range(3))  # any single one may be held up
    assert 0.2 < guess.seconds / min(each.events["seconds"] for each in (run, *others)) < 5
    held = run.snapshots.bytes + run.trajectory.memory_usage(index=False).sum()
    assert 0.5 < guess.bytes / held < 2


def test_an_estimate_takes_the_least_of_brief_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    session = imu.Session(cases.task("toy"), cases.original("toy"))
    took = [1.0, *(0.04, 0.01, 0.03, 0.02, 0.04), *(0.04, 0.04, 0.025, 0.04, 0.03)]  # a long one is not repeated
    ticks = iter(np.cumsum([part for each in took for part in (0.0, each)]).tolist())
    monkeypatch.setattr(live_run, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(session, "unlearn", lambda *_, run=session.unlearn(steps=1), **__: run)
    guess = estimate(session, None, "imu", steps=11)
    assert guess.seconds == pytest.approx(0.01 + 10 * (0.025 - 0.01) / live_run.TRIAL)


def test_a_run_under_way_can_be_drawn_but_has_no_model() -> None:
    seen = []
    about = {"method": "imu", "weights": {"rule": "uniform"}, "settings": {}, "seed": 0}
    imu.unlearn(
        cases.task("toy"), cases.original("toy"), steps=4, watch=lambda state: seen.append(so_far(state, about))
    )
    assert [len(run.steps) for run in seen] == [1, 2, 3, 4, 5] and seen[-1].label == "imu · uniform"
    assert len(imu.plot_curves(seen[2]).data) and len(imu.resistance(seen[2])) == 40
    with pytest.raises(ValueError, match="still under way"):
        seen[2].model


def test_a_run_under_way_tells_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.widgets.run_control.DRAW_INTERVAL", 0.0)
    control = imu.run_control(cases.task("toy"), cases.original("toy"), steps=8)
    assert control.wait(60)
    told: list[str] = []
    control.note.observe(lambda change: told.append(change.new), "value")
    control.start()
    assert control.wait(60)
    assert any("after update 4 of 8" in words and "left" in words for words in told)
