"""Training is reproducible, leaves no trace, and is done once: checkpoints are keyed by all that decides the result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cases
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Classification, Recipe, Toy, checkpoints, training

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
    real = checkpoints.Training

    class Counted(real):
        def __init__(self, task: object, model: nn.Module, examples: object, *rest: object) -> None:
            made.append(len(examples))
            super().__init__(task, model, examples, *rest)

    monkeypatch.setattr(checkpoints, "Training", Counted)
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


class Stop(Exception):
    """What ends a training in a test."""


@pytest.mark.few(3)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("at", [1, 8, 9, 30, 79])
def test_a_training_that_was_interrupted_goes_on_from_its_last_epoch_and_ends_in_the_same_model(
    folder: Path, trainings: list[int], at: int, optimizer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = Recipe(epochs=10, lr=0.01, batch_size=15, optimizer=optimizer)  # 8 updates an epoch
    seen: list[tuple[int, int]] = []

    def progress(made: int, total: int) -> None:
        seen.append((made, total))
        if made == at:
            raise Stop

    with pytest.raises(Stop):
        imu.train(Toy(), recipe=recipe, progress=progress)
    assert seen == [(update, 80) for update in range(1, at + 1)] and not list(folder.glob("*.safetensors"))
    seen.clear()
    resumed = imu.train(Toy(), recipe=recipe, progress=lambda made, total: seen.append((made, total)))
    assert seen == [(update, 80) for update in range(at // 8 * 8 + 1, 81)], "whole epochs are not made again"
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"] and len(trainings) == 2
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "other"))
    assert equal(resumed, imu.train(Toy(), recipe=recipe))


def test_what_a_model_draws_while_it_trains_goes_on_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = cases.own_data(
        recipe=Recipe(epochs=3, lr=0.05, batch_size=13, augment=True)
    )  # dropout, and a last batch of 8

    def progress(made: int, total: int) -> None:
        if made == 12:
            raise Stop

    with pytest.raises(Stop):
        imu.train(task, "train", recipe=task.recipe, progress=progress)
    resumed = imu.train(task, "train", recipe=task.recipe)
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "other"))
    assert equal(resumed, imu.train(task, "train", recipe=task.recipe))


def test_an_unfinished_training_of_other_code_or_damaged_is_not_taken_up(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def progress(made: int, total: int) -> None:
        if made == 20:
            raise Stop

    whole = imu.train(Toy())
    (path,) = folder.iterdir()
    path.unlink()
    with pytest.raises(Stop):
        imu.train(Toy(), progress=progress)
    (unfinished,) = folder.glob("*.unfinished")
    unfinished.write_bytes(unfinished.read_bytes()[:100])
    with caplog.at_level(logging.WARNING, "imu_lab"):
        assert equal(whole, imu.train(Toy()))
    assert "damaged" in caplog.text and not list(folder.glob("*.unfinished"))


def spoil(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors of a file."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def last_of(tensors: dict[str, torch.Tensor], kind: str) -> str:
    """The name of the last tensor of a kind: those before it would be put in place first."""
    return max(name for name in tensors if name.startswith(kind) and name.endswith(("weight", "bias", "buffer", "sq")))


@pytest.mark.few(3)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("change", [
    lambda tensors: tensors.pop(last_of(tensors, "optimizer/")),
    lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("optimizer/")],
    lambda tensors: tensors.update({last_of(tensors, "optimizer/"): torch.zeros(2)}),
    lambda tensors: tensors.update({last_of(tensors, "optimizer/"): tensors.pop(last_of(tensors, "model/"))}),
    lambda tensors: tensors.update({last_of(tensors, "model/"): torch.zeros(2)}),
    lambda tensors: tensors.pop("epoch"),
    lambda tensors: tensors["epoch"].fill_(99),
    lambda tensors: tensors.update({"optimizer/99/momentum_buffer": torch.zeros(2)}),
    lambda tensors: tensors.update({"optimizer/x": torch.zeros(2)}),
], ids=["one", "all", "shape", "swapped", "model", "no epoch", "epoch", "another", "name"])  # fmt: skip
def test_a_training_that_cannot_be_taken_up_whole_begins_from_the_fresh_model(
    folder: Path, optimizer: str, change: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    def progress(made: int, total: int) -> None:
        if made == 20:
            raise Stop

    recipe = Recipe(epochs=4, lr=0.01, batch_size=15, optimizer=optimizer)
    whole = imu.train(Toy(), recipe=recipe)
    (path,) = folder.iterdir()
    path.unlink()
    with pytest.raises(Stop):
        imu.train(Toy(), recipe=recipe, progress=progress)
    spoil(next(folder.glob("*.unfinished")), change)
    seen: list[int] = []
    with caplog.at_level(logging.WARNING, "imu_lab"):
        again = imu.train(Toy(), recipe=recipe, progress=lambda made, total: seen.append(made))
    assert "damaged" in caplog.text and seen == list(range(1, 33)) and equal(whole, again)


@pytest.mark.parametrize("change", [
    lambda tensors: tensors.pop(last_of(tensors, "")),
    lambda tensors: tensors.update({last_of(tensors, ""): torch.zeros(2)}),
    lambda tensors: tensors.update({"more": torch.zeros(2)}),
], ids=["missing", "shape", "more"])  # fmt: skip
def test_of_a_damaged_checkpoint_nothing_gets_into_the_model(folder: Path, change: Callable) -> None:
    whole = imu.train(Toy())
    (path,) = folder.iterdir()

    def other_weights(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            if name != checkpoints.FRESH:
                tensors[name] = tensors[name] + 1
        change(tensors)

    spoil(path, other_weights)
    assert equal(whole, imu.train(Toy()))


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_and_never_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = imu.train(Toy())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.storage, "write_whole", full)
    for path in folder.iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match="could not be written.*No space left.*the model is unharmed.*IMU_LAB_DATA"):
        assert equal(whole, imu.train(Toy()))


def test_progress_is_shown_within_an_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, str]] = []

    class Bar(checkpoints.tqdm):
        def update(self, by: int = 1) -> None:
            self.n += by

        def set_description(self, words: str, refresh: bool = True) -> None:
            shown.append((self.n, words))

    monkeypatch.setattr(checkpoints, "tqdm", Bar)
    imu.train(Toy(), "retain")
    assert (3, "training on retain, epoch 1 of 10") in shown and (5, "training on retain, epoch 2 of 10") in shown


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


@pytest.mark.slow
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


@pytest.mark.few(1)
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


class Tied(nn.Module):
    """The last layer's weight is the first one's."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head.weight = self.words.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.words(x)))


def test_tied_weights_are_trained_kept_and_saved(folder: Path, trainings: list[int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(60, 4), torch.arange(60) % 4
    task = Classification.from_data(Tied(), (x[:40], y[:40]), (x[40:], y[40:]), forget_indices=range(8), recipe=SHORT)
    first, second = imu.train(task, "retain"), imu.train(task, "retain")
    assert trainings == [32] and torch.equal(first(x), second(x)) and second.head.weight is second.words.weight
    run = imu.unlearn(task, first, steps=2)
    run.save(tmp_path / "run.imu")
    read = imu.load_run(tmp_path / "run.imu", task, first)
    assert torch.equal(read.model(x), run.model(x)) and not torch.equal(run.model(x), first(x))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_batches_of_one_are_trained_on(folder: Path, optimizer: str) -> None:
    """A single example that is left over is left out, and batches of one are none of those."""
    recipe, task = Recipe(epochs=2, lr=0.05, batch_size=1, optimizer=optimizer), Toy(per_class=16)
    model, fresh, made = imu.train(task, recipe=recipe), task.make_model(0), []
    assert not equal(model, fresh) and task.evaluate(model, "train")["accuracy"] > 0.9
    examples, other = task.split("train"), task.make_model(0)
    for _ in training.epochs(task, other, examples, recipe, 0):
        made.append(True)
    assert len(made) == 2 and equal(other, model)


def test_a_training_by_batches_of_one_goes_on_where_it_was(folder: Path) -> None:
    recipe, task = Recipe(epochs=3, lr=0.05, batch_size=1), Toy(per_class=16)
    examples = task.split("train")
    whole, first, second = (task.make_model(0) for _ in range(3))
    started, resumed = (training.Training(task, each, examples, recipe, 0) for each in (first, second))
    for made in started:
        if made == len(examples):
            resumed.resume(started.state())
            break
    for _ in resumed:
        pass
    for _ in training.epochs(task, whole, examples, recipe, 0):
        pass
    assert equal(second, whole)


@pytest.mark.parametrize("count, size", [(6, 1), (1, 4)])
def test_batchnorm_over_a_single_example_is_told_in_one_sentence(folder: Path, count: int, size: int) -> None:
    def made() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    inputs, labels = torch.arange(2.0 * (count + 1)).reshape(-1, 2), torch.arange(count + 1) % 2
    task = imu.tasks.Classification.from_data(
        made(), (inputs, labels), (inputs + 0.5, labels), forget_indices=[0], make_model=made
    )
    with pytest.raises(ValueError, match=f"has a BatchNorm.*recipe whose batch_size is 2 or more .it is {size}."):
        imu.train(task, "retain", recipe=Recipe(epochs=1, batch_size=size))


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0", None], ids=str)
def test_what_is_no_seed_trains_nothing(seed: object) -> None:
    with pytest.raises(ValueError, match="a seed is a whole number from 0, got"):
        imu.train(imu.tasks.Toy(), seed=seed)
