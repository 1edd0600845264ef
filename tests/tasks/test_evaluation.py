"""The one loop that puts examples through a model: eval mode, no gradients, its own threads, a batch that fits."""

from __future__ import annotations

import copy

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.tasks import evaluation
from imu_lab.tasks.evaluation import mean_loss, outcomes, outputs, threads_of


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


class Noting(nn.Module):
    """A convolution that notes the size, layout, mode and gradient mode of what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.noted = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), []

    def forward(self, x: Tensor) -> Tensor:
        self.noted.append(
            (len(x), x.is_contiguous(memory_format=torch.channels_last), self.training, torch.is_grad_enabled())
        )
        return self.head(self.body(x).mean((2, 3)))


def test_every_example_once_and_in_order_in_eval_mode_without_gradients() -> None:
    model = Noting().train()
    task = cases.own_data(copy.deepcopy(model))
    examples = task.split("train")
    model.noted.clear()
    seen, rows = [], []
    for positions, batch, made in outputs(task, model, examples):
        assert torch.is_grad_enabled(), "between batches the caller's own modes hold"
        seen += range(positions.start, positions.stop)
        rows.append(made)
    assert seen == list(range(60)) and model.training
    assert all(noted[1:] == (True, False, False) for noted in model.noted)
    with torch.no_grad():
        assert cases.close(torch.cat(rows), model.eval()(examples.batch().inputs), within=1e-5)


def test_a_batch_is_as_large_as_its_largest_layer_leaves_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Noting()
    task = cases.own_data(copy.deepcopy(model))
    for least, room, expected in (
        (16, 4 * 9 * 8, [16, 16, 16, 12]),
        (16, 4 * 9 * 35, [16, 32, 12]),
        (8, 10**9, [8, 52]),
    ):
        monkeypatch.setattr(evaluation, "LEAST", least)
        monkeypatch.setattr(evaluation, "ROOM", room)
        model.noted.clear()
        list(outputs(task, model, task.split("train")))
        assert [noted[0] for noted in model.noted] == expected


def test_a_batch_is_never_larger_than_the_examples_say() -> None:
    model, task = Noting(), cases.own_data()
    examples = imu.tasks.Examples.of(*cases.images(20, 0), chunk=6)
    list(outputs(task, model, examples))
    assert [noted[0] for noted in model.noted] == [6, 6, 6, 2]


def test_mean_loss_is_the_mean_of_the_losses() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    batch = task.split("retain").batch()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model.eval()(batch.inputs), batch.targets).item()
    assert mean_loss(task, model, task.split("retain")) == pytest.approx(expected, rel=1e-6)


class Averaged(imu.tasks.Toy):
    """A user's loss that forgets about examples."""

    def example_loss(self, forward: object, batch: imu.tasks.Batch) -> Tensor:
        return nn.functional.cross_entropy(forward(batch.inputs), batch.targets)


def test_a_loss_that_is_a_mean_is_told_what_was_expected() -> None:
    task = Averaged()
    with pytest.raises(ValueError, match=r"one loss per example, shape \(64,\); it gave shape \(\)"):
        outcomes(task, task.make_model(0), task.split("train"))


class Viewed(nn.Module):
    """A convolutional network as in torch's own tutorial: ``view`` takes pictures in torch's own layout alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, 6, 6) to (n, 3)."""
        return self.head(torch.relu(self.body(x)).view(-1, 4 * 36))


@pytest.mark.filterwarnings("ignore:the model is right on")  # nobody has trained it
def test_a_model_that_views_its_pictures_is_asked_in_its_own_layout() -> None:
    pictures, labels = torch.randn(200, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 3
    recipe = imu.tasks.Recipe(epochs=1, one_thread=False)
    task = imu.tasks.Classification.from_data(
        Viewed(), (pictures, labels), (pictures + 1, labels), forget_indices=range(9), recipe=recipe
    )
    model = imu.train(task)
    made = torch.cat([each for _, _, each in outputs(task, model, task.split("train"))])
    assert cases.close(made, model(pictures).detach(), within=1e-5)
    retrained, run = imu.train(task, "retain"), imu.unlearn(task, model, steps=2)
    assert run.value("forget", "accuracy") >= 0 and not cases.same(cases.frozen(model), retrained)
    calls = []
    model.register_forward_pre_hook(lambda _, given: calls.append(given[0].is_contiguous()))
    list(outputs(task, model, task.split("train")))
    assert calls[:2] == [False, True] and all(calls[1:]), "tried once, and not again at each batch"


def test_other_errors_of_a_model_are_its_own() -> None:
    task = cases.own_data()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(outputs(task, nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(5, 3)), task.split("train")))
