"""What is known of a model to compare with: whether it was retrained for this request."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace

import pytest
import torch

import imu_lab as imu
from imu_lab.core.messages import unheard

OTHER = "retrained for another request: on 80 samples, which are not the 80 that this task keeps"


def toy(**how: object) -> tuple[imu.tasks.Toy, torch.nn.Module, torch.nn.Module]:
    """A task, its original and its retrained model."""
    task = imu.tasks.Toy(seed=11, **how)
    return task, imu.train(task), imu.train(task, "retain")


def test_a_model_that_was_retrained_for_another_request_is_told_of() -> None:
    task, original, own = toy()
    _, _, other = toy(forget_blob=1)
    for given in (other, copy.deepcopy(other)):
        imu.clear_caches()
        imu.train(replace(task, forget_blob=1), "retain")  # found on disk, and known again
        with pytest.warns(UserWarning, match=OTHER):
            imu.unlearn(task, original, steps=1, reference=given)
    with pytest.warns(UserWarning, match=OTHER):
        imu.references(task, models=[own, other])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imu.unlearn(task, original, steps=1, reference=own)


def test_what_nobody_knows_and_what_is_the_same_are_no_other_request() -> None:
    task, original, own = toy()
    moved = copy.deepcopy(own)
    with torch.no_grad():
        next(moved.parameters()).add_(0.1)  # a model of the user's own
    with unheard() as said:
        imu.unlearn(task, original, steps=1, reference=moved)
        imu.unlearn(replace(task, readout="all"), original, steps=1, reference=own)
    assert not said


def test_models_that_a_training_left_alike_are_of_each_of_their_requests() -> None:
    data = [(torch.randn(30, 4), torch.arange(30) % 3) for _ in range(2)]
    model, fresh = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    tasks = [
        imu.tasks.Classification.from_data(
            model, *data, forget_indices=range(at, at + 5), train_fn=lambda *_: copy.deepcopy(fresh)
        )
        for at in (0, 10)
    ]
    with unheard() as said:
        made = [imu.train(task, "retain") for task in tasks]
        said.clear()
        for task in tasks:
            imu.unlearn(task, imu.train(task), steps=1, reference=made[0])
    assert not [words for words in said if "another request" in words]
