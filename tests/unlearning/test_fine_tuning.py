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


@EACH
def test_all_layers_are_fine_tuning_and_anew_it_is_training_from_fresh_weights(given: Callable) -> None:
    task, model = given()
    count = len({name.rpartition(".")[0] for name, _ in model.named_parameters()})
    fresh = task.make_model(0).to(next(model.parameters()).dtype)
    for name, start in (("cf-k", model), ("eu-k", fresh)):
        moved, _ = stepped(task, model, name, steps=3, layers=count)
        assert difference(moved, by_hand(start, lambda m: losses(task, m, "retain").mean(), steps=3), start) < 1e-8


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="layers=9 are more than the 2 of this Sequential"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), method="eu-k", layers=9)
