"""The readout is found or refused with reasons; its cached inputs are never those of another model; it is put back."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
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


@pytest.mark.few(1)
@pytest.mark.parametrize("family", [
    "resnet18", "vgg11_bn", "vit", "swin",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("mobilenet_v3_small", "densenet", "shufflenet", "googlenet")),
])  # fmt: skip
def test_the_readout_of_torchvisions_classifiers(family: str) -> None:
    make, name = torchvision_models()[family]
    model = make()
    images = torch.randn(2, 3, 32, 32)
    assert readout.find(model, images) == name
    found = readout.examine(task_with(None, images), model)
    assert found.names == (name,) and found.linear
    with torch.no_grad():
        reached, outputs = readout.capture(model.eval(), name, images)
        assert cases.close(model.get_submodule(name)(reached), outputs, within=1e-5)


@pytest.mark.full
def test_a_torchvision_classifier_whose_last_layer_is_a_convolution_is_refused_with_the_list() -> None:
    from torchvision import models

    with pytest.raises(imu.NoReadout, match="SqueezeNet: it has no linear layer.*readout=.*'all'.*classifier.1"):
        readout.find(models.squeezenet1_1(num_classes=5), torch.randn(2, 3, 32, 32))


def task_with(named: object = None, inputs: Tensor | None = None) -> SimpleNamespace:
    """As much of a task as finding a readout needs."""
    inputs = torch.randn(3, 4) if inputs is None else inputs
    examples = imu.tasks.Examples.of(inputs, torch.zeros(len(inputs)))
    return SimpleNamespace(
        readout=named,
        example_loss=lambda forward, batch: forward(batch.inputs).sum() + torch.zeros(len(batch.inputs)),
        split=lambda name: examples,
    )


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
    assert not readout.examine(task_with("0", inputs), model).linear


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
    assert not readout.examine(task_with("layer", inputs), model).linear
    with pytest.raises(imu.NoReadout):
        readout.find(model, inputs)


def test_dropout_and_identity_after_the_layer_change_nothing_when_evaluated() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Identity()).train()
    assert readout.find(model, torch.randn(2, 4)) == "0"
    assert all(module.training for module in model.modules())


def test_the_model_may_be_its_readout() -> None:
    model = nn.Linear(4, 3)
    assert readout.resolve(task_with(), model) == ("",)
    assert readout.examine(task_with(), model).linear
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


@pytest.mark.parametrize("given", [2, True, ("classifier", 0)], ids=str)
def test_what_is_no_name_of_a_module_is_refused(given: object) -> None:
    with pytest.raises(
        TypeError, match=r"readout= takes the names of modules, got (2|True|0); modules with parameters: .*classif"
    ):
        readout.resolve(task_with(given), cases.conv_net())


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


@pytest.mark.full
def test_time_first_is_not_mistaken_for_examples_first() -> None:
    _, plain, turned = arranged("turned")
    named = cases.Tokens(readout=("head",))
    assert isinstance(gradients_of(named, turned), GeneralGradients)
    assert cases.close(imu.influence(named, turned).values, imu.influence(named, plain).values, within=1e-9)


@pytest.mark.full
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


def test_grafting_puts_the_head_back_and_leaves_the_rest_bit_for_bit() -> None:
    model = cases.conv_net()
    before, head = cases.frozen(model), nn.Linear(6, 3)
    grafted = readout.graft(model, "classifier", head)
    assert cases.same(before, model)
    for name, value in grafted.state_dict().items():
        expected = head.state_dict()[name.split(".")[1]] if "classifier" in name else before["state"][name]
        assert torch.equal(value, expected)


def test_a_model_that_fails_without_a_word_is_told_by_the_kind_of_its_error() -> None:
    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError

    with pytest.raises(ValueError, match="this Silent cannot answer .*: RuntimeError without a message; pass a model"):
        imu.influence(cases.task("digits class"), Silent())
