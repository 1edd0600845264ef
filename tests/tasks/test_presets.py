"""A default recipe for few examples makes enough updates; a recipe that is given, or that has enough, is left alone."""

from __future__ import annotations

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks.presets import ENOUGH, PRESETS, SMALLEST, fitted, preset


@pytest.mark.parametrize("count", [5, 16, 60, 288, 360, 1_000, 3_000])
@pytest.mark.parametrize("name", ["folder", "digits"])
def test_few_examples_get_enough_updates(name: str, count: int) -> None:
    own = preset(name).recipe
    found = fitted(own, count)
    assert found.epochs * -(-count // found.batch_size) >= ENOUGH
    assert SMALLEST <= found.batch_size <= own.batch_size and found.epochs >= own.epochs
    assert found.lr == pytest.approx(own.lr * found.batch_size / own.batch_size), "it goes with the size of the batch"
    assert found.augment == (own.augment and found.batch_size == own.batch_size)
    if found.epochs > own.epochs:
        assert found.batch_size == SMALLEST, "first the batches get smaller"


@pytest.mark.parametrize("name", PRESETS)
def test_enough_examples_get_the_recipe_itself(name: str) -> None:
    assert fitted(preset(name).recipe, 20_000) == preset(name).recipe


def test_data_of_a_users_own_are_fitted_and_a_recipe_that_is_given_is_kept() -> None:
    model = cases.conv_net()
    data, test = cases.images(60, 0, torch.float32), cases.images(30, 1, torch.float32)
    task = imu.tasks.Classification.from_data(model, data, test, forget_class=1)
    assert task.recipe == fitted(imu.tasks.Recipe(one_thread=True), 60) and task.recipe.batch_size == SMALLEST
    asked = imu.tasks.Recipe(epochs=1)
    assert imu.tasks.Classification.from_data(model, data, test, forget_class=1, recipe=asked).recipe == asked


def test_the_learning_rate_of_unlearning_a_strangers_folder_is_found() -> None:
    assert "lr" not in preset("path/to/a/folder").unlearning and preset("digits").unlearning["lr"] == 1e-3
