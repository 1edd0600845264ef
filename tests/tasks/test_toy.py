"""The blobs: the smallest task there is."""

from __future__ import annotations

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks import Toy


@pytest.mark.parametrize("blob", range(3))
def test_each_blob_can_be_forgotten(blob: int) -> None:
    task = Toy(forget_blob=blob, per_class=5)
    assert task.split("forget").batch().targets.tolist() == [blob] * 5
    assert blob not in task.split("retain").batch().targets and blob not in task.split("test").batch().targets
    assert len(task.split("retain")) == len(task.split("test")) == 10


@pytest.mark.parametrize("blob", [3, -1, "red"])
def test_an_unknown_blob_is_refused(blob: object) -> None:
    with pytest.raises(ValueError, match="forget_blob must be 0, 1 or 2"):
        Toy(forget_blob=blob)


def test_the_data_depend_on_size_and_seed_and_not_on_the_request() -> None:
    keys = {Toy(forget_blob=b, per_class=n, seed=s).data_key for b in (0, 1) for n in (4, 5) for s in (0, 1)}
    assert len(keys) == 4
    assert torch.equal(Toy(0).split("train").batch().inputs, Toy(1).split("train").batch().inputs)
    assert not torch.equal(Toy().split("train").batch().inputs, Toy(seed=1).split("train").batch().inputs)


def test_train_and_test_points_differ_and_a_seed_never_reuses_them() -> None:
    parts = [task._points(side)[0] for task in (Toy(), Toy(seed=1)) for side in ("train", "test")]
    points = torch.cat(parts)
    assert len(points.unique(dim=0)) == len(points)


def test_the_network_learns_it() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    assert task.evaluate(model, "train")["accuracy"] > 0.85 and task.evaluate(model, "test")["accuracy"] > 0.85


def test_the_card_names_the_point() -> None:
    assert cases.task("toy").card(0).startswith("point 0 of blob 0 at (")


def test_a_split_that_is_not_there_is_named() -> None:
    with pytest.raises(imu.UnknownName, match="unknown split: 'forgets'. Did you mean 'forget'"):
        imu.train(imu.tasks.Toy(), "forgets")
