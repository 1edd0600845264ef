"""A recipe's optimizer and schedule are the ones it names."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
import sequences
import torch

from imu_lab.core.running import one_thread
from imu_lab.tasks import Recipe
from imu_lab.tasks.training import _optimizer, epochs


def test_adamw_at_a_constant_rate_equals_the_loop_written_out() -> None:
    task = sequences.tiny()
    recipe = Recipe(epochs=2, lr=3e-3, batch_size=25, weight_decay=0.1, optimizer="adamw", schedule="constant")
    trained, by_hand = task.make_model(1), task.make_model(1)
    examples = task.split("train")
    list(epochs(task, trained, examples, recipe, seed=4))
    optimizer = torch.optim.AdamW(by_hand.parameters(), 3e-3, weight_decay=0.1)
    order = torch.Generator().manual_seed(4)
    batches = [batch for _ in range(2) for batch in torch.randperm(60, generator=order).split(25)]
    with one_thread():  # as in training: Adam turns rounding into steps where a gradient is zero
        for positions in batches:
            optimizer.zero_grad()
            task.example_loss(by_hand, examples.batch(positions)).mean().backward()
            optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(trained.parameters(), by_hand.parameters()))


@pytest.mark.parametrize("name, kind", [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_rate_moves_as_the_schedule_says(name: str, kind: type) -> None:
    model = torch.nn.Linear(2, 2)
    for schedule in ("one-cycle", "constant"):
        optimizer, moving = _optimizer(model, Recipe(lr=0.1, optimizer=name, schedule=schedule), updates=10)
        assert isinstance(optimizer, kind)
        rates = []
        for _ in range(10):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            moving.step()
        assert rates == [0.1] * 10 if schedule == "constant" else max(rates) > 0.09 > 0.01 > rates[0]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"optimizer": "adam"}, "unknown value for `optimizer` of Recipe: 'adam'.*Known: sgd, adamw"),
        ({"schedule": "cosine"}, "Known: one-cycle, constant"),
    ],
)
def test_an_unknown_one_is_named(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


def test_help_says_what_each_setting_means_and_may_be() -> None:
    said = inspect.getdoc(Recipe)
    assert "schedule ('one-cycle'): How the learning rate moves. One of 'one-cycle', 'constant'." in said
    assert all(f"    {field.name} (" in said for field in fields(Recipe))
