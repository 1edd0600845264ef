"""Threads, random state and modes are put back; digests see content and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import device_of, digest, evaluating, one_thread, seeded, threads_of


def test_one_thread_is_restored_also_after_an_error() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        _ = 1 / 0
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "task, threads",
    [
        (object(), 2),  # a task need not have a recipe
        (imu.tasks.Classification("digits", forget_class=3), 1),
        (imu.tasks.Classification("digits", forget_class=3, recipe=imu.tasks.Recipe(one_thread=False)), 2),
    ],
)
def test_a_tasks_recipe_says_on_how_many_threads_it_runs(task: imu.tasks.Task, threads: int) -> None:
    torch.set_num_threads(2)
    with threads_of(task):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_seeded_draws_the_same_and_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    with pytest.raises(ZeroDivisionError), seeded(5):
        assert torch.equal(torch.rand(3), first)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluating_restores_each_module_on_its_own() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    model.train()[1].eval()[0].train()
    modes = [module.training for module in model.modules()]
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        _ = 1 / 0
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2


def test_a_model_without_parameters_lives_on_the_cpu() -> None:
    assert device_of(nn.ReLU()).type == "cpu" and device_of(nn.Linear(1, 1, device="meta")).type == "meta"


DIFFERENT = [
    torch.zeros(4),
    torch.zeros(2, 2),
    torch.zeros(4, dtype=torch.float64),
    torch.zeros(4, dtype=torch.int32),
    -torch.zeros(4),
    torch.zeros(5),
    torch.tensor([True, False]),
    torch.tensor(1.0),
    torch.zeros(0),
    np.zeros(4),
    np.zeros((2, 2)),
    np.zeros(4, np.float32),
    "zeros",
    b"zeros",
    (0, 0, 0, 0),
    None,
]


def test_different_contents_have_different_digests() -> None:
    found = [digest(part) for part in DIFFERENT]
    assert len(set(found)) == len(DIFFERENT)
    assert digest("a", "b") != digest("b", "a") and digest("a", "b") != digest("ab")


def test_equal_contents_have_equal_digests() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    assert digest(values) == digest(values.clone()) == digest(values.T.contiguous().T)
    assert digest(values[:, ::2]) == digest(values[:, ::2].clone())
    assert digest(values.numpy()[:, 1:]) == digest(values.numpy()[:, 1:].copy())
