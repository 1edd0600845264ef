"""A fork that changes nothing is the run that was not interrupted, by every method."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from linear_heads import own

import imu_lab as imu

# One batch and no momentum: nothing is left that a fork says it begins anew.
STEADY = {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.0, "batch_size": 10_000, "pieces": 6, "forget_passes": 100}


def made(method: str, **changes: object) -> imu.Run:
    """Six updates in double precision, where the method makes so many."""
    known = {each.name for each in fields(imu.methods[method])}
    task, model = own(torch.float64)
    how = {name: value for name, value in STEADY.items() if name in known} | changes
    return imu.unlearn(task, model, method=method, steps=6, **how)


def apart(run: imu.Run, other: imu.Run) -> float:
    """The largest difference of two models, relative to how far the first has gone."""
    start = run.model_at(0).state_dict()
    one, two = (each.model.state_dict() for each in (run, other))
    gone = max((one[name] - start[name]).abs().max().item() for name in one)
    return max((one[name] - two[name]).abs().max().item() for name in one) / gone


@pytest.mark.few(5)
@pytest.mark.parametrize("method", [name for name in imu.methods if name != "ssd"])  # which is one update
def test_a_fork_that_changes_nothing_is_the_run(method: str) -> None:
    run = made(method)
    for other in (imu.fork(run, 3), imu.fork(imu.fork(run, 2), 4)):
        assert other.events["steps"] == 6 and other.settings["steps"] == 6
        assert apart(run, other) < 1e-6


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["influence-step", "newton-step"])
def test_a_step_that_was_solved_for_leads_where_it_leads_from_wherever_it_goes_on(method: str) -> None:
    run = made(method)
    for changes in ({"rho": 1.0}, {"pieces": 9}, {"rho": 1.0, "pieces": 2}):
        whole = made(method, **changes | {"pieces": 1})
        other = imu.fork(run, 3, **{"steps": 20, **changes})
        assert apart(whole, other) < 1e-6
        assert other.events["steps"] == 3 + max(1, changes.get("pieces", 6) - 3)
    at_its_end = imu.fork(run, 6, steps=5)
    assert apart(run, at_its_end) < 1e-9


def test_another_method_begins_with_the_model_of_the_fork() -> None:
    run, changes = made("imu"), {"pieces": 2, "rho": 0.1}
    other = imu.fork(run, 3, method="influence-step", steps=5, **changes)
    assert other.events["steps"] == 5 and apart(made("influence-step", **changes), other) > 1e-3
    again = imu.fork(other, 4)  # which goes on with the step solved for at update 3
    assert again.settings["forked"]["since"] == 3 and apart(other, again) < 1e-6
