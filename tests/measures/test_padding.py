"""How far a user's sequences are padded changes nothing that is said of them."""

from __future__ import annotations

from functools import cache

import cases
import languages
import numpy as np
import padding
import pytest
import torch
from torch import nn

import imu_lab as imu

DISTANCES = ("kl-retrained", "js-retrained", "agreement")


@cache
def models() -> tuple[nn.Module, nn.Module, nn.Module]:
    """The original, the retrained model, and another."""
    task = padding.Padded()
    return imu.train(task, "train"), imu.train(task, "retain"), imu.train(task, "train", seed=1)


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_are_means_over_the_tokens_that_are_predicted(name: str) -> None:
    task, (model, retrained, _) = padding.Padded(more=3), models()
    found = imu.metrics.create(name)(task, model, retrained)["forget"][name.replace("-", "_")]
    each = []
    for row in padding.ROWS[:12]:
        with torch.no_grad():
            p, q = (one(row[None, :-1])[0].log_softmax(-1).exp() for one in (model, retrained))
        middle = (p + q) / 2
        values = {
            "kl-retrained": (q * (q / p).log()).sum(-1),
            "js-retrained": ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2,
            "agreement": (p.argmax(-1) == q.argmax(-1)).float(),
        }
        each.append(values[name].mean().item())
    assert found == pytest.approx(np.mean(each), rel=1e-4)


def test_distances_of_answers_are_means_over_their_own_tokens() -> None:
    task, (model, retrained) = languages.tiny(), languages.models()
    found = imu.metrics.create("agreement")(task, model, retrained)["forget"]["agreement"]
    forget, each = task.split("forget"), []
    for at in range(len(forget)):
        batch = forget.batch(torch.tensor([at]))
        count = int((batch.targets["tokens"][0, 1:] >= 0).sum())
        with torch.no_grad():
            given = [one(batch.inputs)[0, :count].argmax(-1) for one in (model, retrained)]
        each.append((given[0] == given[1]).float().mean().item())
    assert len({len(task.corpus.train[at].answer) for at in forget.ids.tolist()}) > 1, "their lengths differ"
    assert found == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize("estimator", [name for name in imu.estimators if name != "random"])
def test_influences_know_no_padding(estimator: str) -> None:
    short, long = (imu.influence(padding.Padded(more), models()[0], estimator).values for more in (0, 4))
    assert cases.relative(torch.tensor(long), torch.tensor(short)) <= 1e-4


@pytest.mark.parametrize(
    "method", ["imu", "joint-ascent", "preference-optimisation", "kl-ascent", "undial", "bad-teacher"]
)
def test_runs_know_no_padding(method: str) -> None:
    runs = [imu.unlearn(padding.Padded(more), models()[0], method=method, steps=3, lr=0.05) for more in (0, 4)]
    assert cases.close(*[run.curve["value"] for run in runs], within=1e-4)


def test_neighbours_know_no_padding() -> None:
    short, long = (imu.neighbours(padding.Padded(more), models()[0]) for more in (0, 4))
    numbers = [each.select_dtypes("number").to_numpy() for each in (short, long)]
    assert cases.close(*numbers, within=1e-4)


@pytest.mark.parametrize("method", ["random-label", "salun"])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_labels_are_drawn_for_batches_of_any_length(method: str, batch_size: int) -> None:
    task, (model, _) = languages.tiny(), languages.models()
    run = imu.unlearn(task, model, method=method, steps=9, batch_size=batch_size)
    assert run.events["steps"] == 9 and np.isfinite(run.value("forget", "loss"))
