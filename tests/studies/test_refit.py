"""A refitted readout is at its minimum, and says so where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features.gradients import explicit
from imu_lab.studies import refit


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def test_the_gradient_of_a_refitted_head_vanishes_and_the_backbone_is_the_same() -> None:
    task, model = cases.in_double("toy")
    before = cases.frozen(model)
    refitted = imu.refit(task, model, l2=1e-2)
    head = torch.cat([value.detach().flatten() for value in refitted[2].parameters()])
    slope = explicit(task, refitted, task.split("train")).mean(0) + 1e-2 * head
    assert slope.abs().max() <= 1e-10
    assert all(torch.equal(refitted[0].state_dict()[name], value) for name, value in model[0].state_dict().items())
    assert cases.same(before, model)


def test_a_hessian_that_does_not_fit_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "HeadCurvature", lambda *_: pytest.fail("it was begun"))
    backbone = torch.nn.Sequential(torch.nn.Linear(2, 2000), torch.nn.Linear(2000, 10))
    train, test = ((torch.randn(20, 2), torch.arange(20) % 10) for _ in range(2))
    task = imu.tasks.Classification.from_data(backbone, train, test, forget_indices=[0])
    with pytest.raises(MemoryError, match="20,010 parameters needs a Hessian of 3.0 GiB, more than the limit of 2.0"):
        imu.refit(task, backbone)


def test_no_minimum_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "MOST", 1)
    with pytest.raises(ArithmeticError, match="no minimum in 1 Newton steps: .* use a larger l2"):
        imu.refit(cases.task("toy"), cases.original("toy"))
