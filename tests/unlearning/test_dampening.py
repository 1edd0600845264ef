"""Selective dampening against squared gradients of one example at a time."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest
import torch
from descents import EACH, flat, stepped
from linear_heads import own
from torch import Tensor

import imu_lab as imu
from imu_lab.features import readout
from imu_lab.features.gradients import explicit


def importances(task: object, model: object) -> tuple[Tensor, Tensor]:
    """(P,) of the forget set and of all, from one backward pass for each example."""
    return tuple(explicit(task, model, task.split(split)).double().square().mean(0) for split in ("forget", "train"))


def moved(task: object, model: object, **settings: object) -> tuple[Tensor, Tensor]:
    """(P,) the readout before and after."""
    after, (update,) = stepped(task, model, "ssd", **settings)
    names = readout.resolve(task, model)
    before, now = (
        torch.cat([value.detach().flatten() for value in readout.parameters(each, names).values()])
        for each in (model, after)
    )
    assert update.terms["update_norm"] == pytest.approx((now - before).norm().item(), rel=1e-12)
    return before, now


@pytest.mark.few(2)
@EACH
@pytest.mark.parametrize("alpha, strength", [(1.0, 1.0), (1.2, 0.3), (0.5, 1.4)])
def test_it_is_the_formula(given: Callable, alpha: float, strength: float) -> None:
    task, model = given()
    forget, whole = importances(task, model)
    before, now = moved(task, model, alpha=alpha, strength=strength)
    expected = torch.where(forget > alpha * whole, (strength * whole / forget).clamp(max=1), 1.0) * before
    assert cases.close(now, expected, within=1e-12) and not torch.equal(now, before)


@pytest.mark.full
def test_several_layers() -> None:
    task, model = own(torch.float64, readout=("body.0", "body.1", "narrow"))
    forget, whole = importances(task, model)
    before, now = moved(task, model)
    assert cases.close(now, torch.where(forget > whole, whole / forget, 1.0) * before, within=1e-10)


def test_by_hand() -> None:
    """One weight, one logit, p = 1/2: the squared gradient is x²/4. F holds x = 2, all hold x = 2, 1 and 1: 1 against 1/2."""
    x, y = torch.tensor([[2.0], [1.0], [1.0]]).double(), torch.tensor([0, 1, 0])
    model = torch.nn.Sequential(torch.nn.Linear(1, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0], [3.0]]))
    task = imu.tasks.Classification.from_data(model, (x, y), (x + 0.5, y), forget_indices=[0])
    after = imu.unlearn(task, model, method="ssd", alpha=1.5, steps=1).model[0].weight
    assert cases.close(after.detach(), [[1.5], [1.5]])


def test_the_importance_is_of_examples_and_not_of_batches() -> None:
    """Squares of the gradients of batches, as the public code takes them, are other numbers for each batch size."""
    task, model = cases.in_double("toy")
    rows = explicit(task, model, task.split("train")).double()
    by_batch = {size: torch.stack([part.mean(0).square() for part in rows.split(size)]).mean(0) for size in (1, 8, 40)}
    held = imu.statistics(task, model, "squares").part("squares")
    mine = torch.cat([held[:, :-1].flatten(), held[:, -1]])
    assert cases.close(mine, by_batch[1], within=1e-10)
    assert all(by_batch[size].sum() < 0.5 * mine.sum() for size in (8, 40))


def test_an_alpha_beyond_what_a_share_of_the_data_can_reach_is_refused() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    before = cases.frozen(model)
    with pytest.raises(ValueError, match=r"more than 1.7\d times .* 40 of 120 samples can make it 3 times at most"):
        imu.unlearn(task, model, method="ssd", alpha=10.0)
    assert cases.same(before, model)


def test_it_hurts_the_class_that_it_is_asked_to_forget_most() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, method="ssd", steps=30)
    fallen = {split: run.value(split, "accuracy", 0) - run.value(split, "accuracy") for split in ("forget", "retain")}
    assert run.events["steps"] == 1 and fallen["forget"] > 5 * abs(fallen["retain"])


def test_squares_are_kept_in_a_file(tmp_path) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    held = imu.statistics(task, model, "squares")
    again = imu.load_statistics(held.save(tmp_path / "one.statistic"))
    runs = [imu.unlearn(task, model, method="ssd", statistics=each, steps=1) for each in (None, held, again)]
    assert np.ptp([flat(run.model).numpy() for run in runs], axis=0).max() == 0
