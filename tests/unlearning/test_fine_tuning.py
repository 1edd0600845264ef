"""Training on with the retain set: the penalty that fades, the layers that move, and those that begin again."""

from __future__ import annotations

from collections.abc import Callable

import cases
import pytest
import torch
from descents import EACH, by_hand, difference, losses, stepped
from torch import Tensor, nn

import imu_lab as imu


@EACH
def test_the_l1_term_fades_by_passes_over_the_retain_set(given: Callable) -> None:
    task, model = given()

    def loss(moved: nn.Module, step: int) -> Tensor:
        gamma = 0.02 * max(0.0, 1 - step / 3)
        return losses(task, moved, "retain").mean() + gamma * sum(value.abs().sum() for value in moved.parameters())

    moved, updates = stepped(task, model, "l1-sparse", steps=5, gamma=0.02, passes=3)
    assert difference(moved, by_hand(model, loss, steps=5), model) < 1e-9
    size = sum(value.abs().sum() for value in model.parameters()).item()
    assert updates[0].terms["l1"] == pytest.approx(0.02 * size, rel=1e-12)
    assert [update.terms["l1"] == 0 for update in updates] == [False, False, False, True, True]


def test_a_pass_is_all_batches_of_the_retain_set() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    per_pass = -(-len(task.split("retain")) // 16)
    run = imu.unlearn(task, model, method="l1-sparse", passes=2, batch_size=16, lr=1e-9, steps=2 * per_pass + 1)
    l1 = run.terms.query("term == 'l1'")["value"].to_numpy()
    assert l1[per_pass - 1] == pytest.approx(l1[0]) and l1[per_pass] == pytest.approx(l1[0] / 2, rel=1e-4)
    assert l1[2 * per_pass - 1] > 0 == l1[2 * per_pass]


def test_without_its_penalty_it_is_fine_tuning() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    one, other = (
        imu.unlearn(task, model, method=name, steps=4, **more)
        for name, more in (("l1-sparse", {"gamma": 0.0}), ("fine-tune", {}))
    )
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters()))


@pytest.mark.parametrize("k, layers", [(1, ["classifier"]), (3, ["classifier", "narrow", "body.1"])])
@pytest.mark.parametrize("name", ["cf-k", "eu-k"])
def test_the_last_layers_alone_move(name: str, k: int, layers: list[str]) -> None:
    task, model = cases.task("own data"), cases.original("own data")
    before = cases.frozen(model)
    after = imu.unlearn(task, model, method=name, layers=k, steps=3, weight_decay=0.1).model.state_dict()
    moved = {key.rpartition(".")[0] for key, value in model.state_dict().items() if not torch.equal(value, after[key])}
    assert moved == set(layers) and cases.same(before, model)


def test_running_means_among_the_layers_begin_anew_and_follow_the_retain_set() -> None:
    """Those of the model as given are means over the forget set as well."""
    task, model = cases.task("own data"), cases.original("own data")
    run = imu.unlearn(task, model, method="eu-k", layers=3, steps=2, batch_size=1000, lr=1e-9)
    layer, norm = model.body[0], run.model.body[1]
    with torch.no_grad():
        seen = layer(task.split("retain").batch().inputs).double()  # what reaches it does not move
    mean, spread = seen.mean((0, 2, 3)), seen.var((0, 2, 3))
    left = (1 - norm.momentum) ** 2
    assert cases.close(norm.running_mean, (1 - left) * mean, within=1e-5)
    assert cases.close(norm.running_var, left + (1 - left) * spread, within=1e-5)
    assert int(norm.num_batches_tracked) == 2 and not any(each.training for each in run.model.modules())
    kept = imu.unlearn(task, model, method="cf-k", layers=3, steps=2).model.body[1]
    assert torch.equal(kept.running_mean, model.body[1].running_mean)


def test_a_single_sample_left_over_does_not_move_running_means() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    size = len(task.split("retain")) - 1
    run = imu.unlearn(task, model, method="eu-k", layers=3, steps=2, batch_size=size, lr=1e-3)
    assert int(run.model.body[1].num_batches_tracked) == 1


@EACH
def test_all_layers_are_fine_tuning_and_anew_it_is_training_from_fresh_weights(given: Callable) -> None:
    task, model = given()
    count = len({name.rpartition(".")[0] for name, _ in model.named_parameters()})
    fresh = task.make_model(0).to(next(model.parameters()).dtype)

    def loss(moved: nn.Module) -> Tensor:
        return losses(task, moved, "retain").mean()

    def following(moved: nn.Module) -> Tensor:
        for each in moved.modules():
            each.train(isinstance(each, nn.BatchNorm2d))  # as in training: its means are those of the batch
        return loss(moved)

    for name, start, by in (("cf-k", model, loss), ("eu-k", fresh, following)):
        moved, _ = stepped(task, model, name, steps=3, layers=count)
        assert difference(moved, by_hand(start, by, steps=3), start) < 1e-8


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="layers=9 are more than the 2 of this Sequential"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), method="eu-k", layers=9)
