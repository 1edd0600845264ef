"""IMU with the influence of the mini-batch: its weights by hand, at no extra forward pass."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.tasks.protocol import Task


def updates(task: Task, model: nn.Module, count: int, **settings: Any) -> tuple[list[imu.Update], list[nn.Module]]:
    """The first updates, and the model before each."""
    model = copy.deepcopy(model)
    forget = task.split("forget")
    request = imu.Request(forget, torch.full((len(forget),), 1 / len(forget)))
    stream = imu.methods.create("imu-minibatch", **settings)(task, model, request)
    made, before = [], []
    for _ in range(count):
        before.append(copy.deepcopy(model))
        made.append(next(stream))
    return made, before


def by_hand(task: Task, model: nn.Module, positions: torch.Tensor, direction: torch.Tensor | None) -> tuple:
    each = explicit(task, model, task.split("forget").take(positions))
    if direction is None:
        direction = each.mean(0) / (each.square().mean(0) + 1e-2)
    weights = imu.intensity_rules.create("sqrt-clipped")((-each @ direction).numpy())
    return weights / weights.sum(), direction


@pytest.mark.parametrize("scope", [None, "all"])
def test_the_shares_of_a_batch_come_from_the_batch_alone(scope: str | None) -> None:
    task, model = cases.in_double("toy")
    task = replace(task, readout=scope)
    made, before = updates(task, model, 3, batch_size=16, lr=0.1)
    for update, was in zip(made, before):
        assert cases.close(update.shares.numpy(), by_hand(task, was, update.positions, None)[0], within=1e-6)


def test_until_the_refresh_the_last_direction_serves() -> None:
    task, model = cases.in_double("toy")
    made, before = updates(task, model, 4, batch_size=10, lr=0.1, refresh=2)
    direction = None
    for number, (update, was) in enumerate(zip(made, before)):
        shares, direction = by_hand(task, was, update.positions, direction if number % 2 else None)
        assert cases.close(update.shares.numpy(), shares, within=1e-6)


def test_a_linear_readout_pays_no_extra_forward_pass() -> None:
    task, model = cases.own_data(), cases.conv_net()
    calls = []
    model.register_forward_hook(lambda module, given, made: calls.append(len(made)))
    private = copy.deepcopy(model).eval()
    forget = task.split("forget")
    stream = imu.methods.create("imu-minibatch", batch_size=20)(
        task, private, imu.Request(forget, torch.ones(len(forget)))
    )
    next(stream)
    calls.clear()
    for _ in range(5):
        next(stream)
    assert calls == [20] * 5


def test_it_forgets_and_agrees_with_the_whole_sets_influence() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, method="imu-minibatch", steps=400, stop_at=0.05)
    assert run.events["stopped_at"] and run.value("test", "accuracy") > 0.7
    whole, part = imu.influence(task, model), imu.influence(task, model, "fisher-minibatch", batch_size=32)
    assert imu.rank_correlations([whole, part]).iloc[0, 1] > 0.9


def test_every_rule_that_reads_influences_serves() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    for rule in ("linear", "softmax", "rank", "inverse", "uniform"):
        (update,), _ = updates(task, model, 1, rule=rule, batch_size=16)
        assert float(update.shares.sum()) == pytest.approx(1) and np.isfinite(update.terms["ascent"])
    with pytest.raises(ValueError, match="unknown value for `rule` of method imu-minibatch: 'gradient-norm'"):
        imu.methods.create("imu-minibatch", rule="gradient-norm")


def test_without_damping_it_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="damping"):
        imu.methods.create("imu-minibatch", damping=0.0)
