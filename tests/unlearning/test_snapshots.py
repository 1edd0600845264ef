"""The weights after each recorded update: exact, small, saved, thinned when large."""

from __future__ import annotations

from pathlib import Path

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.unlearning.snapshots import Snapshots, moving_state


@pytest.fixture(scope="module")
def run() -> imu.Run:
    return imu.unlearn(cases.task("toy"), cases.original("toy"), steps=6, lr=0.1)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_the_first_is_the_original_and_the_last_the_unlearned(run: imu.Run) -> None:
    assert same(run.model_at(0), cases.original("toy"))
    assert same(run.model_at(6), run.model)
    assert not same(run.model_at(3), run.model)


def test_each_model_has_the_accuracy_that_was_recorded(run: imu.Run) -> None:
    for step in run.kept_steps:
        found = cases.task("toy").evaluate(run.model_at(step), "retain")["accuracy"]
        assert found == run.value("retain", "accuracy", step)


def test_only_what_moves_is_kept(run: imu.Run) -> None:
    assert set(run.snapshots.kept[0]) == {"2.weight", "2.bias"}


def test_a_whole_model_is_kept_too() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), method="gradient-ascent", scope="all", steps=2, lr=0.1)
    assert same(run.model_at(2), run.model) and same(run.model_at(0), cases.original("toy"))


def test_an_update_that_was_not_kept_is_refused(run: imu.Run) -> None:
    with pytest.raises(ValueError, match="after update 7; it keeps 7: 0 to 6"):
        run.model_at(7)


def test_a_saved_run_gives_its_models_back(run: imu.Run, tmp_path: Path) -> None:
    loaded = imu.load_run(run.save(tmp_path / "run.imu"))
    assert loaded.kept_steps == run.kept_steps
    assert all(same(loaded.model_at(step), run.model_at(step)) for step in (0, 3, 6))


def test_a_limit_thins_evenly_and_keeps_both_ends() -> None:
    model = nn.Linear(8, 8)
    kept = Snapshots(limit=10 * (8 * 8 + 8) * 4)
    for step in range(40):
        kept.add(step, moving_state(model))
        assert kept.bytes <= kept.limit
    steps = sorted(kept.kept)
    assert steps[0] == 0 and steps[-1] == 39 and max(b - a for a, b in zip(steps, steps[1:])) <= 8


def test_the_ledger_knows_the_retrained_models_confidence(run: imu.Run) -> None:
    assert "confidence_retrained" not in run.samples
    task, retrained = cases.task("toy"), cases.retrained("toy")
    known = imu.unlearn(task, cases.original("toy"), steps=1, reference=retrained).samples["confidence_retrained"]
    batch = task.split("forget").batch()
    truth = retrained(batch.inputs).softmax(1).gather(1, batch.targets[:, None])[:, 0]
    assert cases.close(torch.tensor(known.to_numpy()), truth.double(), within=1e-6)


def test_running_means_are_kept_beside_the_weights_that_move() -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    whole = imu.unlearn(task, original, method="retrain", steps=1)
    for step, model in ((0, original), (1, whole.model)):
        again = whole.model_at(step).state_dict()
        assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert not any("running" in name for name in imu.unlearn(task, original, steps=1).snapshots.kept[1])


class Bare(nn.Module):
    """Its BatchNorm has running means, and no parameters beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.register_buffer("mask", torch.zeros(2), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 1, h, w) to (n, 3)."""
        return self.head(self.body(images).mean((2, 3)))


def test_running_means_without_weights_beside_them_are_kept_where_their_part_moves() -> None:
    task = cases.own_data(Bare().eval())
    original = imu.train(task)
    run = imu.unlearn(task, original, method="retrain", steps=2)
    assert not torch.equal(run.model.body[1].running_mean, original.body[1].running_mean)
    once = imu.unlearn(task, original, method="retrain", steps=1)
    assert same(run.model_at(0), original) and same(run.model_at(1), once.model) and same(run.model_at(2), run.model)
    assert "mask" not in run.snapshots.kept[0]
    two_layers = imu.unlearn(
        cases.own_data(original, readout=("body.0", "head")), original, method="gradient-ascent", steps=1
    )
    assert "body.1.running_mean" in two_layers.snapshots.kept[0]
    head = imu.unlearn(task, original, steps=1, cache=False)
    assert set(head.snapshots.kept[0]) == {"head.weight", "head.bias"}
