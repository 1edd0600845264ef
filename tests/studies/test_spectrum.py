"""The spectrum of the curvature against the explicit Kronecker product."""

from __future__ import annotations

import cases
import pytest
import torch
from linear_heads import LINEAR
from torch import Tensor

import imu_lab as imu
from imu_lab.features import kronecker
from imu_lab.features.gradients import explicit
from imu_lab.features.statistics import linear_gradients


def dense(where: str) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Eigenvalues of S ⊗ G, the shares of the mean forget gradient along its eigenvectors, and those of its step, ρ = 0.1."""
    task, model = LINEAR["toy, double"]()
    parts, _ = kronecker.moments(linear_gradients(task, model), task.split(where))
    layer, gradient = model[-1], explicit(task, model, task.split("forget")).mean(0).double()
    weight = gradient[: layer.weight.numel()].view_as(layer.weight)
    joined = torch.cat([weight, gradient[layer.weight.numel() :, None]], 1)
    sizes, ways = torch.linalg.eigh(torch.kron(parts["G"], parts["S"]))
    step = kronecker.FACTORS["both"][1](parts, 0.1).solved(joined).flatten()
    shares = [(ways.T @ each).square() / each.square().sum() for each in (joined.flatten(), step)]
    return sizes.flip(0), shares[0].flip(0), shares[1].flip(0), parts


@pytest.mark.parametrize("where", ["train", "forget"])
def test_it_is_that_of_the_explicit_matrix(where: str) -> None:
    sizes, gradient, step, parts = dense(where)
    task, model = LINEAR["toy, double"]()
    found = imu.curvature_spectrum(task, model, curvature=where)
    assert cases.close(found.table["curvature"], sizes, within=1e-9)
    mean = parts["S"].trace() * parts["G"].trace() / len(sizes)
    assert cases.close(found.table["relative"], sizes / mean, within=1e-9)
    distinct = (sizes > 1e-9 * sizes[0]).numpy()  # where eigenvalues are equal, so are not their eigenvectors
    assert cases.close(found.table["gradient"][distinct], gradient[distinct], within=1e-6)
    assert cases.close(found.table["step"][distinct], step[distinct], within=1e-6)
    assert found.table["gradient"].sum() == pytest.approx(1) and found.table["step"].sum() == pytest.approx(1)


def test_the_turned_step_leaves_the_directions_that_bend_most() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    held = imu.statistics(task, model)
    found = imu.curvature_spectrum(task, model, statistics=held)
    assert found.table.equals(imu.curvature_spectrum(task, model).table)
    steep = found.table["relative"] > 1
    assert found.table["gradient"][steep].sum() > 0.8 > 0.4 > found.table["step"][steep].sum()
    nothing = imu.curvature_spectrum(task, model, rho=1e6).table
    assert cases.close(nothing["step"], nothing["gradient"], within=1e-3)
    decades = found.by_decade()
    assert cases.close(decades[["directions", "gradient", "step"]].sum().to_numpy(), 1.0)
    assert (decades["from"] < decades["to"]).all() and decades["to"].is_monotonic_increasing


def test_without_damping_the_step_has_no_part_where_the_method_leaves_it_out() -> None:
    task, model = LINEAR["toy, double"]()
    table = imu.curvature_spectrum(task, model, rho=0.0).table
    flat = table["relative"] < 1e-9
    assert flat.any() and table["step"][flat].sum() == 0 and table["step"].sum() == pytest.approx(1)


def test_what_is_refused() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    held = imu.statistics(task, model)
    with pytest.raises(ValueError, match="curvature='forget' asks for another"):
        imu.curvature_spectrum(task, model, curvature="forget", statistics=held)
    with pytest.raises(ValueError, match="curvature"):
        imu.curvature_spectrum(task, model, curvature="test")
    with pytest.raises(TypeError, match=r"takes the statistic that imu.statistics\(task, model\) gives; got"):
        imu.curvature_spectrum(task, model, statistics="train")
    with pytest.raises(ValueError, match="made of another model"):
        imu.curvature_spectrum(task, cases.retrained("digits fraction"), statistics=held)
