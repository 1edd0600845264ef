"""A user's own model that knows no more than guessing, or knows unseen samples better, is spoken of once, and no other is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.lab import doubts

DRAW = torch.Generator().manual_seed(0)
PLACES = 3 * torch.randn(2, 4, generator=DRAW)
STEP = dict(steps=1, lr=1e-3)


def part(count: int, noise: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % 2
    return PLACES[labels] + noise * torch.randn(count, 4, generator=DRAW), labels


TRAIN, TEST = part(50), part(40)


def trained(x: torch.Tensor, y: torch.Tensor, flipped: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), 1 - y if flipped else y).backward()
        optimizer.step()
    return model.eval()


def said(model: nn.Module, train: Any, test: Any, **how: Any) -> list[str]:
    """What two runs in a row warn of, beside what became of them."""
    task = imu.tasks.Classification.from_data(model, train, test, forget_indices=range(8), **how)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for seed in (0, 1):
            imu.unlearn(task, model, seed=seed, **STEP)
    return [str(each.message) for each in heard if "the model is right on" in str(each.message)]


def test_outputs_in_another_order_than_the_labels_are_spoken_of_once() -> None:
    (words,) = said(trained(*TRAIN, flipped=True), TRAIN, TEST)
    assert words.startswith(
        "the model is right on 0% of its 50 training samples, where guessing gives 50%: is classes= in the"
    )
    names = np.array(["cat", "dog"])
    words = [(x, names[y]) for x, y in (TRAIN, TEST)]
    assert said(trained(*TRAIN, flipped=True), *words) and not said(
        trained(*TRAIN, flipped=True), *words, classes=["dog", "cat"]
    )


def test_a_model_that_was_never_trained_is_spoken_of_where_samples_are_many() -> None:
    many, few = part(400), part(20)
    hopeless = nn.Linear(4, 2)
    nn.init.zeros_(hopeless.weight)
    assert said(hopeless, many, TEST) and not said(hopeless, few, TEST)
    assert not said(trained(*many), many, TEST)


def test_parts_that_are_swapped_are_spoken_of() -> None:
    learned, unseen = part(60, noise=12.0), part(300, noise=12.0)  # learned by heart, and hardly to be told apart
    model = trained(*learned)
    assert not said(model, learned, unseen)
    (words,) = said(model, unseen, learned)
    assert "of its 60 test samples and on" in words and words.endswith("are train and test swapped?")


def test_of_another_model_than_the_one_brought_along_nothing_is_said() -> None:
    task = imu.tasks.Classification.from_data(trained(*TRAIN), TRAIN, TEST, forget_indices=range(8))
    measured = {name: {"accuracy": 0.0} for name in ("forget", "retain", "test")}
    other = trained(*TRAIN, flipped=True)
    assert doubts.doubt(task, other, measured, 9.0) == "" != doubts.doubt(task, task.data.original, measured, 9.0)
    assert doubts.doubt(task, task.data.original, measured, 0.8) == ""  # an untrained one errs, and is not sure of it
    assert doubts.doubt(imu.tasks.Toy(), other, measured, 9.0) == ""


@pytest.mark.parametrize(
    "count, right, certain",
    [(24, 0, True), (24, 8, False), (50, 25, False), (400, 200, True), (200, 100, False), (400, 240, False)],
)
def test_it_speaks_only_where_a_trained_model_would_hardly_be_so_unlucky(count: int, right: int, certain: bool) -> None:
    assert bool(doubts._not_learned(right / count, count, 0.5)) is certain
