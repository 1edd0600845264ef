"""CE-U and UNDIAL, each against its formula; DELETE beside them."""

from __future__ import annotations

import cases
import pytest
import torch
from descents import EACH, GIVEN, averaged, by_hand, difference, likely, losses, stepped, truths
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.unlearning.self_distillation import without_truth


def drawn_to(task: object, model: nn.Module, lowered: float) -> Tensor:
    """(n, ..., K) the model's probabilities with the true logit lowered."""
    share = likely(task, model).detach()
    factor = torch.ones_like(share).scatter(-1, truths(task)[..., None], torch.tensor(-lowered).double().exp().item())
    return share * factor / (share * factor).sum(-1, keepdim=True)


def apart(task: object, wanted: Tensor, moved: nn.Module) -> Tensor:
    """The mean KL(wanted ‖ moved)."""
    each = torch.where(wanted > 0, wanted * (wanted.log() - likely(task, moved).log()), 0.0)
    return averaged(task, each.sum(-1))


@pytest.mark.few(2)
@EACH
@pytest.mark.parametrize("beta", [0.5, 3.0, 10.0])
def test_undial(given, beta: float) -> None:
    task, model = given()
    wanted = drawn_to(task, model, beta)
    moved, updates = stepped(task, model, "undial", steps=4, beta=beta)
    assert difference(moved, by_hand(model, lambda m: apart(task, wanted, m), steps=4), model) < 1e-8
    assert updates[0].terms["undial"] == pytest.approx(apart(task, wanted, model).item(), rel=1e-9)


@pytest.mark.few(1)
@EACH
def test_ce_u_follows_the_model_as_it_is_and_delete_the_model_as_given(given) -> None:
    task, model = given()
    first = drawn_to(task, model, torch.inf)

    def current(moved: nn.Module) -> Tensor:
        return apart(task, drawn_to(task, moved, torch.inf), moved)

    ce_u, updates = stepped(task, model, "ce-u", steps=4)
    delete, _ = stepped(task, model, "delete", steps=4)
    assert difference(ce_u, by_hand(model, current, steps=4), model) < 1e-8
    assert difference(delete, by_hand(model, lambda m: apart(task, first, m), steps=4), model) < 1e-8
    assert difference(ce_u, delete, model) > 1e-4  # they are not the same method
    chance = likely(task, model).gather(-1, truths(task)[..., None])[..., 0]
    assert updates[0].terms["ce_u"] == pytest.approx(-averaged(task, (1 - chance).log()).item(), rel=1e-9)


@EACH
def test_far_enough_lowered_is_taken_out(given) -> None:
    task, model = given()
    undial, delete = (
        stepped(task, model, name, steps=3, **more)[0] for name, more in (("undial", {"beta": 60.0}), ("delete", {}))
    )
    assert difference(undial, delete, model) < 1e-9


def test_by_hand() -> None:
    batch = imu.tasks.Batch(None, torch.tensor([1]))
    wanted = without_truth(cases.task("toy"), torch.tensor([[0.0, 2.0, 0.0]]).double(), batch, lowered=2.0)
    assert cases.close(wanted.logs.exp(), [[1 / 3, 1 / 3, 1 / 3]])


def test_padding_does_not_count() -> None:
    """The mean over all positions, as a public benchmark has it, is smaller the more of them are padding."""
    task, model = GIVEN["tokens"]()
    _, updates = stepped(task, model, "undial", steps=1)
    counts = (truths(task) != 0).double()
    wanted = drawn_to(task, model, 10.0)
    each = (wanted * (wanted / likely(task, model)).log()).sum(-1).detach()
    assert (counts == 0).any()
    assert updates[0].terms["undial"] == pytest.approx(((each * counts).sum(1) / counts.sum(1)).mean().item(), rel=1e-9)
    assert updates[0].terms["undial"] != pytest.approx((each * counts).mean().item(), rel=0.02)


@pytest.mark.parametrize("name", ["ce-u", "undial"])
def test_they_forget(name: str) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, method=name, steps=200, lr=0.5, weight_decay=0.0)
    assert run.value("forget", "accuracy") == 0
    assert losses(task, run.model).mean() > losses(task, model).mean()
