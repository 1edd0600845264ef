"""Tasks as users write them: they work on the default path, or are refused in a sentence before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cases
import pytest
import torch
from torch import nn
from user_tasks import Composed, Own, not_frozen

import imu_lab as imu
from imu_lab.tasks.around import Around, heard, restricted


@dataclass(frozen=True)
class Inherited(imu.tasks.Toy):
    """A subclass with a metric of its own."""

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        inputs, labels = self.split(split).batch()
        with torch.no_grad():
            return {"accuracy": (model(inputs).argmax(1) == labels).double().mean().item(), "size": float(len(labels))}


@pytest.mark.few(1)
@pytest.mark.parametrize("task", [Own(), Composed(), Inherited()], ids=lambda task: type(task).__name__)
def test_it_works_on_the_default_path_as_it_does_without_a_cache(task: imu.tasks.Task) -> None:
    model = task.make_model(1)
    scores, plain = imu.influence(task, model), imu.influence(task, model, cache=False)
    assert cases.close(scores.values, plain.values, within=1e-4)
    run, slow = (
        imu.unlearn(task, model, imu.intensity(scores), steps=4, lr=0.05, cache=cache) for cache in (True, False)
    )
    assert run.settings["cached"] and not slow.settings["cached"]
    for split in ("forget", "retain", "test"):
        assert run.series(split, "accuracy").tolist() == slow.series(split, "accuracy").tolist()
        assert run.value(split, "accuracy") == task.evaluate(run.model, split)["accuracy"]


def test_settings_tell_tasks_apart() -> None:
    model = Own().make_model(1)
    first, second = (imu.influence(Own(shift), model).values for shift in (0.0, 1.0))
    assert cases.relative(first, second) > 1e-2
    assert cases.close(imu.influence(Own(1.0), model, cache=False).values, second, within=1e-4)


def plain_class() -> object:
    """The members of a task on a class that is no dataclass."""
    return type("Plain", (), {name: getattr(Own, name) for name in dir(Own) if not name.startswith("__")})()


@dataclass(frozen=True)
class Listing(Own):
    """A setting that has no hash."""

    rows: list[int] = field(default_factory=lambda: [1, 2])


@pytest.mark.parametrize(("task", "said"), [
    (plain_class(), "a task must be a frozen dataclass.*Plain is no dataclass. Write @dataclass"),
    (not_frozen(), "a task must be a frozen dataclass.*Loose is not frozen"),
    (Listing(), "compared by value, and rows of Listing cannot be hashed; give a tuple"),
], ids=["no dataclass", "not frozen", "a list"])  # fmt: skip
def test_a_task_that_cannot_be_told_by_its_settings_is_refused(task: object, said: str) -> None:
    model = Own().make_model(1)
    for verb in (imu.influence, imu.unlearn, imu.Session):
        with pytest.raises(TypeError, match=said):
            verb(task, model)


def test_a_task_around_one_that_reads_its_own_data_is_refused_rather_than_measured_on_other_examples() -> None:
    task = Own()
    run = imu.unlearn(task, task.make_model(1), steps=2, lr=0.01)
    with pytest.raises(TypeError, match=r"Altered has other examples than the Own inside.*examples_of=None"):
        imu.what_if(run, flip=[3])


def test_a_task_around_one_that_reads_its_own_data_measures_them_where_they_are_its_own() -> None:
    task, listened = Own(), list[str]()
    model, handed = task.make_model(1), restricted(task, "a method")
    assert heard(task, listened.append).evaluate(model, "test") == task.evaluate(model, "test") and listened == ["test"]
    assert handed.evaluate(model, "forget") == task.evaluate(model, "forget")
    with pytest.raises(ValueError, match="a method asked for the 'retain' split"):
        handed.evaluate(model, "retain")
    with pytest.raises(TypeError, match="other examples than the Own inside"):
        Around(task).evaluate(model, "forget", examples_of=task.split)


@dataclass(frozen=True)
class ByName(Own):
    """A task that takes the examples to measure by name alone, after a parameter of its own."""

    def evaluate(
        self, model: nn.Module, split: str, share: float = 1.0, *, examples_of: Callable | None = None
    ) -> dict[str, float]:
        """The share of a split that is right."""
        batch = (examples_of or self.split)(split).batch()
        with torch.no_grad():
            return {"accuracy": share * (model(batch.inputs).argmax(1) == batch.targets).double().mean().item()}


def test_the_examples_to_measure_are_handed_over_by_their_name() -> None:
    task, model = ByName(), ByName().make_model(1)
    seen, whole = (imu.unlearn(task, model, steps=3, lr=0.05, cache=cache) for cache in (True, False))
    assert seen.settings["cached"] and seen.curve.shape == whole.curve.shape
    assert cases.close(seen.curve["value"].to_numpy(), whole.curve["value"].to_numpy(), within=1e-4)
    flipped = imu.what_if(seen, flip=[3])
    assert flipped.value("forget", "accuracy", 0) != seen.value("forget", "accuracy", 0)
