"""Influence along the turned step, against explicit gradients and an explicit matrix."""

from __future__ import annotations

from collections.abc import Iterator

import cases
import numpy as np
import pytest
import torch
from linear_heads import LINEAR, gauss_newton
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import readout
from imu_lab.features.gradients import explicit
from imu_lab.features.kronecker import moments
from imu_lab.features.statistics import linear_gradients
from imu_lab.tasks.protocol import Task


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def units(factor: Tensor, rho: float) -> Tensor:
    """(F / f̄ + ρ I) / (1 + ρ)."""
    return (factor / factor.diagonal().mean() + rho * torch.eye(len(factor)).double()) / (1 + rho)


def kronecker_matrix(task: Task, model: nn.Module, where: str, rho: float) -> Tensor:
    """(P, P) Ĝ ⊗ Ŝ in the order of the flat gradient: weights, then biases."""
    parts, _ = moments(linear_gradients(task, model), task.split(where))
    layer = model.get_submodule(readout.resolve(task, model)[0])
    order = torch.arange(layer.weight.numel()).view_as(layer.weight)
    if layer.bias is not None:
        order = torch.cat([order, layer.weight.numel() + torch.arange(len(layer.bias))[:, None]], 1)
    order, whole = order.flatten(), torch.kron(units(parts["G"], rho), units(parts["S"], rho))
    place = order.argsort()
    return whole[place[:, None], place]


@pytest.mark.parametrize("name", ["toy, double", "no bias, double", "sequences, double"])
@pytest.mark.parametrize("where", ["forget", "train"])
def test_it_is_the_product_with_the_dense_solve(name: str, where: str) -> None:
    task, model = LINEAR[name]()
    each = explicit(task, model, task.split("forget")).double()
    expected = -each @ torch.linalg.solve(kronecker_matrix(task, model, where, 0.3), each.mean(0))
    found = imu.influence(task, model, "curvature", curvature=where, rho=0.3).values
    assert cases.close(found, expected, within=1e-6)
    pairs = imu.influence_matrix(task, model, "curvature", curvature=where, rho=0.3)
    assert cases.close(pairs.values.mean(1), found, within=1e-6)


@pytest.mark.parametrize("where", ["forget", "train"])
def test_the_exact_form_is_the_gauss_newton_solve(where: str) -> None:
    task, model = LINEAR["toy, double"]()
    each, matrix = explicit(task, model, task.split("forget")).double(), gauss_newton(task, model, task.split(where))
    expected = -each @ torch.linalg.solve(units(matrix, 0.3), each.mean(0))
    found = imu.influence(task, model, "curvature", factors="exact", curvature=where, rho=0.3).values
    assert cases.close(found, expected, within=1e-6)


def test_much_damping_is_the_plain_product_and_little_hears_other_samples() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    plain = imu.influence(task, model, "gradient-dot").values
    assert cases.close(imu.influence(task, model, "curvature", rho=1e6).values, plain, within=1e-3)
    turned = imu.influence(task, model, "curvature", curvature="train").values
    shares = [np.abs(values) / np.abs(values).sum() for values in (plain, turned)]
    assert np.abs(shares[0] - shares[1]).sum() > 0.05


def test_it_says_what_the_turned_step_does_to_each_loss() -> None:
    task, model = LINEAR["digits, double"]()
    forget = task.split("forget")
    step = imu.unlearn(
        task, model, method="curvature-ascent", lr=1e-6, momentum=0.0, weight_decay=0.0, batch_size=10_000, steps=1
    )
    scores = imu.influence(task, model, "curvature", curvature="train").values
    risen = step.samples["loss_after"] - step.samples["loss_before"]
    assert cases.close(risen, -1e-6 * scores, within=1e-3) and len(forget) == len(risen)
