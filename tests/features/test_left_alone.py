"""Whoever is handed a model or samples leaves them as they are: what writes into them is told, and nothing wrong is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cases
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import edits, only_looked_at
from imu_lab.tasks import Examples
from imu_lab.unlearning.request import Request


def asked() -> tuple[imu.tasks.Task, nn.Module]:
    """A task of its own data, so that no other test goes on with what is written into here."""
    (inputs, targets), model = cases.images(40, 7), cases.conv_net(1).eval()
    task = imu.tasks.Classification.from_data(model, (inputs, targets), (inputs + 1, targets), forget_indices=range(10))
    return task, model


@dataclass(frozen=True)
class Zeroes:
    """An estimator that writes zeros into the model, or into the samples."""

    samples: bool = False

    def __call__(self, task: imu.tasks.Task, model: nn.Module, forget: Examples, target: Examples) -> np.ndarray:
        with torch.no_grad():
            (forget.batch().inputs if self.samples else next(model.parameters())).zero_()
        return -np.ones(len(forget))


def test_an_estimator_that_changes_the_model_is_told_and_the_next_one_gets_the_original() -> None:
    task, model = asked()
    right = imu.influence(task, model).values
    with pytest.raises(ValueError, match="estimator '[Zz]eroes' changed the model that it was handed"):
        imu.influence(task, model, Zeroes())
    assert cases.close(imu.influence(task, model).values, right, within=1e-6)


def test_an_estimator_that_writes_into_samples_is_told_at_the_next_batch() -> None:
    task, model = asked()
    right = imu.influence(task, model).values
    with pytest.raises(ValueError, match="these examples were written into since they were made"):
        for _ in range(2):
            imu.influence(task, model, Zeroes(samples=True))
    assert cases.close(imu.influence(task, model).values, right, within=1e-6)


@dataclass(frozen=True)
class Overwrites:
    """A method that writes zeros into what it is to forget."""

    lr: float = 0.1

    def __call__(self, task: imu.tasks.Task, model: nn.Module, request: Request) -> Iterator[None]:
        while True:
            request.forget.batch().inputs.zero_()
            yield


def test_a_method_that_writes_into_samples_is_told_and_the_next_run_is_right() -> None:
    task, model = asked()
    right = imu.unlearn(task, model, steps=2, lr=0.1).trajectory
    with pytest.raises(ValueError, match="by a model, a loss, a method or an estimator"):
        imu.unlearn(task, model, method=Overwrites(), steps=2)
    assert imu.unlearn(task, model, steps=2, lr=0.1).trajectory.equals(right)


@dataclass(frozen=True)
class Meddles:
    """A metric that leaves the model otherwise than it was."""

    how: str = "weights"

    def __call__(self, task: imu.tasks.Task, model: nn.Module, reference: object) -> dict[str, dict[str, float]]:
        if self.how == "weights":
            with torch.no_grad():
                next(model.parameters()).mul_(0.5)
        elif self.how == "mode":
            model.train()
        else:
            model.requires_grad_(False)
        return {"forget": {"meddles": 1.0}}


@pytest.mark.parametrize("how", ["weights", "mode", "moves"])
def test_a_metric_that_changes_the_model_of_the_run_is_told(how: str) -> None:
    task, model = asked()
    with pytest.raises(ValueError, match=r"metric '[Mm]eddles' changed the model .* copy.deepcopy\(model\)"):
        imu.unlearn(task, model, steps=2, lr=0.1, follow=[Meddles(how)])


def test_looking_is_no_change() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    with only_looked_at(model, "nobody"):
        model(torch.ones(2, 3)).sum().backward()
        torch.func.grad(lambda p: torch.func.functional_call(model, p, torch.ones(2, 3)).sum())(
            {name: value.detach() for name, value in model.named_parameters()}
        )
    with torch.inference_mode():
        assert edits(torch.ones(2)) == ()


def test_a_copy_of_examples_counts_its_own_edits() -> None:
    import pickle

    inputs = torch.ones(4, 2)
    inputs += 1
    examples = Examples.of(inputs, torch.zeros(4, dtype=torch.long))
    other = pickle.loads(pickle.dumps(examples))
    assert torch.equal(other.batch().inputs, examples.batch().inputs)
    examples.batch(slice(0, 2)).inputs.zero_()
    with pytest.raises(ValueError, match="written into"):
        examples.batch()
    assert other.batch().inputs.sum() == 16


class Subtracts(nn.Module):
    """Centres its inputs in place."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        x -= 0.5
        return x


@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), Subtracts()], ids=["ReLU", "x -= 0.5"])
@pytest.mark.parametrize("make", [torch.Tensor.clone, lambda x: x.numpy().copy()], ids=["tensor", "array"])
def test_a_model_that_writes_into_its_inputs_is_refused_and_the_data_are_as_they_were(
    first: nn.Module, make: Callable
) -> None:
    inputs, targets = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
    given, model = make(inputs), nn.Sequential(first, nn.Linear(4, 3)).eval()
    with pytest.raises(ValueError, match="the model writes into its inputs"):
        imu.tasks.Classification.from_data(model, (given, targets), (inputs + 1, targets), forget_indices=[0, 3])
    assert torch.equal(torch.as_tensor(given), inputs)


def test_an_equal_task_whose_data_were_edited_does_not_stand_in_for_one_whose_were_not() -> None:
    inputs, targets = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    model, other = nn.Linear(4, 3), inputs.clone()

    def task(x: Tensor) -> imu.tasks.Classification:
        return imu.tasks.Classification.from_data(model, (x, targets), (inputs + 1, targets), forget_indices=[0, 3, 6])

    mine, theirs = task(inputs), task(other)
    assert mine == theirs
    right = imu.influence(theirs, model).values
    other[3] += 1
    assert np.array_equal(imu.influence(mine, model).values, right)
    with pytest.raises(ValueError, match="the train inputs were edited"):
        imu.influence(theirs, model)


@pytest.mark.parametrize("within", [torch.no_grad, torch.inference_mode])
def test_verbs_answer_the_same_where_gradients_are_off(within: Callable) -> None:
    task, model = asked()

    def answers() -> list:
        run = imu.unlearn(task, model, steps=2, lr=0.1)
        return [*(imu.influence(task, model, cache=cache).values for cache in (True, False)), run.trajectory["loss"]]

    right = answers()
    imu.clear_caches()
    with within():
        found = answers()
    for one, other in zip(found, right):
        assert cases.close(np.asarray(one), np.asarray(other), within=1e-6)
