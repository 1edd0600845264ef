"""Whose loss an influence speaks of: positions, classes, and what can mean two of them."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.features.targets import target_examples

TASK = cases.own_data()
TEST = TASK.split("test")


def named(target: object) -> list[int]:
    return target_examples(TASK, target, TASK.split("forget")).ids.tolist()


@pytest.mark.parametrize(
    "given", [[2, 0], (2, 0), np.array([2, 0]), np.array([0, 1, 2])[::-2], torch.tensor([2, 0]), range(2, -1, -2)]
)
def test_positions_may_come_in_any_form(given: object) -> None:
    assert named(("test", given)) == TEST.ids[[2, 0]].tolist()
    assert named(("test", given[0])) == TEST.ids[[2]].tolist()


@pytest.mark.parametrize("given", [
    np.arange(len(TEST)) < 3, torch.arange(len(TEST)) < 3, [True, False], True, np.True_, [0.5], 1.5, "1", ["1"],
])  # fmt: skip
def test_what_is_no_position_is_refused(given: object) -> None:
    """Read as numbers, a mask would be the samples 1 and 0 many times over, and 1.5 the sample 1."""
    with pytest.raises(TypeError, match="a target .split, positions. takes samples by index"):
        named(("test", given))
    with pytest.raises(TypeError, match="takes samples by index"):
        imu.influence_matrix(TASK, TASK.data.original, against=("test", given))


def test_a_class_is_named_by_its_name_or_its_number() -> None:
    labels = np.array(TASK.labels(TASK.split("train").ids))
    for given in (1, np.int64(1), "1"):
        assert named(("class", given)) == np.flatnonzero(labels == "1").tolist()
    inputs, targets = cases.images(12, 0)[0], torch.arange(12) % 3
    swapped = imu.tasks.Classification.from_data(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs[0].numel(), 3)),
        (inputs, targets), (inputs + 0.5, targets), classes=["2", "1", "0"], forget_indices=[0],
    )  # fmt: skip
    with pytest.raises(ValueError, match="0 can mean class number 0, which is '2', or the one named '0'"):
        target_examples(swapped, ("class", 0), swapped.split("forget"))
    for given in (True, np.True_):
        with pytest.raises(imu.UnknownName, match="class in the training set"):
            named(("class", given))
