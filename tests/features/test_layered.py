"""Kronecker factors of several layers: against the derivative of the answers at each layer's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cases
import pytest
import torch
from linear_heads import LINEAR
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features.gradients import GeneralGradients, gradients_of
from imu_lab.features.layered import layer_moments
from imu_lab.tasks.protocol import Task


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def deep(readout: object = ("narrow", "classifier")) -> tuple[Task, nn.Module]:
    """A user's small convolutional network in double precision, acted on in several layers."""
    model = cases.conv_net().double()
    return cases.own_data(model, torch.float64, readout=readout), model


def expected(task: Task, model: nn.Module, name: str) -> tuple[Tensor, Tensor]:
    """S and G of a layer: its rows as they come by, and Jᵀ (diag p − ppᵀ) J example by example."""
    seen: list[Tensor] = []
    layer, forget = model.get_submodule(name), task.split("forget")
    inputs, outputs = 0.0, 0.0
    for position in range(len(forget)):
        seen.clear()
        hook = layer.register_forward_hook(lambda _, given, made: seen.extend([given[0].detach(), made]))
        made = model(forget.batch(torch.tensor([position])).inputs)[0]
        hook.remove()
        rows = seen[0]
        if isinstance(layer, nn.Conv2d):
            rows = nn.functional.unfold(rows, layer.kernel_size, padding=layer.padding)[0].T
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
        inputs = inputs + rows.T @ rows
        jacobian = torch.stack([torch.autograd.grad(each, seen[1], retain_graph=True)[0][0] for each in made])
        jacobian = jacobian.flatten(2).permute(2, 0, 1) if jacobian.ndim > 2 else jacobian[None]  # (T, K, width)
        p = made.softmax(0).detach()
        outputs = outputs + (jacobian.mT @ (torch.diag(p) - torch.outer(p, p)) @ jacobian).mean(0)
    return inputs / len(forget), outputs / len(forget)


@pytest.mark.parametrize("readout", [("narrow", "classifier"), "all"])
def test_each_layers_factors_are_those_of_its_own_derivative(readout: object) -> None:
    task, model = deep(readout)
    gradients, forget = gradients_of(task, model), task.split("forget")
    assert isinstance(gradients, GeneralGradients)
    found, rows = layer_moments(gradients, forget)
    layers = ["narrow", "classifier"] + (["body.0"] if readout == "all" else [])
    assert rows == len(forget) and set(found) == {f"{part} of {name}" for part in "SG" for name in layers}
    for name in layers:
        inputs, outputs = expected(task, model, name)
        assert cases.close(found[f"S of {name}"], inputs, within=1e-9)
        assert cases.close(found[f"G of {name}"], outputs, within=1e-9)
    few, _ = layer_moments(gradients, replace(forget, chunk=7))
    assert all(cases.close(few[key], found[key], within=1e-12) for key in found)
    alone, _ = layer_moments(gradients, forget, ("S",))
    assert all(cases.close(alone[key], found[key], within=1e-12) for key in alone) and len(alone) == len(layers)


def test_positions_of_an_answer_are_rows_and_of_the_last_layer_the_factors_are_those_of_the_closed_form() -> None:
    task = cases.Tokens(count=400, readout="head")
    model = task.make_model(0)
    forget = task.split("forget")
    closed = imu.statistics(task, model)
    wide = replace(task, readout=("mixing", "head"))
    found = imu.statistics(wide, model)
    assert found.rows == closed.rows == 5 * len(task.split("train")) and len(forget) == 200
    assert cases.close(found.part("S of head"), closed.S, within=1e-9)
    assert cases.close(found.part("G of head"), closed.G, within=1e-9)


def test_padding_enters_no_layers_factors() -> None:
    task, model = LINEAR["padded sequences, double"]()
    closed, found = (imu.statistics(replace(task, readout=names), model) for names in ("head", ("mixing", "head")))
    assert found.rows == closed.rows < 5 * len(task.split("train"))
    assert cases.close(found.part("S of head"), closed.S, within=1e-9)
    assert [found.part(f"S of {name}")[-1, -1].item() for name in ("head", "mixing")] == [1.0, 1.0]


class Pooled(nn.Module):
    """A layer at each of four positions, whose mean is answered from."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 1, 5, 5) to (n, 3): the rows of a picture are its positions."""
        return self.head(self.each(pictures[:, 0]).tanh().mean(1))


def test_rows_of_a_layer_with_positions_of_its_own_are_a_mean() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Pooled().double().eval()
    task = cases.own_data(model, torch.float64, readout="all")
    found, count = layer_moments(gradients_of(task, model), task.split("forget"))
    pictures = task.split("forget").batch().inputs
    rows = torch.cat([pictures[:, 0].flatten(0, 1), torch.ones(5 * count, 1)], 1)
    assert cases.close(found["S of each"], rows.T @ rows / len(rows), within=1e-9)
    with torch.no_grad():
        likely, bend = model(pictures).softmax(1), 1 - model.each(pictures[:, 0]).tanh().square()
    jacobians = torch.einsum("kw,ntw->ntkw", model.head.weight.detach(), bend) / 5
    second = torch.diag_embed(likely) - likely[:, :, None] * likely[:, None, :]
    outputs = torch.einsum("ntkv,nkl,ntlw->vw", jacobians, second, jacobians) / count
    assert cases.close(found["G of each"], outputs, within=1e-9)


class Twice(nn.Module):
    """A layer that is called twice, an unused one and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.unused, self.head = nn.Linear(25, 25), nn.Linear(2, 2), nn.Linear(25, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 1, 5, 5) to (n, 3)."""
        return self.head(self.again(self.again(pictures.flatten(1)).tanh()).tanh())


def test_weights_without_factors_are_named_and_what_is_unused_stays() -> None:
    model = Twice().double().eval()
    task = cases.own_data(model, torch.float64, readout=("again", "head"))
    with pytest.warns(UserWarning, match=r"leaves out 'again\.weight': factors are known of a linear layer"):
        assert set(imu.statistics(task, model).parts) == {"S of head", "G of head"}
    whole = cases.own_data(model, torch.float64, readout="all")
    with pytest.warns(UserWarning, match=r"leaves out 'again\.weight', 'unused\.weight'"):
        run = imu.unlearn(whole, model, method="curvature-ascent", lr=1e-2, steps=2)
    exact = imu.unlearn(whole, model, method="curvature-ascent", factors="exact", lr=1e-2, steps=2)
    for after in (run.model, exact.model):
        assert torch.equal(after.unused.weight, model.unused.weight)
        assert not torch.equal(after.again.weight, model.again.weight)


def test_of_a_head_whose_bias_is_held_the_weight_has_factors() -> None:
    model = cases.conv_net().double()
    closed = imu.statistics(cases.own_data(model, torch.float64), model)
    model.classifier.bias.requires_grad_(False)
    task = cases.own_data(model, torch.float64)
    found = imu.statistics(task, model)
    assert cases.close(found.part("S of classifier"), closed.S[:-1, :-1], within=1e-9)
    assert cases.close(found.part("G of classifier"), closed.G, within=1e-9)
    for name in ("curvature-ascent", "newton-step"):
        run = imu.unlearn(task, model, method=name, steps=1)
        assert not torch.equal(run.model.classifier.weight, model.classifier.weight)
        assert torch.equal(run.model.classifier.bias, model.classifier.bias)
    for held in (imu.joint_intensity, imu.curvature_spectrum):
        with pytest.raises(ValueError, match=r"acts on classifier, where classifier\.bias may not move"):
            held(task, model)
    with pytest.raises(ValueError, match="each layer of this readout has its own G: ask for part.'G of classifier'"):
        found.part("G")


def test_curvature_ascent_turns_each_layer_by_its_own_factors() -> None:
    task, model = deep()
    held = imu.statistics(task, model)
    how = imu.methods.create("curvature-ascent")
    gradient = gradients_of(task, model).mean(task.split("forget"))
    turned = how.of_statistic(held)(gradient)
    for name in ("narrow", "classifier"):
        s, g = held.part(f"S of {name}"), held.part(f"G of {name}")
        sizes = [(each / each.diagonal().mean() + 0.1 * torch.eye(len(each)).double()) / 1.1 for each in (g, s)]
        joined = torch.cat([gradient[f"{name}.weight"], gradient[f"{name}.bias"][:, None]], 1)
        solved = torch.linalg.solve(torch.kron(*sizes), joined.flatten()).view_as(joined)
        assert cases.close(turned[f"{name}.weight"], solved[:, :-1], within=1e-9)
        assert cases.close(turned[f"{name}.bias"], solved[:, -1], within=1e-9)
    run = imu.unlearn(task, model, method="curvature-ascent", lr=1e-3, steps=2, statistics=held)
    assert run.events["steps"] == 2 and run.settings["statistics"]["origin"] == "given"
    scores = imu.influence(task, model, "curvature")
    assert scores.values.shape == (len(task.split("forget")),) and (scores.values < 0).any()


def test_what_has_no_factors_follows_its_plain_gradient() -> None:
    task, model = deep("all")
    gradient = gradients_of(task, model).mean(task.split("forget"))
    turned = imu.methods.create("curvature-ascent").of_statistic(imu.statistics(task, model))(gradient)
    assert torch.equal(turned["body.1.weight"], gradient["body.1.weight"])
    assert not torch.equal(turned["body.0.weight"], gradient["body.0.weight"])


def test_much_damping_is_gradient_ascent_in_every_layer() -> None:
    task, model = deep("all")
    steps = {"lr": 0.01, "steps": 3, "step_norm": 0.1}
    turned, plain = (
        imu.unlearn(task, model, method=name, **steps, **more).model
        for name, more in (("curvature-ascent", {"rho": 1e6}), ("imu", {}))
    )
    for one, other in zip(turned.parameters(), plain.parameters()):
        assert cases.close(one.detach(), other.detach(), within=1e-4)


def test_what_several_layers_do_not_have_is_said() -> None:
    task, model = deep()
    with pytest.raises(ValueError, match='diagonal cannot be had of the readout narrow, classifier.*"exact"'):
        imu.unlearn(task, model, method="curvature-ascent", factors="diagonal", lr=1e-3, steps=1)
    with pytest.raises(ValueError, match="rho > 0"):
        imu.unlearn(task, model, method="curvature-ascent", rho=0.0, lr=1e-3, steps=1)
    normal = cases.own_data(model, torch.float64, readout="body.1")
    with pytest.raises(ValueError, match="S and G cannot be had of the readout body.1"):
        imu.unlearn(normal, model, method="curvature-ascent", lr=1e-3, steps=1)
    run = imu.unlearn(normal, model, method="curvature-ascent", factors="exact", curvature="forget", lr=1e-3, steps=1)
    assert run.events["steps"] == 1
    assert imu.unlearn(task, model, method="newton-step", factors="exact", steps=1).events["steps"] == 1


@pytest.mark.parametrize("method", ["curvature-ascent", "influence-step", "newton-step"])
def test_a_layer_of_which_the_bias_alone_may_move_has_no_factors_and_that_is_said(method: str) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    model[2].weight.requires_grad_(False)
    inputs, labels = torch.randn(30, 6), torch.arange(30) % 3
    task = imu.tasks.Classification.from_data(model, (inputs, labels), (inputs + 0.1, labels), forget_indices=range(6))
    with pytest.raises(ValueError, match="S and G cannot be had of the readout"):
        imu.unlearn(task, model, method=method, steps=1)
