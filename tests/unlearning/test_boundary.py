"""Boundary shrink: which class lies across, and descent towards it."""

from __future__ import annotations

import cases
import pytest
import torch
from descents import GIVEN, averaged, by_hand, difference, likely, losses, stepped, truths
from torch import Tensor, nn

import imu_lab as imu


def across(task: object, model: nn.Module, inner: bool, epsilon: float, exclude: bool) -> Tensor:
    """(n,) the class a step away, of one input or of what reaches the last layer at a time."""
    found = []
    inputs, truth = task.split("forget").batch().inputs, truths(task)
    answer = model[2] if inner else model
    for x, y in zip(inputs, truth):
        x = (model[1](model[0](x)) if inner else x).detach().requires_grad_()
        slope = torch.autograd.grad(-answer(x).log_softmax(-1)[y], x)[0]
        logits = answer(x + epsilon * x.abs().mean() * slope.sign()).detach()
        found.append(max((k for k in range(len(logits)) if not (exclude and k == y)), key=lambda k: logits[k].item()))
    return torch.tensor(found)


@pytest.mark.few(1)
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_through_the_whole_network(epsilon: float, exclude: bool) -> None:
    task, model = GIVEN["points"]()
    wanted = across(task, model, False, epsilon, exclude)

    def loss(moved: nn.Module) -> Tensor:
        return -likely(task, moved).gather(-1, wanted[:, None]).log().mean()

    moved, updates = stepped(task, model, "boundary-shrink", steps=4, epsilon=epsilon, exclude_true=exclude)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-9
    assert updates[0].terms["boundary"] == pytest.approx(loss(model).item(), rel=1e-10)


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_at_the_readout_the_step_is_in_what_reaches_it_cached_or_not(epsilon: float) -> None:
    task, model = GIVEN["points"]()
    wanted = across(task, model, True, epsilon, True)
    first = -likely(task, model).gather(-1, wanted[:, None]).log().mean().item()
    for cache in (True, False):
        run = imu.unlearn(task, model, method="boundary-shrink", epsilon=epsilon, steps=1, batch_size=99, cache=cache)
        assert run.terms.query("term == 'boundary'")["value"].item() == pytest.approx(first, rel=1e-9)


def test_what_crosses_no_boundary_is_trained_to_stay_unless_excluded() -> None:
    task, model = GIVEN["points"]()
    assert torch.equal(across(task, model, False, 1e-6, False), likely(task, model).argmax(-1))
    stays, _ = stepped(task, model, "boundary-shrink", steps=3, epsilon=1e-6, exclude_true=False)
    leaves, _ = stepped(task, model, "boundary-shrink", steps=3, epsilon=1e-6, exclude_true=True)
    assert losses(task, stays).mean() < losses(task, model).mean() < losses(task, leaves).mean()


def test_each_token_has_a_class_of_its_own_and_padding_does_not_count() -> None:
    task, model = GIVEN["tokens"]()
    run = imu.unlearn(task, model, method="boundary-shrink", exclude_true=True, epsilon=1e-6, steps=1, batch_size=99)
    chance = likely(task, model).scatter(-1, truths(task)[..., None], 0.0).max(-1).values
    told = run.terms.query("term == 'boundary'")["value"].item()
    assert told == pytest.approx(-averaged(task, chance.log()).item(), rel=1e-9)


def test_tokens_have_no_neighbours_to_step_to() -> None:
    task, model = GIVEN["tokens"]()
    with pytest.raises(
        ValueError, match='inputs are no one tensor of real numbers; use a linear readout with scope="readout"'
    ):
        imu.unlearn(task, model, method="boundary-shrink", scope="all", steps=1)


def test_it_comes_to_rest() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method="boundary-shrink", steps=200, lr=0.5, weight_decay=0.0, exclude_true=True)
    told = run.terms.query("term == 'boundary_gradient'")["value"]
    assert run.value("forget", "accuracy") == 0 and told.iloc[-1] < 0.1 * told.iloc[0]
