"""What reaches the readout is computed once, and is never that of another model, of other data or of other code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import cases
import pytest
import torch
from torch import Tensor, nn
from user_tasks import Own

import imu_lab as imu
from imu_lab.features import cache, readout, view
from imu_lab.features.cache import FeatureStore, ReadoutTask
from imu_lab.tasks.protocol import Task


def seen_from(task: Task, model: nn.Module, store: FeatureStore | None = None) -> tuple[ReadoutTask, nn.Module]:
    """The task and model from the readout, with a store of features of its own where one is given."""
    found = readout.examine(task, model)
    return ReadoutTask(task, model, found, store), copy.deepcopy(model.get_submodule(found.names[0]))


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["toy", "digits class", "own data"])
def test_the_view_measures_what_the_full_one_does(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    seen, head = seen_from(task, model, FeatureStore())
    for split in ("forget", "retain", "test"):
        full, small = task.split(split), seen.split(split)
        assert torch.equal(full.ids, small.ids) and torch.equal(full.batch().targets, small.batch().targets)
        assert seen.evaluate(head, split) == task.evaluate(model, split)
    with torch.no_grad():
        assert cases.close(
            head(seen.split("test").batch().inputs), model(task.split("test").batch().inputs), within=1e-5
        )
    assert seen.card(0) == task.card(0)
    assert copy.deepcopy(head.state_dict()).keys() == {"weight", "bias"}


@dataclass(frozen=True)
class WithStatic(cases.Tokens):
    """A task whose loss needs no ``self``."""

    @staticmethod
    def example_loss(forward: Callable, batch: imu.tasks.Batch) -> Tensor:
        return cases.Tokens.example_loss(None, forward, batch)


def test_a_static_method_of_a_task_stays_one() -> None:
    expected = imu.influence(cases.Tokens(), cases.Tokens().make_model(0)).values
    assert cases.close(imu.influence(WithStatic(), WithStatic().make_model(0)).values, expected, within=1e-12)


ROWS: list[int] = []


class Counting(nn.Module):
    """A network that notes how many rows went through its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(25, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        ROWS.append(len(x))
        return self.head(torch.tanh(self.body(x.flatten(1))))


def counting(seed: int = 0) -> nn.Module:
    """A fresh network that counts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Counting().eval()


def rows_of(action: Callable[[], object]) -> int:
    """How many rows went through a counting network's backbone meanwhile."""
    ROWS.clear()
    action()
    return sum(ROWS)


def test_only_the_rows_asked_for_go_through_the_model_and_each_once() -> None:
    model = counting()
    task, other_task = cases.own_data(model, forget_class=1), cases.own_data(model, forget_indices=[1, 2, 3, 4])
    store = FeatureStore()
    seen, _ = seen_from(task, model, store)
    assert rows_of(lambda: seen.split("forget")) == 20
    again, _ = seen_from(task, model, store)
    assert rows_of(lambda: again.split("forget")) == 0
    other, _ = seen_from(other_task, model, store)
    new = rows_of(lambda: other.split("forget"))
    assert (
        new == readout.PROBE + 2
    )  # 1 and 4 are of class 1: known; 2 and 3 are new; the first request's probe is asked again
    batch = task.split("train").take(torch.tensor([1, 2, 3, 4])).batch()
    reached = readout.capture(model, "head", batch.inputs)[0].detach()
    assert cases.close(other.split("forget").batch().inputs, reached, within=1e-5)
    assert torch.equal(other.split("forget").batch().targets, batch.targets)
    assert rows_of(lambda: again.split("train")) == 38
    assert rows_of(lambda: other.split("test")) == 30  # test ids count from 0 too


def test_a_verb_on_a_warm_cache_puts_the_probe_through_the_backbone_once_and_nothing_else() -> None:
    model = counting(1)
    task = cases.own_data(model)
    imu.influence(task, model)
    assert rows_of(lambda: imu.influence(task, model, damping=0.5)) == readout.PROBE
    assert rows_of(lambda: imu.unlearn(task, model, steps=3)) == readout.PROBE + 40 + 30  # retain and test are new
    assert rows_of(lambda: imu.unlearn(task, model, steps=3)) == readout.PROBE


def test_rows_come_in_the_order_asked() -> None:
    model = counting()
    task = cases.own_data(model)
    seen, _ = seen_from(task, model, FeatureStore())
    asked = task.split("train").take(torch.tensor([7, 3, 3, 50]))
    expected = readout.capture(model, "head", asked.batch().inputs)[0].detach()
    for _ in range(2):
        assert cases.close(seen.features(asked).batch().inputs, expected, within=1e-5)


def test_the_oldest_entries_go_when_the_limit_is_reached() -> None:
    store = FeatureStore(limit=20 * 6 * 4)
    for seed in range(3):
        model = counting(seed)
        seen_from(cases.own_data(model), model, store)[0].split("forget")
    assert store.bytes == 20 * 6 * 4


def test_more_than_memory_is_refused_with_the_remedy() -> None:
    with pytest.raises(MemoryError, match=r"features of \d+ examples need .* GiB.*cache=False"):
        cache._room(2**50, torch.zeros(1, 8))


# The key of a feature is content.


def agrees(task: imu.tasks.Classification, model: nn.Module) -> bool:
    """Whether the cached features, through the store that all share, are those of the model as it is now."""
    seen, _ = seen_from(task, model)
    with torch.no_grad():
        expected = readout.capture(model, "head", task.split("forget").batch().inputs)[0]
    return cases.relative(seen.split("forget").batch().inputs, expected) <= 1e-5


class Editable(Counting):
    """A backbone with one thing of each kind that can be edited."""

    exponent = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("shift", torch.zeros(6), persistent=False)
        self.scale, self._hidden, self.table = 1.0, {"offset": 0.0}, torch.ones(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.body(x.flatten(1))) * self.scale + self.shift + self._hidden["offset"]
        return self.head(x.sign() * x.abs() ** self.exponent * self.table)


EDITS: dict[str, Callable[[nn.Module], object]] = {
    "a weight": lambda model: model.body.weight.data.add_(0.1),
    "running statistics": lambda model: model.norm.running_mean.add_(0.1),
    "a buffer that is not saved": lambda model: model.shift.add_(0.1),
    "an attribute": lambda model: setattr(model, "scale", 2.0),
    "a class attribute of the instance": lambda model: setattr(model, "exponent", 2.0),
    "a private attribute": lambda model: model._hidden.update(offset=1.0),
    "a tensor that is no buffer": lambda model: model.table.mul_(2),
    "a module": lambda model: setattr(model, "norm", nn.Identity()),
    "a setting of a module": lambda model: setattr(model.norm, "eps", 1.0),
    "a hook": lambda model: model.body.register_forward_hook(lambda module, given, made: made * 3),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("edit", EDITS)
def test_a_model_edited_in_place_gets_new_features(edit: str) -> None:
    model = Editable().eval()
    task = cases.own_data(counting())
    assert agrees(task, model)
    before = readout.capture(model, "head", task.split("forget").batch().inputs)[0]
    EDITS[edit](model)
    after = readout.capture(model.eval(), "head", task.split("forget").batch().inputs)[0]
    assert not torch.equal(before, after), "the edit must matter"
    assert agrees(task, model)


def test_the_verbs_notice_an_edit_in_place() -> None:
    model = counting(5)
    task = cases.own_data(model)
    before = imu.influence(task, model).values
    with torch.no_grad():
        model.body.weight.mul_(3)
    after = imu.influence(task, model).values
    assert cases.close(after, imu.influence(task, model, cache=False).values, within=1e-5)
    assert cases.relative(after, before) > 1e-3


def test_another_model_at_the_same_address_gets_its_own_features() -> None:
    """Python gives the address of a freed model to the next one; the same object with all else new is that case, always."""
    task, model, other = cases.own_data(counting()), counting(1), counting(2)
    assert agrees(task, model)
    model.load_state_dict(other.state_dict())
    seen = [seen_from(task, each)[0].split("forget").batch().inputs for each in (model, other, counting(1))]
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert agrees(task, model)


def test_editing_the_head_alone_keeps_the_features() -> None:
    model = counting(6)
    task = cases.own_data(model)
    view(task, model)[0].split("train")
    with torch.no_grad():
        model.head.weight.mul_(2)
    assert rows_of(lambda: view(task, model)[0].split("train")) == readout.PROBE


def bend(values: Tensor) -> Tensor:
    """A helper as a notebook's cell defines one."""
    return torch.tanh(values)


class Helped(Counting):
    """A network whose ``forward`` calls a function that is not its own, and which holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = {"me": [self]}  # as a Hugging Face model's configuration does, by way of a method

    def forward(self, x: Tensor) -> Tensor:
        ROWS.append(len(x))
        return self.head(bend(self.body(x.flatten(1))))


@pytest.mark.parametrize(
    "helper", [torch.relu, torch.sin, lambda values: values * 3, lambda values: values[:, [1, 0, 2, 3, 4, 5]]]
)
def test_a_helper_edited_in_another_cell_gets_new_features(
    helper: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Helped().eval()
    model.load_state_dict(counting().state_dict())
    task = cases.own_data(model)
    before = imu.influence(task, model).values
    monkeypatch.setitem(globals(), "bend", helper)
    after, truth = imu.influence(task, model).values, imu.influence(task, model, cache=False).values
    assert cases.close(after, truth, within=1e-4)
    assert cases.relative(after, before) > 1e-2, "the edit must matter"
    run = imu.unlearn(task, model, steps=4, lr=0.1)
    assert run.value("test", "accuracy") == task.evaluate(run.model, "test")["accuracy"]


def redefined(body: str) -> nn.Module:
    """A user's class as a notebook cell defines it: always the same name and weights, with this code."""
    scope: dict = {"torch": torch, "nn": nn, "Counting": Counting}
    exec(f"class Mine(Counting):\n{body}", scope)
    model = scope["Mine"]()
    model.load_state_dict(counting().state_dict())
    return model.eval()


FORWARD = "    def forward(self, x):\n        "
CELLS = {
    "tanh": FORWARD + "return self.head(torch.tanh(self.body(x.flatten(1))))",
    "relu": FORWARD + "return self.head(torch.relu(self.body(x.flatten(1))))",
    "times 2.5": FORWARD + "return self.head(2.5 * self.body(x.flatten(1)))",
    "times 3.5": FORWARD + "return self.head(3.5 * self.body(x.flatten(1)))",
    "inner 2.5": FORWARD + "return self.head((lambda y: 2.5 * y + 1)(self.body(x.flatten(1))))",
    "inner 3.5": FORWARD + "return self.head((lambda y: 3.5 * y + 1)(self.body(x.flatten(1))))",
    "helper sin": FORWARD + "return self.head(self.bend(self.body(x.flatten(1))))\n"
    "    def bend(self, y):\n        return torch.sin(y)",
    "helper cos": FORWARD + "return self.head(self.bend(self.body(x.flatten(1))))\n"
    "    def bend(self, y):\n        return torch.cos(y)",
    "default 2": "    def forward(self, x, times=2.5):\n        return self.head(times * self.body(x.flatten(1)) + 2)",
    "default 3": "    def forward(self, x, times=3.5):\n        return self.head(times * self.body(x.flatten(1)) + 2)",
    "static sin": FORWARD + "return self.head(self.turn(self.body(x.flatten(1))))\n"
    "    @staticmethod\n    def turn(y):\n        return torch.sin(y) + 1",
    "static cos": FORWARD + "return self.head(self.turn(self.body(x.flatten(1))))\n"
    "    @staticmethod\n    def turn(y):\n        return torch.cos(y) + 1",
    "class attribute 2": "    times = 2.5\n" + FORWARD + "return self.head(self.times * self.body(x.flatten(1)) - 1)",
    "class attribute 3": "    times = 3.5\n" + FORWARD + "return self.head(self.times * self.body(x.flatten(1)) - 1)",
}


def test_a_class_defined_again_with_other_code_gets_new_features() -> None:
    task = cases.own_data(counting())
    models = {name: redefined(body) for name, body in CELLS.items()}
    assert all(agrees(task, model) for model in models.values())


def test_other_data_get_other_features() -> None:
    model = counting()
    store, (x, y) = FeatureStore(), cases.images(60, 0)
    tasks = [
        imu.tasks.Classification.from_data(model, (inputs, y), cases.images(30, 1), forget_class=1)
        for inputs in (x, x + 1)
    ]
    found = [seen_from(task, model, store)[0].split("forget").batch().inputs for task in tasks]
    assert not torch.equal(*found)


@dataclass(frozen=True)
class SameIds(Own):
    """A task of somebody who gave test samples the ids of their groups."""

    evaluate = imu.tasks.averages

    def example_metrics(self, forward: Callable, batch: imu.tasks.Batch) -> dict[str, Tensor]:
        return {"accuracy": (forward(batch.inputs).argmax(1) == batch.targets).float()}

    def split(self, name: str) -> imu.tasks.Examples:
        if name != "test":
            return super().split(name)
        inputs, labels = self.data()
        return imu.tasks.Examples.of(inputs, labels, 1 - torch.arange(40) % 2, "test")


def test_examples_that_share_an_id_keep_their_own_features() -> None:
    task = SameIds()
    model = task.make_model(0).eval()
    run = imu.unlearn(task, model, steps=2, lr=0.1)
    for step in (0, 2):
        expected = task.evaluate(run.model_at(step), "test")["accuracy"]
        assert cases.close(run.value("test", "accuracy", step), expected, within=1e-6)
    assert expected > 0
