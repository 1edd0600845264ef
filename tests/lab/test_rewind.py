"""Rewinding: to the update at which the forget set is known as well as what was never seen."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu


@pytest.mark.parametrize(("name", "unseen"), [("digits class", "test-forget"), ("digits fraction", "test")])
def test_it_ends_where_the_forget_set_is_nearest_to_unseen_samples(name: str, unseen: str) -> None:
    task, model = cases.task(name), cases.original(name)
    run = imu.unlearn(task, model, steps=40, lr=3e-3)
    back = imu.rewind(run)
    goal, mine = run.value(unseen, "accuracy"), run.series("forget", "accuracy").to_numpy()[1:]
    gaps = np.abs(mine - goal)
    step = back.events["steps"]
    assert gaps[step - 1] == gaps.min() and (gaps[step:] > gaps.min()).all(), "of equals the last"
    assert back.value("forget", "accuracy") == mine[step - 1]
    one, other = back.model.state_dict(), run.model_at(step).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert back.steps.tolist() == list(range(step + 1)) and back.settings["forked"]["step"] == step
    assert cases.close(back.samples["margin_after"], run.trajectory.query("step == @step")["margin"].to_numpy(), 1e-5)


def test_another_split_may_be_named_and_a_strange_one_is_asked_back() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, steps=30, lr=3e-3)
    assert imu.rewind(run, "test").value("forget", "accuracy") >= imu.rewind(run).value("forget", "accuracy")
    with pytest.raises(
        imu.UnknownName, match="unknown split on which the run followed accuracy: 'tset'. Did you mean 'test'"
    ):
        imu.rewind(run, "tset")
    with pytest.raises(ValueError, match="no state after an update"):
        imu.rewind(imu.unlearn(task, model, steps=0))


def test_scrub_is_rewound() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method="scrub", steps=60, batch_size=8, lr=0.05)
    back = imu.rewind(run)
    gap = abs(back.value("forget", "accuracy") - run.value("test", "accuracy"))
    assert gap <= abs(run.value("forget", "accuracy") - run.value("test", "accuracy"))


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(TypeError, match="rewind takes a run of imu.unlearn; got a str"):
        imu.rewind("run")
