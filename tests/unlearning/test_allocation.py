"""Joint allocation: Q and t against gradients written out, the weights against a library's and against optimality."""

from __future__ import annotations

from collections.abc import Iterator

import cases
import linear_heads
import numpy as np
import pytest
import torch
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from torch import Tensor

from imu_lab.core.running import one_thread
from imu_lab.features.gradients import explicit, gradients_of
from imu_lab.unlearning import allocation
from imu_lab.unlearning.allocation import Exchange, allocate, exchange

DOUBLE = [name for name in linear_heads.LINEAR if "double" in name]


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Small products: one thread is faster."""
    with one_thread():
        yield


def factor(size: int, seed: int) -> Tensor:
    """A symmetric matrix without negative eigenvalues; the last is zero, as of G."""
    root = torch.randn(size, size - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / size


def rows(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Δ, the rows a, and (n, K, D) the gradients themselves, each by a backward pass of its own."""
    task, model = linear_heads.LINEAR[name]()
    forget, way = task.split("forget"), gradients_of(task, model)
    errors, inputs = (torch.cat(parts) for parts in list(zip(*way.factors(forget)))[1:])
    layer = model.get_submodule(way.name)
    if layer.bias is not None:
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)
    whole = explicit(task, model, forget)
    split = whole.split([layer.weight.numel(), whole.shape[1] - layer.weight.numel()], 1)
    parts = [split[0].view(len(whole), *layer.weight.shape), *([split[1][..., None]] if layer.bias is not None else [])]
    return errors, inputs, torch.cat(parts, 2)


def drawn(count: int, seed: int = 0, outputs: int = 4, width: int = 6) -> Exchange:
    """Samples whose gradients have a direction in common, so that pressing them gains something."""
    generator = torch.Generator().manual_seed(seed)
    errors = torch.randn(count, outputs, generator=generator, dtype=torch.float64) + 0.3
    inputs = torch.randn(count, width, generator=generator, dtype=torch.float64) + 0.5
    errors = errors * torch.rand(count, 1, generator=generator, dtype=torch.float64) ** 4  # most are fitted well
    return exchange(errors, inputs, factor(width, 1), factor(outputs, 2))


def whole(given: Exchange) -> Tensor:
    """(n, n) Q, by its columns."""
    return torch.stack([given.times(unit) for unit in torch.eye(len(given.gain), dtype=torch.float64)], 1)


@pytest.mark.parametrize("name", DOUBLE)
def test_gain_and_damage_are_those_of_explicit_gradients(name: str) -> None:
    errors, inputs, gradients = rows(name)
    across, along = factor(errors.shape[-1], 3), factor(inputs.shape[-1], 4)
    given = exchange(errors, inputs, along, across)
    moved = across @ gradients @ along
    damage = gradients.flatten(1) @ moved.flatten(1).T
    damage += 1e-3 * damage.trace() / len(damage) * torch.eye(len(damage))
    assert cases.close(whole(given), damage, within=1e-8)
    assert cases.close(given.gain, gradients.flatten(1) @ gradients.mean(0).flatten(), within=1e-8)


def test_one_prediction_each_gives_the_products_of_the_formula() -> None:
    errors, inputs, _ = rows(next(name for name in DOUBLE if rows(name)[0].ndim == 2))
    across, along = factor(errors.shape[-1], 3), factor(inputs.shape[-1], 4)
    given = exchange(errors, inputs, along, across)
    damage = (inputs @ along @ inputs.T) * (errors @ across @ errors.T)
    damage += 1e-3 * damage.trace() / len(damage) * torch.eye(len(damage))
    assert cases.close(whole(given), damage, within=1e-8)
    assert cases.close(given.gain, ((inputs @ inputs.T) * (errors @ errors.T)).mean(1), within=1e-8)


def by_library(given: Exchange) -> Tensor:
    """Non-negative least squares on a Cholesky factor of Q."""
    lower = cholesky(whole(given).numpy(), lower=True)
    return torch.tensor(nnls(lower.T, solve_triangular(lower, given.gain.numpy(), lower=True))[0])


@pytest.mark.parametrize("count", [1, 2, 7, 60, 300])
@pytest.mark.parametrize("few", [0, 600])
def test_the_weights_are_those_of_non_negative_least_squares(
    count: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation, "FEW", few)  # by iterations, or by a matrix of pairs
    given = drawn(count, seed=count % 2)
    found, expected = allocate(given), by_library(given)
    best = given.objective(expected)
    assert best < 0 and given.objective(found.weights) - best <= max(2 * found.gap, 1e-9) * -best
    assert found.gap <= 1e-6 and cases.close(found.weights, expected, within=1e-3)


@pytest.mark.parametrize("name", DOUBLE)
def test_weights_of_models_and_sequences_are_optimal(name: str) -> None:
    errors, inputs, _ = rows(name)
    given = exchange(errors, inputs, factor(inputs.shape[-1], 4), factor(errors.shape[-1], 3))
    weights = allocate(given, 1e-10).weights
    slope, scale = given.times(weights) - given.gain, given.gain.abs().max()
    assert (weights >= 0).all() and (weights > 0).any()
    assert (slope >= -1e-4 * scale).all(), "a sample without weight would gain by one"
    assert slope[weights > 0].abs().max() <= 1e-4 * scale, "a sample with weight would gain by another"


def test_a_coarse_answer_misses_no_more_than_it_says() -> None:
    given = drawn(200, 3)
    best = given.objective(allocate(given, 1e-10).weights)
    for tolerance in (0.5, 1e-2, 1e-4):
        found = allocate(given, tolerance)
        missed = 1 - given.objective(found.weights) / best
        assert missed <= found.gap + 1e-9 and found.gap <= tolerance


def test_one_sample_by_hand_and_copies_of_it_share_its_part() -> None:
    errors, inputs = torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0, 1.0]])
    identity = torch.eye(2, dtype=torch.float64)
    alone = allocate(exchange(errors, inputs, identity, identity)).weights
    assert cases.close(alone, [1 / 1.001], within=1e-6)  # Q = 10 and a thousandth of it, t = 10
    five = allocate(exchange(errors.expand(5, -1), inputs.expand(5, -1), identity, identity)).weights
    assert cases.close(five, [1 / 5.001] * 5, within=1e-6)


def test_the_order_and_the_unit_of_samples_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(5)
    errors, inputs = torch.randn(40, 3, generator=generator) + 0.4, torch.randn(40, 5, generator=generator) + 0.4
    order, along, across = torch.randperm(40, generator=generator), factor(5, 1), factor(3, 2)
    first = allocate(exchange(errors, inputs, along, across), 1e-10).weights
    assert cases.close(
        allocate(exchange(errors[order], inputs[order], along, across), 1e-10).weights, first[order], 1e-4
    )
    small = allocate(exchange(1e-6 * errors, inputs, along, across), 1e-10).weights
    assert cases.close(small, first, within=1e-4)
    assert cases.close(allocate(exchange(errors, inputs, 7 * along, across), 1e-10).weights, first / 7, within=1e-4)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_without_gradients_nobody_gets_anything(value: float) -> None:
    errors = torch.full((4, 3), value)
    found = allocate(exchange(errors, torch.ones(4, 2), factor(2, 0), factor(3, 1)))
    assert torch.equal(found.weights.isnan(), torch.full((4,), bool(np.isnan(value))))
    assert found.weights.isnan().all() or (found.weights == 0).all()


def test_no_matrix_of_all_pairs_is_formed() -> None:
    given = drawn(60_000, outputs=3, width=4)  # of all pairs: 29 GB
    found = allocate(given, 1e-3)
    assert found.gap <= 1e-3 and (found.weights > 0).any()
