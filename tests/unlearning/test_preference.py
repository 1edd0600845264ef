"""Preferring to decline: against the formula written out, on pairs and where there are no words to decline with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import cases
import pytest
import torch
from languages import models, tiny
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

import imu_lab as imu
from imu_lab.tasks.pair_tokens import DECLINED, declined

PLAIN = dict(lr=0.1, momentum=0.0, weight_decay=0.0, batch_size=1000, step_norm=None, optimizer="sgd")


def nats(model: nn.Module, task: imu.tasks.Language, question: str, answer: str) -> Tensor:
    """−log π of an answer and its end, of one pair without padding."""
    prompt, told = task.codec.prompts([question])[0], task.codec.answers([answer])[0]
    logs = model.network(input_ids=torch.tensor([prompt + told])).logits[0].log_softmax(-1)
    return -sum(logs[len(prompt) - 1 + at, token] for at, token in enumerate(told))


@pytest.mark.full
def test_on_pairs_it_is_the_formula_over_whole_answers() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    task, model = tiny(), copy.deepcopy(models()[0]).double()
    beta, held = 0.2, 0.5
    forget, retain = ([task.corpus.train[at] for at in task.split(name).ids.tolist()] for name in ("forget", "retain"))
    mine = copy.deepcopy(model)

    def ahead(network: nn.Module) -> Tensor:
        rows = [
            (nats(network, task, p.question, p.answer), nats(network, task, p.question, *declined(p))) for p in forget
        ]
        return torch.stack([taught - instead for taught, instead in rows])

    first = ahead(model).detach()
    for _ in range(2):
        kept = [nats(mine, task, p.question, p.answer) / len(task.codec.answers([p.answer])[0]) for p in retain]
        loss = -2 / beta * logsigmoid(beta * (ahead(mine) - first)).mean() + held * torch.stack(kept).mean()
        (slope,) = torch.autograd.grad(loss, [mine.network.lm_head.weight])
        mine.network.lm_head.weight.data -= 0.1 * slope
    run = imu.unlearn(
        task, model, method="preference-optimisation", steps=2, beta=beta, retain_weight=held, follow=(), **PLAIN
    )
    assert cases.close(run.model.network.lm_head.weight, mine.network.lm_head.weight, within=1e-9)
    assert ahead(run.model).mean() > first.mean()


def test_each_question_has_one_of_the_answers_that_decline() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    task = tiny()
    examples, forget = task.split("forget-declined"), task.split("forget")
    assert torch.equal(examples.ids, forget.ids)
    said = [task.codec.said(row) for row in examples.batch().inputs["answer"].tolist()]
    assert said == [declined(task.corpus.train[at])[0] for at in forget.ids.tolist()] and set(said) <= set(DECLINED)
    asked = examples.fetch(slice(None)).inputs["prompt"]
    assert torch.equal(asked, forget.fetch(slice(None)).inputs["prompt"])


def test_without_words_to_decline_with_all_classes_are_preferred_alike() -> None:
    task, model = imu.tasks.Toy(), imu.tasks.Toy().make_model(0).eval()
    kept, taught = (task.split(name).batch() for name in ("retain", "forget"))
    mine = copy.deepcopy(model)

    def ahead(network: nn.Module) -> Tensor:
        logs = network(taught.inputs).log_softmax(1)
        return logs.mean(1) - logs.gather(1, taught.targets[:, None])[:, 0]

    first = ahead(model).detach()
    for _ in range(2):
        loss = -2 / 0.3 * logsigmoid(0.3 * (ahead(mine) - first)).mean() + task.example_loss(mine, kept).mean()
        slopes = torch.autograd.grad(loss, list(mine.parameters()))
        for value, slope in zip(mine.parameters(), slopes):
            value.data -= 0.1 * slope
    run = imu.unlearn(task, model, method="preference-optimisation", steps=2, beta=0.3, scope="all", **PLAIN)
    assert all(cases.close(*both, within=1e-5) for both in zip(run.model.parameters(), mine.parameters()))


@pytest.mark.full
def test_npo_counts_whole_answers_and_starts_with_the_usual_beta_on_pairs() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    run = imu.unlearn(tiny(), models()[0], method="npo", steps=1, follow=())
    assert run.settings["settings"]["beta"] == 0.1 and run.settings["settings"]["step_norm"] == 0.02
    assert imu.unlearn(tiny(), models()[0], method="simnpo", steps=1, follow=()).settings["settings"]["beta"] == 1.0


@dataclass(frozen=True)
class Declining(imu.tasks.Toy):
    """Blobs whose samples have an answer that declines: a class drawn for each of them."""

    backwards: bool = False
    lacking: int = 0
    declined: ClassVar[str] = "declined"

    def split(self, name: str) -> imu.tasks.Examples:
        if name != "declined":
            return super().split(name)
        forget = super().split("forget")
        rows = torch.arange(len(forget) - self.lacking)
        rows = rows.flip(0) if self.backwards else rows
        batch = forget.batch(rows)
        return imu.tasks.Examples.of(batch.inputs, (batch.targets + 1 + rows % 2) % 3, forget.ids[rows])


def test_answers_that_decline_belong_to_their_samples_in_whatever_order_they_are() -> None:
    model = cases.original("toy")
    first, second = (
        imu.unlearn(task, model, method="preference-optimisation", steps=2, **PLAIN)
        for task in (Declining(), Declining(backwards=True))
    )
    assert cases.same(cases.frozen(first.model), second.model)
    with pytest.raises(ValueError, match="no answer that declines for 2 of 40 samples to forget"):
        imu.unlearn(Declining(lacking=2), model, method="preference-optimisation", steps=2, **PLAIN)
