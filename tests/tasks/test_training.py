"""Training is reproducible, leaves no trace, and is done once: checkpoints are keyed by all that decides the result."""

from __future__ import annotations

import logging
from pathlib import Path

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Classification, Recipe, Toy, training

SHORT = Recipe(epochs=1, lr=0.05)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for checkpoints."""
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    return tmp_path / "checkpoints"


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many examples each training that really happened was given."""
    made: list[int] = []
    real = training.epochs

    def counted(task: object, model: nn.Module, examples: object, *rest: object) -> object:
        made.append(len(examples))
        return real(task, model, examples, *rest)

    monkeypatch.setattr(training, "epochs", counted)
    return made


def equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models hold the same tensors."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_is_trained_once_and_then_read(folder: Path, trainings: list[int]) -> None:
    first, second = imu.train(Toy()), imu.train(Toy())
    assert trainings == [120] and equal(first, second) and first is not second
    assert not first.training and not second.training
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_a_new_request_does_not_retrain_the_original_but_the_retrained(folder: Path, trainings: list[int]) -> None:
    for blob in (0, 1):
        imu.train(Toy(forget_blob=blob), "train")
        imu.train(Toy(forget_blob=blob), "retain")
    assert trainings == [120, 80, 80]


def test_whoever_follows_a_training_can_end_it_and_nothing_half_is_kept(folder: Path, trainings: list[int]) -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imu.train(Toy(), progress=progress)
    assert seen == [(1, Toy().recipe.epochs), (2, Toy().recipe.epochs)] and not list(folder.rglob("*.safetensors"))
    imu.train(Toy(), progress=lambda *done: seen.append(done))
    assert seen[2:] == [(epoch, seen[0][1]) for epoch in range(1, seen[0][1] + 1)] and len(trainings) == 2


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an imu_lab.tasks.Recipe, got 'fast'"):
        imu.train(Toy(), recipe="fast")


@pytest.mark.parametrize("change", [
    lambda: imu.train(Toy(seed=1)),
    lambda: imu.train(Toy(per_class=41)),
    lambda: imu.train(Toy(), seed=1),
    lambda: imu.train(Toy(), recipe=Recipe(epochs=2)),
    lambda: imu.train(Toy(), "retain"),
    lambda: imu.train(Toy(), "test"),
], ids=["data seed", "data size", "seed", "recipe", "retain", "test"])  # fmt: skip
def test_the_key_depends_on_all_that_decides_the_result(folder: Path, trainings: list[int], change) -> None:
    imu.train(Toy())
    change()
    assert len(trainings) == 2


def test_the_request_seed_is_not_in_the_originals_key(folder: Path, trainings: list[int]) -> None:
    for seed in (0, 1):
        imu.train(Classification("digits", forget_fraction=0.01, seed=seed, recipe=SHORT))
    assert trainings == [1437]


def test_the_architecture_is_in_the_key(folder: Path, trainings: list[int]) -> None:
    for name in ("small-cnn", "resnet-20"):
        imu.train(Classification("digits", forget_class=0, architecture=name, recipe=SHORT))
    assert trainings == [1437, 1437]


def test_the_same_ids_of_train_and_test_do_not_collide(folder: Path, trainings: list[int]) -> None:
    """Test ids count from 0 too: the first 30 training pictures and all 30 test pictures have the same ids."""
    task = cases.own_data(forget_indices=list(range(30)))
    models = [imu.train(task, split, recipe=SHORT) for split in ("forget", "test")]
    assert trainings == [30, 30] and not equal(*models)


class Bent(nn.Module):
    """A model whose activation is no module, so that only its code tells it from another."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(25, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.hidden(x.flatten(1))))


class Squared(Bent):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.hidden(x.flatten(1)).square())


def test_two_models_of_a_user_on_the_same_data_do_not_share_a_checkpoint(folder: Path, trainings: list[int]) -> None:
    makers = [Bent, Squared, lambda: nn.Sequential(nn.Flatten(), nn.Linear(25, 3))]
    models = [imu.train(cases.own_data(maker(), make_model=maker), "retain") for maker in makers]
    assert trainings == [40, 40, 40]
    assert not equal(models[0], models[1])
    assert not list(folder.glob("*.damaged"))


@pytest.mark.parametrize("damage", [b"", b"nonsense", "half", "other model"])
def test_a_damaged_checkpoint_is_named_set_aside_and_made_again(
    folder: Path, trainings: list[int], damage: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    first = imu.train(Toy())
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    if damage == "half":
        damage = whole[: len(whole) // 2]
    elif damage == "other model":
        import safetensors.torch

        damage = safetensors.torch.save({"weight": torch.zeros(2)})
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING, "imu_lab"):
        again = imu.train(Toy())
    assert equal(first, again) and trainings == [120, 120]
    assert str(path) in caplog.text and "damaged" in caplog.text
    assert path.read_bytes() == whole
    assert [kept.read_bytes() for kept in folder.glob("*.damaged*")] == [damage]


def test_training_leaves_the_global_random_state_and_threads_alone(folder: Path) -> None:
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    imu.train(Toy())
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == 2


def test_the_global_random_state_does_not_move_the_result(folder: Path, trainings: list[int]) -> None:
    recipe = Recipe(epochs=1, lr=0.05, augment=True)
    task = cases.own_data()
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(training_without_cache(task, recipe))
    assert equal(*models)


def training_without_cache(task: object, recipe: Recipe) -> nn.Module:
    """What the recipe makes of the task's fresh model."""
    model = task.make_model(0)
    for _ in training.epochs(task, model, task.split("retain"), recipe, 0):
        pass
    return model


def test_a_last_batch_of_one_does_not_stop_batchnorm(folder: Path) -> None:
    model = imu.train(cases.own_data(), "train", recipe=Recipe(epochs=1, batch_size=59, lr=0.05))
    assert all(torch.isfinite(value).all() for value in model.parameters())


def test_diverged_training_says_where_and_writes_nothing(folder: Path) -> None:
    with pytest.raises(training.DivergedTraining, match=r"diverged in epoch \d: the loss is .*; lower lr=1e\+30"):
        imu.train(Toy(), recipe=Recipe(epochs=3, lr=1e30))
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("field", [{"epochs": 0}, {"epochs": 1.5}, {"lr": 0}, {"lr": float("nan")}, {"momentum": 1}])
def test_a_recipe_outside_its_ranges_is_refused(field: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Recipe(**field)


def test_shifting_keeps_shape_and_moves_whole_rows() -> None:
    torch.manual_seed(0)
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(50, 1, 8, 8) + 1
    moved = training.shifted(images)
    assert moved.shape == images.shape
    for picture in moved[:, 0]:
        inside = picture[picture.any(1)][:, picture.any(0)]
        steps = inside.diff(dim=1)
        assert (inside.diff(dim=0) == 8).all() and ((steps == 1).all() or (steps == -1).all())
        assert min(inside.shape) >= 4
    assert len({tuple(picture.flatten().tolist()) for picture in moved}) > 20
