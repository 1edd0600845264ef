"""The readout is found or refused with reasons; its cached inputs are never those of another model; it is put back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import model_digest
from imu_lab.features import readout
from imu_lab.features.gradients import GeneralGradients, LinearGradients, gradients_of


def torchvision_models() -> dict[str, tuple[Callable, str]]:
    """A maker and the name of the readout, for each family of torchvision's classifiers (narrow where that is free)."""
    from torchvision import models

    return {
        "resnet18": (lambda: models.resnet18(num_classes=5), "fc"),
        "vgg11_bn": (lambda: models.vgg11_bn(num_classes=5, init_weights=False), "classifier.6"),
        "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=5), "classifier.3"),
        "densenet": (lambda: models.DenseNet(4, (1, 1), 8, num_classes=5), "classifier"),
        "vit": (lambda: models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=5), "heads.head"),
        "swin": (lambda: models.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=5), "head"),
        "shufflenet": (lambda: models.shufflenet_v2_x0_5(num_classes=5), "fc"),
        "googlenet": (lambda: models.GoogLeNet(5, aux_logits=True, init_weights=False), "fc"),
    }


@pytest.mark.parametrize("family", [
    "resnet18", "vgg11_bn", "mobilenet_v3_small", "densenet", "vit", "swin", "shufflenet", "googlenet",
])  # fmt: skip
def test_the_readout_of_torchvisions_classifiers(family: str) -> None:
    make, name = torchvision_models()[family]
    model = make()
    images = torch.randn(2, 3, 32, 32)
    assert readout.find(model, images) == name
    assert readout.is_linear(model, (name,), images)
    with torch.no_grad():
        reached, outputs = readout.capture(model.eval(), name, images)
        assert cases.close(model.get_submodule(name)(reached), outputs, within=1e-5)


def test_a_torchvision_classifier_whose_last_layer_is_a_convolution_is_refused_with_the_list() -> None:
    from torchvision import models

    with pytest.raises(imu.NoReadout, match="SqueezeNet: it has no linear layer.*readout=.*'all'.*classifier.1"):
        readout.find(models.squeezenet1_1(num_classes=5), torch.randn(2, 3, 32, 32))


def task_with(named: object = None) -> SimpleNamespace:
    """As much of a task as finding a readout needs."""
    return SimpleNamespace(readout=named, split=lambda name: imu.tasks.Examples.of(torch.randn(3, 4), torch.zeros(3)))


REFUSED = {
    "log_softmax": (nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)), "something follows its last linear layer '0'"),
    "relu": (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "something follows its last linear layer '0'"),
    "relu in place": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), "something follows"),
    "scaled": (nn.Sequential(nn.Linear(4, 3), nn.Hardtanh(-1e9, 1e9)), "something follows"),
    "no linear layer": (nn.Sequential(nn.Conv1d(4, 3, 1), nn.Flatten()), "no linear layer"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_linear_readout_is_refused(kind: str) -> None:
    model, reason = REFUSED[kind]
    inputs = torch.randn(2, 4, 1) if kind == "no linear layer" else torch.randn(2, 4)
    with pytest.raises(imu.NoReadout, match=f"no readout found in this Sequential: .*{reason}.*parameters: 0"):
        readout.find(model, inputs)
    assert not readout.is_linear(model, ("0",), inputs)


class Wrapped(nn.Module):
    """A linear layer and something done to its output."""

    def __init__(self, after: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.after = nn.Linear(4, 3), after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.layer, x)


@pytest.mark.parametrize("after", [
    lambda layer, x: layer(x) / 2,
    lambda layer, x: layer(x).mul_(2),
    lambda layer, x: layer(x)[:, :2],
    lambda layer, x: layer(x).flip(1),
    lambda layer, x: layer(x) + layer(x),
    lambda layer, x: layer(layer(x).repeat(1, 2)[:, :4]),
    lambda layer, x: layer(x).t(),
    lambda layer, x: layer(x.reshape(-1, 4)).reshape(-1),
], ids=["halved", "in place", "cut", "flipped", "twice", "recurrent", "transposed", "flat"])  # fmt: skip
def test_anything_done_to_the_logits_is_noticed(after: Callable) -> None:
    model, inputs = Wrapped(after), torch.randn(4, 4)
    assert not readout.is_linear(model, ("layer",), inputs)
    with pytest.raises(imu.NoReadout):
        readout.find(model, inputs)


def test_dropout_and_identity_after_the_layer_change_nothing_when_evaluated() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Identity()).train()
    assert readout.find(model, torch.randn(2, 4)) == "0"
    assert all(module.training for module in model.modules())


def test_the_model_may_be_its_readout() -> None:
    model = nn.Linear(4, 3)
    assert readout.resolve(task_with(), model) == ("",)
    assert readout.is_linear(model, ("",), torch.randn(2, 4))
    assert set(readout.parameters(model, ("",))) == {"weight", "bias"}


def test_a_root_linear_model_runs_through_every_verb() -> None:
    x, y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
    task = imu.tasks.Classification.from_data(model, (x, y), (x + 1, y), forget_class=0)
    run = imu.unlearn(task, model, imu.intensity(imu.influence(task, model)), steps=3)
    assert run.model.weight.shape == (3, 4) and not torch.equal(run.model.weight, model.weight)


def test_hooks_are_gone_after_a_search() -> None:
    model = cases.conv_net()
    readout.find(model, torch.randn(2, 1, 5, 5))
    readout.capture(model, "classifier", torch.randn(2, 1, 5, 5))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_named_module_that_is_not_there_names_the_near_one() -> None:
    with pytest.raises(imu.UnknownName, match="unknown module: 'clasifier'. Did you mean 'classifier'.*body.*narrow"):
        readout.resolve(task_with(("clasifier",)), cases.conv_net())


def test_a_named_module_without_parameters_is_refused() -> None:
    with pytest.raises(imu.NoReadout, match="'body.2' has no parameters.*classifier"):
        readout.resolve(task_with("body.2"), cases.conv_net())


@pytest.mark.parametrize(("named", "expected"), [
    ("narrow", ("narrow",)), (("narrow", "classifier"), ("narrow", "classifier")), ("all", ("",)), (("all",), ("",)),
])  # fmt: skip
def test_named_readouts(named: object, expected: tuple) -> None:
    assert readout.resolve(task_with(named), cases.conv_net()) == expected


def test_parameters_of_a_name_are_not_those_of_a_longer_name() -> None:
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "ab": nn.Linear(1, 1)})
    assert set(readout.parameters(model, ("a",))) == {"a.weight", "a.bias"}
    assert len(readout.parameters(model, ("",))) == 4


# Sequences: the layer works at each position, however the model arranges them.


class Arranged(cases.Attention):
    """The same transformer, its head applied to all tokens in one long row, or with time as the first axis."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, tokens: Tensor) -> Tensor:
        head, self.head = self.head, nn.Identity()
        hidden = super().forward(tokens)
        self.head = head
        if self.how == "flat":
            return self.head(hidden.flatten(0, 1)).unflatten(0, tokens.shape)
        return self.head(hidden.transpose(0, 1).contiguous()).transpose(0, 1)


def arranged(how: str) -> tuple[cases.Tokens, nn.Module, nn.Module]:
    """A task, the plain model, and one with the same weights arranged in another way."""
    task = cases.Tokens()
    plain, other = task.make_model(0), Arranged(how).double()
    other.load_state_dict(plain.state_dict())
    return task, plain, other.eval()


def test_tokens_in_one_row_give_the_same_influence() -> None:
    task, plain, flat = arranged("flat")
    assert isinstance(gradients_of(task, flat), LinearGradients)
    expected = imu.influence(task, plain).values
    assert cases.close(imu.influence(task, flat).values, expected, within=1e-9)
    assert cases.close(imu.influence(task, flat, cache=False).values, expected, within=1e-9)


def test_time_first_is_not_mistaken_for_examples_first() -> None:
    _, plain, turned = arranged("turned")
    named = cases.Tokens(readout=("head",))
    assert isinstance(gradients_of(named, turned), GeneralGradients)
    assert cases.close(imu.influence(named, turned).values, imu.influence(named, plain).values, within=1e-9)


def test_tied_weights_move_the_backbone_so_features_are_not_cached() -> None:
    task = cases.Tokens(readout=("head",))
    model = task.make_model(0)
    model.head.weight = model.embedding.weight
    assert isinstance(gradients_of(task, model), GeneralGradients)
    assert set(readout.parameters(model, ("head",))) == {"head.weight", "head.bias"}
    run = imu.unlearn(task, model, steps=2, lr=0.1)
    assert run.settings["cached"] is False
    assert run.model.head.weight is run.model.embedding.weight
    assert not torch.equal(run.model.head.weight, model.head.weight)
    outcome = task.evaluate(run.model, "forget")["loss"]
    assert run.value("forget", "loss") == pytest.approx(outcome, rel=1e-9)


# The cached task.


@pytest.mark.parametrize("name", ["toy", "digits class", "own data"])
def test_the_cached_task_measures_what_the_full_one_does(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    seen, head = readout.cached(task, model, readout.resolve(task, model)[0], readout.FeatureStore())
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


def test_grafting_puts_the_head_back_and_leaves_the_rest_bit_for_bit() -> None:
    model = cases.conv_net()
    before, head = cases.frozen(model), nn.Linear(6, 3)
    grafted = readout.graft(model, "classifier", head)
    assert cases.same(before, model)
    for name, value in grafted.state_dict().items():
        expected = head.state_dict()[name.split(".")[1]] if "classifier" in name else before["state"][name]
        assert torch.equal(value, expected)


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


def test_only_the_rows_asked_for_go_through_the_model_and_each_once() -> None:
    model = counting()
    task, other_task = cases.own_data(model, forget_class=1), cases.own_data(model, forget_indices=[1, 2, 3, 4])
    store = readout.FeatureStore()
    ROWS.clear()
    seen, _ = readout.cached(task, model, "head", store)
    assert ROWS == []
    seen.split("forget")
    assert sum(ROWS) == 20
    again, _ = readout.cached(task, model, "head", store)
    again.split("forget")
    assert sum(ROWS) == 20
    other, _ = readout.cached(other_task, model, "head", store)
    found = other.split("forget").batch().inputs  # 1 and 4 are of class 1: known; 2 and 3 are new
    assert sum(ROWS) == 22
    again.split("train")
    assert sum(ROWS) == 60
    batch = task.split("train").take(torch.tensor([1, 2, 3, 4])).batch()
    assert cases.close(found, readout.capture(model, "head", batch.inputs)[0].detach(), within=1e-5)
    ROWS.clear()
    other.split("test")  # test ids count from 0 too
    assert sum(ROWS) == 30


def test_influence_on_a_warm_cache_runs_no_backbone() -> None:
    model = counting(1)
    task = cases.own_data(model)
    imu.influence(task, model)
    ROWS.clear()
    imu.influence(task, model, damping=0.5)
    imu.influence(task, model, "gradient-dot")
    assert sum(ROWS) == 0


def test_rows_come_in_the_order_asked() -> None:
    model = counting()
    task = cases.own_data(model)
    seen, _ = readout.cached(task, model, "head", readout.FeatureStore())
    asked = task.split("train").take(torch.tensor([7, 3, 3, 50]))
    expected = readout.capture(model, "head", asked.batch().inputs)[0].detach()
    for _ in range(2):
        assert cases.close(seen.seen(asked).batch().inputs, expected, within=1e-5)


def test_the_oldest_entries_go_when_the_limit_is_reached() -> None:
    store = readout.FeatureStore(limit=20 * 6 * 4)
    for seed in range(3):
        model = counting(seed)
        readout.cached(cases.own_data(model), model, "head", store)[0].split("forget")
    assert store.bytes == 20 * 6 * 4 and store.seconds > 0


def test_more_than_memory_is_refused_with_the_remedy() -> None:
    with pytest.raises(MemoryError, match=r"features of \d+ examples need .* GiB.*cache=False"):
        readout._room(2**50, torch.zeros(1, 8))


# The key of a feature is content.


def agrees(task: imu.tasks.Classification, model: nn.Module) -> bool:
    """Whether the cached features, through the store that all share, are those of the model as it is now."""
    seen, _ = readout.cached(task, model, "head")
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
    seen = [
        readout.cached(task, each, "head")[0].split("forget").batch().inputs for each in (model, other, counting(1))
    ]
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert agrees(task, model)


def test_editing_the_head_alone_keeps_the_features() -> None:
    model = counting(6)
    digest = readout.backbone_digest(model, "head")
    with torch.no_grad():
        model.head.weight.mul_(2)
    assert readout.backbone_digest(model, "head") == digest
    assert readout.backbone_digest(model, "") != readout.backbone_digest(counting(6), "")


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
    digests = {name: model_digest(model) for name, model in models.items()}
    assert len(set(digests.values())) == len(CELLS)
    assert all(model_digest(redefined(body)) == digests[name] for name, body in CELLS.items())


def test_other_data_get_other_features() -> None:
    model = counting()
    store, (x, y) = readout.FeatureStore(), cases.images(60, 0)
    tasks = [
        imu.tasks.Classification.from_data(model, (inputs, y), cases.images(30, 1), forget_class=1)
        for inputs in (x, x + 1)
    ]
    found = [readout.cached(task, model, "head", store)[0].split("forget").batch().inputs for task in tasks]
    assert not torch.equal(*found)
