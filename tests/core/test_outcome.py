"""What is told of a run that is over: what happened, at which update, and what to try; nothing where nothing did."""

from __future__ import annotations

from typing import Any
from warnings import catch_warnings, simplefilter

import cases
import numpy as np
import pytest
from figures.records import run

import imu_lab as imu
from imu_lab.core.outcome import FINE, beware, together

STEPS = np.arange(31)


def made(forget: Any, retain: Any, settings: dict[str, Any] | None = None, stop_at: Any = None, **events: Any) -> Any:
    """A run of 30 updates with these accuracies, of four samples that were right before."""
    given = {"steps": 30, "forgotten": int(4 * (forget[0] - forget[-1])), **events}
    margins = np.where(np.arange(4) < 4 * np.asarray(forget)[:, None], 1.0, -1.0)
    one = run({"forget": forget, "retain": retain}, steps=STEPS, margins=margins, events=given)
    one.settings.update(settings={"lr": 0.01} if settings is None else settings, stop_at=stop_at)
    return type(one)(**{**vars(one), "samples": one.samples.assign(margin_before=margins[0])})


FALLING, STILL = np.linspace(1, 0, 31), np.ones(31)


def test_a_run_that_did_as_it_should_has_nothing_to_tell() -> None:
    good = made(FALLING, STILL)
    assert beware(good) == "" and "nothing" not in repr(good)


def test_a_run_past_its_limit_says_when_what_was_lost_and_what_to_try() -> None:
    over = made(FALLING, np.linspace(1, 0.7, 31), utility_limit=5)
    assert beware(over) == (
        "the run passed its utility limit at update 5: retain accuracy went from 1 to 0.7; try a smaller lr (it was 0.01), "
        "or fewer steps"
    )
    equal = made(FALLING, np.linspace(1, 0.7, 31), {"lr": 0.01, "step_norm": 0.5}, utility_limit=5)
    assert "try a shorter step_norm (it was 0.5)" in beware(equal)
    assert beware(made(FALLING, np.linspace(1, 0.7, 31), {}, utility_limit=5)).endswith("try fewer steps")
    solved = made(FALLING, np.linspace(1, 0.7, 31), {"rho": 0.1}, utility_limit=5)
    assert beware(solved).endswith("try a larger rho (it was 0.1), which makes its step shorter")
    once = made(
        FALLING, np.linspace(1, 0.9, 31), {"rho": 0.1, "pieces": 1}, utility_limit=1, goal_at=1, goal="forgotten"
    )
    assert beware(once).endswith("makes its step shorter, or more pieces, between which stop_at can end it")


@pytest.mark.parametrize(("goal_at", "stop_at", "named"), [(4, None, True), (6, None, False), (4, 0.1, False)])
def test_a_goal_that_was_reached_before_is_named(goal_at: int, stop_at: Any, named: bool) -> None:
    over = made(FALLING, np.linspace(1, 0.9, 31), stop_at=stop_at, utility_limit=5, goal_at=goal_at, goal="forgotten")
    assert ("reached at update 4, where stop_at='forgotten' would end it" in beware(over)) == named


@pytest.mark.parametrize(("stopped_at", "finer"), [(None, True), (6, True), (12, False), (30, False)])
def test_smaller_steps_are_not_advised_to_a_run_that_went_to_its_goal_in_many(
    stopped_at: int | None, finer: bool
) -> None:
    over = made(FALLING, np.linspace(1, 0.7, 31), stop_at=0.1, utility_limit=5, stopped_at=stopped_at)
    assert ("try a smaller lr" in beware(over)) == finer
    assert ("its goal lay beyond that, and smaller steps go much the same way" in beware(over)) != finer


def test_a_run_that_goes_to_a_costly_goal_in_smaller_steps_pays_as_much() -> None:
    """What the advice rests on."""
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    with catch_warnings():
        simplefilter("ignore")
        coarse, fine = (
            imu.unlearn(task, model, stop_at=("loss", ">=", 1.0), lr=lr, steps=2000) for lr in (0.01, 0.001)
        )
    assert coarse.events["stopped_at"] > FINE and fine.events["stopped_at"] > 2 * coarse.events["stopped_at"]
    lost = [each.value("retain", "accuracy", 0) - each.value("retain", "accuracy") for each in (coarse, fine)]
    assert min(lost) > 0.05 and abs(lost[0] - lost[1]) < 0.2 * max(lost)


def test_a_collapse_is_called_so_by_the_sentence_and_the_repr() -> None:
    gone = made(FALLING, np.linspace(1, 0.1, 31), utility_limit=2, collapsed_at=9)
    assert beware(gone).startswith("the run collapsed at update 9: retain accuracy went from 1 to 0.1")
    assert "collapsed at update 9" in repr(gone) and "fell 5 points at update 2" in repr(gone)
    risen = made(FALLING, np.linspace(1, 0.1, 31), collapsed_at=9, goal_at=4, goal="forgotten")
    assert "reached at update 4" in beware(risen), "a task whose forgetting is told by what rises has no utility limit"


def test_a_run_that_did_nothing_says_so() -> None:
    idle = made(STILL, STILL)
    assert beware(idle).startswith(
        "the run forgot nothing in 30 updates: 4 of 4 samples were right before, and none of"
    )
    assert "try a larger lr (it was 0.01)" in beware(idle) and "nothing was forgotten" in repr(idle)
    unknown = made(STILL * 0, STILL)
    assert "0 of 4 samples were right before" in beware(unknown) and "that the original knows" in beware(unknown)
    assert beware(made(STILL, STILL, steps=3)) == "", "three updates are a try"


def test_several_seeds_tell_it_once() -> None:
    idle, good = made(STILL, STILL), made(FALLING, STILL)
    assert together(["", ""]) == "" and together([beware(good), beware(idle)]) == beware(idle)
    assert (
        together([beware(each) for each in (idle, good, idle)])
        == f"2 of 3 runs went wrong, the first so: {beware(idle)}"
    )


def test_what_came_back_is_no_loss_and_a_goal_that_was_missed_says_how_near_it_came() -> None:
    back = made(FALLING, np.concatenate([[1.0], np.linspace(0.2, 1, 30)]), utility_limit=1)
    assert beware(back) == ""
    short = made(np.linspace(1, 0.4, 31), STILL, stop_at=0.01, stopped_at=None)
    assert beware(short).startswith(
        "the run did not reach its goal in 30 updates: stop_at=0.01, and accuracy on the forget set went from 1 to 0.4; try"
    )
    assert beware(made(FALLING, STILL, stop_at=0.01, stopped_at=30)) == ""
