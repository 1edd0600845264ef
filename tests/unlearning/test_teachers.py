"""SCRUB and the bad teacher, each against its formula written out again."""

from __future__ import annotations

import copy

import linear_heads
import pytest
import torch
from descents import EACH, by_hand, difference, flat, losses, stepped
from torch import Tensor, nn

import imu_lab as imu


def kl(task: object, teacher: nn.Module, model: nn.Module, split: str, warm: float = 1.0) -> Tensor:
    """T² times the mean KL(teacher ‖ model) at temperature T; of a sequence over its own predicted tokens, of which 0 is none."""
    batch = task.split(split).batch()
    truth, found = ((each(batch.inputs) / warm).softmax(-1) for each in (teacher, model))
    apart = (truth.detach() * (truth.detach() / found).log()).sum(-1)
    if isinstance(task, linear_heads.Padded):
        own = batch.targets[:, 1:] != 0
        apart = (apart[:, :-1] * own).sum(1) / own.sum(1)
    return warm**2 * apart.mean()


@pytest.mark.few(1)
@EACH
def test_scrub_goes_away_and_comes_back_in_turns_and_then_only_back(given) -> None:
    task, model = given()

    def loss(moved: nn.Module, step: int) -> Tensor:
        if step in (0, 2):
            return -kl(task, model, moved, "forget", 3.0)
        return 0.7 * losses(task, moved, "retain").mean() + 0.4 * kl(task, model, moved, "retain", 3.0)

    how = dict(alpha=0.4, gamma=0.7, temperature=3.0, forget_passes=2)
    moved, updates = stepped(task, model, "scrub", steps=6, **how)
    assert difference(moved, by_hand(model, loss, steps=6), model) < 1e-8
    kinds = [next(iter(update.terms)) for update in updates]
    assert kinds == ["away", "retain", "away", "retain", "retain", "retain"]
    assert updates[0].terms["away"] == pytest.approx(0, abs=1e-12) and updates[2].terms["away"] < -1e-6


def test_scrub_moves_the_student_and_not_its_teacher() -> None:
    """One public copy steps the teacher, so that its row is "do nothing"."""
    task, model = imu.tasks.Toy(), imu.train(imu.tasks.Toy(), "train")
    before = flat(model).clone()
    run = imu.unlearn(task, model, method="scrub", steps=60, batch_size=8, lr=0.05)
    assert run.value("forget", "loss") > 2 * run.value("forget", "loss", 0)
    assert torch.equal(flat(model), before) and not torch.equal(flat(run.model), before)


@EACH
def test_the_bad_teacher(given) -> None:
    task, model = given()
    fresh = copy.deepcopy(task.make_model(0)).eval().to(next(model.parameters()).dtype)
    share = len(task.split("forget")) / (len(task.split("forget")) + len(task.split("retain")))

    def loss(moved: nn.Module) -> Tensor:
        return share * kl(task, fresh, moved, "forget") + (1 - share) * kl(task, model, moved, "retain")

    moved, updates = stepped(task, model, "bad-teacher", steps=3, share=1.0)
    assert difference(moved, by_hand(model, loss, steps=3), model) < 1e-8
    # Divided by the number of classes as well, as public code has it, this would be a fraction of it.
    assert updates[0].terms["bad_teacher"] == pytest.approx(share * kl(task, fresh, model, "forget").item(), rel=1e-9)


def test_the_bad_teacher_uses_a_share_of_the_retain_set() -> None:
    task = imu.tasks.Toy()
    model = imu.train(task, "train")
    forget, retain = (len(task.split(name)) for name in ("forget", "retain"))
    for share in (0.3, 1.0):
        run = imu.unlearn(task, model, method="bad-teacher", steps=1, share=share, lr=0.1, batch_size=1_000)
        used = forget / (forget + -(-round(share * 10) * retain // 10))
        fresh = task.make_model(0)
        told = run.terms.query("term == 'bad_teacher'")["value"].item()
        assert told == pytest.approx(used * kl(task, fresh, model, "forget").item(), rel=1e-4)
        late = imu.unlearn(task, model, method="bad-teacher", steps=40, share=share, lr=0.1)
        assert late.value("forget", "accuracy") < late.value("forget", "accuracy", 0)
