"""What is kept is used for nothing else: other examples under the same ids, other losses, other layers, other code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import cases
import pytest
import torch
from torch import Tensor, nn
from user_tasks import Own

import imu_lab as imu
from imu_lab.features import view
from imu_lab.features.gradients import explicit, flat
from imu_lab.tasks import Batch, Examples, Toy


def honest(task: imu.tasks.Task, model: nn.Module, **asked: object) -> bool:
    """Whether influence on the default path is what it is without any cache."""
    found, truth = (imu.influence(task, model, cache=cache, **asked).values for cache in (True, False))
    return cases.close(found, truth, within=1e-3)


def test_examples_that_are_handed_over_are_not_those_of_the_training_set_with_their_ids() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    view(task, model)[0].split("train")
    theirs = Examples.of(*cases.images(30, 9))
    assert honest(task, model, target=theirs)
    imu.clear_caches()
    assert (
        honest(task, model, target=theirs)
        and honest(task, model, target="retain")
        and honest(task, model, target="train")
    )


@dataclass(frozen=True)
class Careless(Own):
    """A test split whose source and ids are those of the training set."""

    def split(self, name: str) -> Examples:
        return Examples.of(*cases.images(40, 8)) if name == "test" else super().split(name)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        batch = self.split(split).batch()
        with torch.no_grad():
            return {"accuracy": (model(batch.inputs).argmax(1) == batch.targets).double().mean().item()}


@pytest.mark.full
def test_a_test_split_with_the_ids_of_the_training_set_keeps_its_own_samples() -> None:
    task, model = Careless(), Careless().make_model(1)
    assert (
        honest(task, model, target="test")
        and honest(task, model, target="train")
        and honest(task, model, target="test")
    )


class Shifted(Toy):
    """A subclass with other inputs; its data key is that of the class above."""

    def split(self, name: str) -> Examples:
        examples = super().split(name)
        batch = examples.batch()
        return Examples.of(batch.inputs * 2 - 1, batch.targets, examples.ids, examples.source)


class Flipped(Toy):
    """A subclass with other labels."""

    def split(self, name: str) -> Examples:
        examples = super().split(name)
        batch = examples.batch()
        return Examples.of(batch.inputs, 2 - batch.targets, examples.ids, examples.source)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", [Shifted, Flipped])
def test_a_subclass_with_other_samples_gets_its_own(kind: type) -> None:
    model = imu.train(Toy())
    assert honest(Toy(), model) and honest(kind(), model)
    assert not torch.equal(imu.train(kind()).state_dict()["2.weight"], model.state_dict()["2.weight"])


class Smoothed(Toy):
    """A subclass with another loss."""

    def example_loss(self, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(forward(batch.inputs), batch.targets, reduction="none", label_smoothing=0.5)


def test_a_subclass_with_another_loss_is_trained_by_it() -> None:
    plain, smoothed = imu.train(Toy()), imu.train(Smoothed())
    assert not torch.equal(plain[2].weight, smoothed[2].weight)
    assert torch.equal(imu.train(Toy())[2].weight, plain[2].weight)
    assert torch.equal(imu.train(Smoothed())[2].weight, smoothed[2].weight)


@dataclass(frozen=True)
class Holding(Own):
    """A task that holds its data in a setting that does not count."""

    inputs: Tensor = field(default_factory=lambda: cases.images(40, 3)[0], compare=False)

    def data(self) -> tuple[Tensor, Tensor]:
        return self.inputs, cases.images(40, 3)[1]


@dataclass(frozen=True)
class Keyed(Holding):
    """The same with a digest of its content."""

    @property
    def data_key(self) -> str:
        return str(self.inputs.double().sum().item())

    def split(self, name: str) -> Examples:
        return super().split(name)


def test_data_in_a_setting_that_does_not_count_need_a_key() -> None:
    model = Own().make_model(1)
    with pytest.raises(
        TypeError, match="inputs of Holding holds data that do not count when tasks are compared; add a data_key"
    ):
        imu.influence(Holding(), model)
    assert honest(Keyed(), model)


@pytest.mark.full
def test_data_without_a_key_that_are_edited_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = cases.images(40, 3)
    monkeypatch.setattr(Own, "data", lambda self: (inputs, labels))
    model = Own().make_model(1)
    assert honest(Own(), model)
    inputs[5] *= -3
    assert honest(Own(), model)
    inputs[17] += 2
    assert honest(Own(), model, target="retain")


@dataclass(frozen=True)
class Autoencoder(Own):
    """A loss that reads the inputs, of a model whose features are as wide as its inputs."""

    def make_model(self, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Flatten(), nn.Linear(25, 25), nn.Tanh(), nn.Linear(25, 25))

    def example_loss(self, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        return (forward(batch.inputs) - batch.inputs.reshape(len(batch.inputs), -1)).square().mean(1)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        with torch.no_grad():
            return {"loss": self.example_loss(model, self.split(split).batch()).mean().item()}


@pytest.mark.full
def test_a_loss_that_reads_the_inputs_is_not_asked_with_features() -> None:
    task, model = Autoencoder(), Autoencoder().make_model(0)
    assert view(task, model)[0] is task and honest(task, model)
    run = imu.unlearn(task, model, steps=2, lr=0.01)
    assert run.value("forget", "loss") == pytest.approx(task.evaluate(run.model, "forget")["loss"], rel=1e-5)


class Cosine(nn.Linear):
    """A classifier by the cosine, which is no linear layer though its class is one."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.normalize(x), nn.functional.normalize(self.weight))


@pytest.mark.few(1)
@pytest.mark.filterwarnings("ignore:.*cannot be differentiated in forward mode")  # torch's weight norm has none
@pytest.mark.parametrize("layer", [
    lambda: Cosine(6, 3, bias=False),
    lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3)),
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)),
], ids=["cosine", "spectral norm", "weight norm"])  # fmt: skip
def test_a_layer_that_is_no_plain_linear_layer_has_no_closed_form(layer: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(25, 6), nn.Tanh(), layer()).eval()
        model(torch.randn(8, 1, 5, 5))
    task = Own(readout=("3",))
    gradients = explicit(task, model, task.split("forget"))
    expected = -(gradients @ gradients.mean(0))
    assert cases.close(imu.influence(task, model, "gradient-dot").values, expected, within=1e-3)
    assert len(flat({name: value for name, value in model[3].named_parameters()})) == gradients.shape[1]
    imu.unlearn(task, model, steps=1, lr=0.01)


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """A helper of a notebook's cell."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


@dataclass(frozen=True)
class Helped(Own):
    """A task whose loss calls a function that is not its own."""

    @property
    def data_key(self) -> str:
        return "fixed"

    def split(self, name: str) -> Examples:
        return super().split(name)

    def example_loss(self, forward: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        return loss_of(forward(batch.inputs), batch.targets)


def test_a_helper_of_the_loss_that_is_edited_reaches_all_that_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = Helped(), Helped().make_model(1)
    before = imu.influence(task, model)
    monkeypatch.setitem(
        globals(), "loss_of", lambda made, targets: 3 * nn.functional.cross_entropy(made, targets, reduction="none")
    )
    after = imu.influence(task, model)
    for name in ("loss", "gradient_norm"):
        assert cases.close(after.context[name], 3 * before.context[name], within=1e-4)


class Squashed(nn.Module):
    """A classifier whose activation is no module."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden, self.head, self.act = nn.Linear(25, 6), nn.Linear(6, 3), act

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.hidden(x.flatten(1))))


def test_a_reference_with_equal_tensors_and_other_code_is_another_reference() -> None:
    task, first = cases.task("own data"), Squashed(torch.tanh)
    second = Squashed(torch.relu)
    second.load_state_dict(first.state_dict())
    model = cases.original("own data")
    kept = [
        imu.unlearn(task, model, steps=1, lr=0.01, reference=each, follow=["kl-retrained"]) for each in (first, second)
    ]
    imu.clear_caches()
    alone = imu.unlearn(task, model, steps=1, lr=0.01, reference=second, follow=["kl-retrained"])
    assert kept[1].value("test", "kl_retrained") == pytest.approx(alone.value("test", "kl_retrained"), rel=1e-6)
    assert kept[0].value("test", "kl_retrained") != kept[1].value("test", "kl_retrained")


def doubled(layer: nn.Linear, how: str) -> nn.Linear:
    """The layer with a hook that doubles what goes in, or what comes out."""
    if how == "in":
        layer.register_forward_pre_hook(lambda _, given: (2 * given[0],))
    if how == "out":
        layer.register_forward_hook(lambda _, given, made: 2 * made)
    return layer


@pytest.mark.few(1)
@pytest.mark.parametrize("how", ["in", "out"])
@pytest.mark.parametrize("alone", [False, True], ids=["a head", "the whole model"])
def test_a_hook_on_the_last_layer_is_part_of_the_model(alone: bool, how: str) -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(40, 5, generator=draw), torch.arange(40) % 3
    torch.manual_seed(1)
    layer = doubled(nn.Linear(5, 3), how)
    model = layer.eval() if alone else nn.Sequential(nn.Linear(5, 5), nn.Tanh(), layer).eval()
    unseen = (inputs + 0.1, labels)
    task = imu.tasks.Classification.from_data(model, (inputs, labels), unseen, forget_indices=range(6))
    moved = copy.deepcopy(model)
    values = list((moved if alone else moved[2]).parameters())
    run = imu.unlearn(task, model, steps=3, lr=0.1, momentum=0.0, weight_decay=0.0)
    for step in range(4):
        loss = nn.functional.cross_entropy(moved(inputs[:6]), labels[:6])
        assert cases.close(run.value("forget", "loss", step), loss.item(), within=1e-5)
        for value, slope in zip(values, torch.autograd.grad(loss, values)):
            value.data += 0.1 * slope
