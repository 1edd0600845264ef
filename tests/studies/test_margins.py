"""KLoM: by hand, by the densities themselves, and on runs over seeds."""

from __future__ import annotations

import dataclasses

import cases
import numpy as np
import pytest
import sequences
import torch

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.studies.margins import binned_kl, gaussian_kl, margins
from imu_lab.tasks.protocol import Task


def runs(task: Task, seeds: range = range(3), **how: object) -> list[Run]:
    """Each from an original of its own seed."""
    return [imu.unlearn(task, imu.train(task, "train", seed=seed), seed=seed, steps=4, **how) for seed in seeds]


def test_gaussians_by_hand() -> None:
    first, second = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[1.0, 1.0], [5.0, 1.0]])
    # N(1, 2) from N(3, 8): log 2 + (2 + 4) / 16 - 1/2; and two that are the same constant.
    assert gaussian_kl(first, second) == pytest.approx([np.log(2) + 6 / 16 - 0.5, 0.0])
    assert gaussian_kl(second, first)[0] == pytest.approx(-np.log(2) + 12 / 4 - 0.5), "the direction matters"
    assert gaussian_kl(first, first)[0] == pytest.approx(0)
    assert gaussian_kl(first[:, 1:], second[:, :1]) == gaussian_kl(second[:, :1], first[:, 1:]) == [np.inf]


def test_gaussians_against_the_integral_of_their_densities() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1, 2, (7, 3)), random.normal(0, 3, (5, 3))
    grid = np.linspace(-60, 60, 200_001)[:, None]
    logs = [
        -0.5 * ((grid - values.mean(0)) ** 2 / values.var(0, ddof=1) + np.log(2 * np.pi * values.var(0, ddof=1)))
        for values in (first, second)
    ]
    expected = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(0) * (grid[1, 0] - grid[0, 0])
    assert cases.close(gaussian_kl(first, second), expected, within=1e-6)


def test_histograms_by_hand() -> None:
    first, second = np.array([[0.0], [0.1], [20.0], [20.0]]), np.array([[0.0], [20.0], [20.0], [20.0]])
    shares = np.full((2, 20), 1e-5)
    shares[:, [0, -1]] += [[0.5, 0.5], [0.25, 0.75]]
    p, q = shares / shares.sum(1, keepdims=True)
    assert binned_kl(first, second) == pytest.approx([(p * np.log(p / q)).sum()])


def test_the_margin_is_the_log_odds_of_the_truth() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    batch = task.split("test").batch()
    with torch.no_grad():
        p = model(batch.inputs).double().softmax(-1).gather(1, batch.targets[:, None])[:, 0]
    assert cases.close(margins(task, model, task.split("test")), (p / (1 - p)).log(), within=1e-4)


def test_of_a_sequence_it_is_the_mean_over_its_predictions() -> None:
    task, model = sequences.tiny(), sequences.models()[0]
    examples = task.split("forget")
    tokens = task.token_losses(model, examples.batch()).detach().double()  # -log p of each prediction
    expected = (-tokens - torch.log(-torch.expm1(-tokens))).mean(1)
    assert cases.close(margins(task, model, examples), expected, within=1e-4)


def test_runs_over_seeds_beside_retrained_models() -> None:
    task = cases.task("toy")
    references, mine = imu.references(task, seeds=range(3)), runs(task)
    table = imu.klom(mine, references, splits=("forget", "test"))
    assert table.groupby("split", sort=False).size().to_dict() == {
        name: len(task.split(name)) for name in ("forget", "test")
    }
    forget = table[table["split"] == "forget"]
    retrained, unlearned = (
        np.stack([margins(task, model, task.split("forget")) for model in models])
        for models in (references.models, [run.model for run in mine])
    )
    assert cases.close(forget["klom_references_runs"].to_numpy(), gaussian_kl(retrained, unlearned), within=1e-9)
    assert cases.close(forget["margin_runs"].to_numpy(), unlearned.mean(0), within=1e-9)
    assert cases.close(forget["deviation_references"].to_numpy(), retrained.std(0, ddof=1), within=1e-9)
    ledger = mine[0].samples.merge(forget.drop(columns=["label", "weight", "pressure"]), on="example")
    assert len(ledger) == len(forget)
    assert cases.close(forget["pressure"].to_numpy(), np.mean([run.samples["pressure"] for run in mine], 0))
    assert table.loc[table["split"] == "test", "pressure"].isna().all()


def test_more_than_twenty_models_are_told_by_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.studies.margins.FEW", 2)
    task = cases.task("toy")
    references, mine = imu.references(task, seeds=range(3)), runs(task)
    retrained, unlearned = (
        np.stack([margins(task, model, task.split("forget")) for model in models])
        for models in (references.models, [run.model for run in mine])
    )
    assert (
        imu.klom(mine, reference=references)["klom_references_runs"].tolist()
        == binned_kl(retrained, unlearned).tolist()
    )


def test_what_has_no_distribution_is_refused() -> None:
    task = cases.task("toy")
    references, mine = imu.references(task, seeds=range(2)), runs(task, range(2))
    with pytest.raises(ValueError, match="two or more models on each side: .* got 1 and 2"):
        imu.klom(mine[0], references)
    with pytest.raises(ValueError, match="got 2 and no references"):
        imu.klom(mine, references.models[0])
    others = dataclasses.replace(task, seed=task.seed + 1)
    of_others = runs(others, range(2))
    with pytest.raises(ValueError, match="several experiments, .*task seed 0.*task seed 1"):
        imu.klom([mine[0], of_others[1]], references)
    with pytest.raises(ValueError, match="another request|other data|another task"):
        imu.klom(of_others, references)
    with pytest.raises(ValueError, match="several experiments, .*lr 0.1"):
        imu.klom([mine[0], *runs(task, range(1, 2), lr=0.1)], references)
    with pytest.warns(UserWarning, match="all these runs began from the same original"):
        imu.klom(imu.unlearn(task, cases.original("toy"), steps=2, batch_size=4, seeds=range(2)), references)
