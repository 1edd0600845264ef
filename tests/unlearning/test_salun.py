"""SalUn: who may move, and that nobody else does."""

from __future__ import annotations

import cases
import pytest
import torch
from descents import EACH, by_hand, difference, flat, losses, stepped
from torch import nn

import imu_lab as imu
from imu_lab.unlearning.salun import largest


def gradient(task: object, model: nn.Module) -> torch.Tensor:
    """(P,) of the forget set's mean loss."""
    parts = torch.autograd.grad(losses(task, model).mean(), list(model.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.few(1)
@EACH
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_not_salient_stays_bit_for_bit_under_momentum_and_weight_decay(given, optimizer: str) -> None:
    """A mask on the gradient alone, as public code had, leaves the others to weight decay and to momentum."""
    task, model = given()
    decay = dict(momentum=0.9, weight_decay=0.1, optimizer=optimizer)
    moved, _ = stepped(task, model, "salun", steps=5, share=0.3, **decay)
    sizes = gradient(task, model).abs()
    count = -(-3 * len(sizes) // 10)
    salient = sizes >= sizes.sort(descending=True).values[count - 1]
    changed = flat(moved) != flat(model)
    assert torch.equal(changed, salient & (sizes > 0)) and 0.2 < changed.double().mean() <= 0.35


@EACH
def test_with_all_of_it_moving_it_is_random_labels_beside_the_retain_loss(given) -> None:
    task, model = given()
    labels, _ = stepped(task, model, "random-label", steps=1)
    pushed = (flat(labels) - flat(model)) / -0.05
    moved, updates = stepped(task, model, "salun", steps=1, share=1.0, retain_weight=2.0)
    kept = by_hand(model, lambda m: 2 * losses(task, m, "retain").mean())
    expected = flat(kept) - 0.05 * pushed
    # Zeros of the gradient are never salient: those stay.
    still = gradient(task, model) == 0
    assert cases.close(flat(moved)[~still], expected[~still], within=1e-10)
    assert updates[0].terms["retain"] == pytest.approx(2 * losses(task, model, "retain").mean().item(), rel=1e-12)


def test_the_step_asked_for_is_the_length_of_what_moves() -> None:
    task, model = cases.in_double("toy")
    moved, updates = stepped(task, model, "salun", steps=1, share=0.3, step_norm=0.25, weight_decay=10.0)
    assert (flat(moved) - flat(model)).norm().item() == pytest.approx(0.25, rel=1e-9)
    assert updates[0].terms["update_norm"] == 0.25


def test_the_largest_by_hand() -> None:
    parts = [torch.tensor([[3.0, -4.0], [0.0, 1.0]]), torch.tensor([-2.0, 0.0])]
    masks = [part.int().tolist() for part in largest(parts, 0.5)]
    assert masks == [[[1, 1], [0, 0]], [1, 0]]
    assert [part.int().tolist() for part in largest(parts, 1.0)] == [[[1, 1], [0, 1]], [1, 0]]
    assert [part.sum().item() for part in largest(parts, 0.01)] == [1, 0]


def test_the_mask_is_of_the_whole_set_whatever_the_batches() -> None:
    task, model = cases.in_double("toy")
    runs = [imu.unlearn(task, model, method="salun", steps=1, batch_size=size, share=0.2) for size in (7, 40)]
    changed = [flat(run.model) != flat(model) for run in runs]
    assert torch.equal(*changed) and difference(runs[0].model, runs[1].model, model) > 0
