"""Closed forms and forward-mode derivatives against the explicit gradient of each example."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import cases
import pytest
import torch
from linear_heads import LINEAR, Padded, own, sequences, smoothed, tolerance
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread, seeded
from imu_lab.features import gradients, linear, readout
from imu_lab.features.cache import view
from imu_lab.features.gradients import GeneralGradients, LinearGradients, explicit, flat, gradients_of
from imu_lab.tasks.protocol import Task


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def by_hand(task: Task, model: nn.Module, examples: imu.tasks.Examples) -> Tensor:
    """(n, P) each example's gradient by ``backward`` on a copy, as a textbook would: the oracle of the oracle."""
    model, rows = copy.deepcopy(model).eval(), []
    for position in range(len(examples)):
        model.zero_grad()
        task.example_loss(model, examples.batch(torch.tensor([position])))[0].backward()
        parts = readout.parameters(model, readout.resolve(task, model)).values()
        rows.append(torch.cat([part.grad.flatten() for part in parts]))
    return torch.stack(rows)


@pytest.mark.few(4)
@pytest.mark.parametrize("case", LINEAR)
def test_the_explicit_loop_is_the_textbook_loop(case: str) -> None:
    task, model = LINEAR[case]()
    forget = task.split("forget")
    assert cases.relative(explicit(task, model, forget), by_hand(task, model, forget)) <= tolerance(model) / 10


def test_the_gradient_of_a_linear_head_is_delta_times_features_and_one() -> None:
    task, model = cases.in_double("toy")
    batch = task.split("forget").batch()
    reached, logits = readout.capture(model, "2", batch.inputs)
    delta = logits.softmax(1) - nn.functional.one_hot(batch.targets, 3)
    expected = torch.cat([torch.einsum("nk,nd->nkd", delta, reached).flatten(1), delta], 1)
    assert cases.relative(explicit(task, model, task.split("forget")), expected.detach()) <= 1e-12


@pytest.mark.parametrize("case", LINEAR)
def test_closed_forms_equal_the_explicit_loop(case: str) -> None:
    task, model = LINEAR[case]()
    found, forget = gradients_of(task, model), task.split("forget")
    assert isinstance(found, LinearGradients)
    each = explicit(task, model, forget)
    mean, squares = found.moments(forget)
    assert cases.relative(flat(found.mean(forget)), each.mean(0)) <= tolerance(model)
    assert cases.relative(flat(mean), each.mean(0)) <= tolerance(model)
    assert cases.relative(flat(squares), each.square().mean(0)) <= tolerance(model)
    assert cases.relative(found.norms(forget), each.norm(dim=1)) <= tolerance(model)
    direction = random_direction(mean)
    assert cases.relative(found.along(forget, direction), each @ flat(direction)) <= tolerance(model)


def random_direction(like: gradients.Gradient) -> gradients.Gradient:
    """A direction of the same shapes that is no gradient."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(value.shape, generator=generator, dtype=value.dtype) for name, value in like.items()}


@pytest.mark.parametrize("case", LINEAR)
def test_the_names_are_those_of_the_models_parameters(case: str) -> None:
    task, model = LINEAR[case]()
    found = gradients_of(task, model).mean(task.split("forget"))
    wanted = readout.parameters(model, readout.resolve(task, model))
    assert {name: value.shape for name, value in found.items()} == {name: p.shape for name, p in wanted.items()}
    assert list(found) == list(wanted)


@pytest.mark.parametrize("case", LINEAR)
def test_the_general_way_gives_the_same_on_the_same_head(case: str) -> None:
    task, model = LINEAR[case]()
    forget = task.split("forget")
    compare(GeneralGradients(task, model, readout.resolve(task, model)), task, model, forget)


def compare(found: GeneralGradients, task: Task, model: nn.Module, forget: imu.tasks.Examples) -> None:
    """Every quantity of the general way against the explicit loop."""
    each = explicit(task, model, forget)
    mean, squares = found.moments(forget)
    direction = random_direction(mean)
    assert cases.relative(flat(found.mean(forget)), each.mean(0)) <= tolerance(model)
    assert cases.relative(flat(mean), each.mean(0)) <= tolerance(model)
    assert cases.relative(flat(squares), each.square().mean(0)) <= tolerance(model)
    assert cases.relative(found.norms(forget), each.norm(dim=1)) <= tolerance(model)
    assert cases.relative(found.along(forget, direction), each @ flat(direction)) <= tolerance(model)


@pytest.mark.parametrize("named", [("narrow", "classifier"), "all", "body", ("body.1",), ("classifier", "narrow")])
def test_several_layers_or_all(named: object) -> None:
    task, model = own(torch.float64, readout=named)
    found = gradients_of(task, model)
    assert isinstance(found, GeneralGradients)
    compare(found, task, model, task.split("forget"))


def test_all_of_a_transformer_over_sequences() -> None:
    task = Padded(readout="all")
    model = task.make_model(0)
    compare(gradients_of(task, model), task, model, task.split("forget"))


class Encoder(nn.Module):
    """torch's own transformer encoder, with its fused fast path, as a classifier."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 5, 5): five tokens of width five, padded to eight."""
        return self.head(self.encoder(nn.functional.pad(images[:, 0], (0, 3))).mean(1))


@pytest.mark.parametrize("named", [("encoder.layers.0.self_attn",), "all"])
def test_torchs_attention_under_forward_mode(named: object) -> None:
    with seeded(0):
        model = Encoder().double().eval()
    task = cases.own_data(model, torch.float64, forget_indices=[0, 1, 2, 9], readout=named)
    fast = torch.backends.mha.get_fastpath_enabled()
    compare(gradients_of(task, model), task, model, task.split("forget"))
    assert torch.backends.mha.get_fastpath_enabled() == fast


@pytest.mark.full
@pytest.mark.parametrize("named", [pytest.param(("layer4", "fc"), marks=pytest.mark.slow), "all"])
def test_a_torchvision_network(named: object) -> None:
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    with seeded(0):
        model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3).double().eval()
    drawn = [cases.images(9, seed, torch.float64) for seed in (0, 1)]
    parts = [(x.expand(-1, 3, -1, -1).repeat(1, 1, 4, 4), y) for x, y in drawn]
    task = imu.tasks.Classification.from_data(model, *parts, forget_indices=[0, 1, 5], readout=named)
    found, forget = gradients_of(task, model), task.split("forget")
    each, direction = explicit(task, model, forget), random_direction(readout.parameters(model, found.names))
    assert cases.relative(found.along(forget, direction), each @ flat(direction)) <= 1e-6
    assert cases.relative(flat(found.mean(forget)), each.mean(0)) <= 1e-6
    assert cases.relative(flat(found.moments(forget)[1]), each.square().mean(0)) <= 1e-6


@pytest.mark.parametrize("case", ["toy, double", "sequences, double"])
@pytest.mark.parametrize("kind", ["linear", "general"])
def test_the_size_of_a_chunk_changes_nothing(case: str, kind: str) -> None:
    task, model = LINEAR[case]()
    names = readout.resolve(task, model)
    found = LinearGradients(task, model, names[0]) if kind == "linear" else GeneralGradients(task, model, names)
    whole = task.split("forget")
    expected, direction = found.moments(whole), random_direction(found.mean(whole))
    for chunk in (1, 4, 1000):
        few = replace(whole, chunk=chunk)
        for one, other in zip(found.moments(few), expected):
            assert cases.relative(flat(one), flat(other)) <= 1e-12
        assert cases.relative(found.along(few, direction), found.along(whole, direction)) <= 1e-12
        assert cases.relative(found.norms(few), found.norms(whole)) <= 1e-12


@pytest.mark.parametrize("room", [1, 100, 10_000])
def test_less_room_changes_nothing(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = sequences()
    found, forget = gradients_of(task, model), task.split("forget")
    expected = found.moments(forget)
    monkeypatch.setattr(linear, "ROOM", room)
    again = LinearGradients(task, model, "head").moments(forget)
    for one, other in zip(again, expected):
        assert cases.relative(flat(one), flat(other)) <= 1e-12


def test_the_squares_of_a_sequence_are_of_its_sum_and_not_the_sum_of_its_tokens_squares() -> None:
    task, model = sequences()
    forget = task.split("forget").take(torch.tensor([0]))
    squares = flat(gradients_of(task, model).moments(forget)[1])
    assert cases.relative(squares, explicit(task, model, forget)[0] ** 2) < 1e-9


@pytest.mark.parametrize("kind", ["linear", "general"])
def test_the_model_is_left_as_it_was_also_in_training_mode(kind: str) -> None:
    task, model = own(torch.float32)
    model.train().body.eval()
    model.requires_grad_(False)
    before = cases.frozen(model)
    linear = LinearGradients(task, model, "classifier")
    found = linear if kind == "linear" else GeneralGradients(task, model, ("classifier",))
    forget = task.split("forget")
    mean, squares = found.moments(forget)
    along = found.along(forget, mean)
    assert cases.same(before, model)
    assert not any(value.requires_grad for value in (*mean.values(), *squares.values(), along))
    assert cases.relative(flat(mean), flat(gradients_of(task, model.eval()).mean(forget))) <= 1e-6


def test_a_parameter_that_the_loss_does_not_use_has_a_zero_gradient() -> None:
    model = cases.conv_net()
    model.unused = nn.Linear(2, 2)
    task = cases.own_data(model, readout="all")
    each = explicit(task, model, task.split("forget"))
    mean = gradients_of(task, model).mean(task.split("forget"))
    assert not mean["unused.weight"].any()
    assert cases.relative(flat(mean), each.mean(0)) <= 1e-3


@pytest.mark.parametrize("case", ["toy", "digits class"])
def test_a_weighted_loss_and_its_gradient_in_closed_form_are_those_of_autograd(case: str) -> None:
    task, head = view(*cases.in_double(case))
    batch = task.split("forget").batch(torch.arange(7))
    weights = torch.tensor([0.0, 1.0, -2.0, 0.5, 0.25, 3.0, 1e-3], dtype=torch.float64)
    value, gradient = linear.closed_form(task, head, list(head.parameters()))(batch, weights)
    expected = (weights * task.example_loss(head, batch)).sum()
    assert abs(value - expected.detach()) <= 1e-12 * abs(expected.detach())
    for found, part in zip(gradient, torch.autograd.grad(expected, list(head.parameters())), strict=True):
        assert cases.relative(found, part) <= 1e-12


def test_only_a_whole_layer_under_a_loss_of_known_derivative_has_a_closed_form() -> None:
    whole, model = cases.in_double("toy")
    task, head = view(whole, model)
    assert linear.closed_form(task, head, [head.weight]) is None  # the bias stays
    assert linear.closed_form(whole, model, list(model.parameters())) is None
    own_task, own_head = view(*smoothed())
    assert linear.closed_form(own_task, own_head, list(own_head.parameters())) is None


@pytest.mark.parametrize("case", ["toy", "padded sequences, double"])
def test_what_several_ask_of_the_same_examples_is_made_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = copy.deepcopy(LINEAR[case]())
    forget, passes = task.split("forget"), []
    captured = LinearGradients.captured

    def counted(self: LinearGradients, examples: imu.tasks.Examples) -> Iterator:
        passes.append(len(examples))
        return captured(self, examples)

    monkeypatch.setattr(LinearGradients, "captured", counted)
    alone = gradients_of(task, model).on(forget)
    expected, direction = alone.moments(), random_direction(alone.mean())
    assert len(passes) == 1
    with linear.shared():
        losses, first = gradients_of(task, model).with_losses(forget)
        again = gradients_of(task, model).on(forget)
        first.mean()[next(iter(direction))].zero_()  # each asker has a copy of its own
        assert again is first and len(passes) == 2 and len(losses) == len(forget)
        for found, wanted in zip(again.moments(), expected):
            assert cases.relative(flat(found), flat(wanted)) <= tolerance(model)
        assert cases.relative(again.along(direction), alone.along(direction)) <= tolerance(model)
        assert gradients_of(task, model).on(forget.take(torch.arange(2))) is not first
        with torch.no_grad():
            next(iter(readout.parameters(model, readout.resolve(task, model)).values())).mul_(1.5)
        moved = gradients_of(task, model).on(forget)
        assert moved is not first and cases.relative(flat(moved.mean()), flat(expected[0])) > 1e-3
    assert gradients_of(task, model).on(forget) is not moved
