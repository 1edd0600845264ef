"""The task vector of the forget set, taken away."""

from __future__ import annotations

import cases
import pytest
import torch
from descents import EACH, by_hand, flat, losses, stepped

import imu_lab as imu


@pytest.mark.few(1)
@EACH
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_it_is_the_way_learned_gone_backwards(given, strength: float) -> None:
    """Not ascent: each of its steps is downhill on the forget set, from where the learner is and not from the model."""
    task, model = given()
    moved, updates = stepped(task, model, "task-vector", steps=5, strength=strength)
    learned = by_hand(model, lambda m: losses(task, m).mean(), steps=5)
    assert cases.close(flat(moved), flat(model) - strength * (flat(learned) - flat(model)), within=1e-12)
    told = [update.terms["learning"] for update in updates]
    assert told == sorted(told, reverse=True) and told[0] == pytest.approx(losses(task, model).mean().item())
    assert losses(task, moved).mean() > losses(task, model).mean()


def test_an_update_has_the_length_that_the_model_moved() -> None:
    task, model = cases.in_double("toy")
    before = flat(model)
    one, two = (stepped(task, model, "task-vector", steps=steps, strength=2.0) for steps in (1, 2))
    assert one[1][0].terms["update_norm"] == pytest.approx((flat(one[0]) - before).norm().item(), rel=1e-12)
    assert two[1][1].terms["update_norm"] == pytest.approx((flat(two[0]) - flat(one[0])).norm().item(), rel=1e-12)
    run = imu.unlearn(task, model, method="task-vector", steps=2, step_norm=0.1, strength=2.0)
    assert run.terms.query("term == 'update_norm'")["value"].tolist() == pytest.approx([0.1, 0.1])
    assert torch.equal(flat(model), before)


def test_beside_a_layer_that_may_not_move_each_weight_goes_its_own_way() -> None:
    """All layers are of one shape, so that nothing but their names tells them apart."""
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4)).eval()
    model[0].requires_grad_(False)
    data = (inputs, torch.arange(40) % 4)
    how = dict(method="task-vector", scope="all", steps=1, lr=0.1, strength=2.0, momentum=0.0, weight_decay=0.0)
    for readout in (None, ("0", "2")):
        unseen = (inputs + 0.1, data[1])
        task = imu.tasks.Classification.from_data(model, data, unseen, forget_indices=range(6), readout=readout)
        run = imu.unlearn(task, model, **how)
        loss = torch.nn.functional.cross_entropy(model(inputs[:6]), data[1][:6])
        (slope,) = torch.autograd.grad(loss, [model[2].weight])
        assert cases.close(run.model[2].weight, model[2].weight + 2.0 * 0.1 * slope, within=1e-6)
        assert torch.equal(run.model[0].weight, model[0].weight)
