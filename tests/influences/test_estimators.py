"""Every deterministic estimator against its dense definition over explicit gradients, of a head and of whole models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import cases
import numpy as np
import pytest
import torch
from linear_heads import gauss_newton
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import general, readout
from imu_lab.features.gradients import GeneralGradients, explicit
from imu_lab.influences import exact
from imu_lab.influences import hessian as hessians
from imu_lab.tasks.protocol import Task

LAMBDA = 0.03


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def toy(scope: str | None) -> tuple[Task, nn.Module]:
    task, model = cases.in_double("toy")
    return replace(task, readout=scope), model


def conv(scope: str | None) -> tuple[Task, nn.Module]:
    model = cases.conv_net().double()
    return cases.own_data(model, torch.float64, readout=scope, forget_class=1), model


def transformer(scope: str | None) -> tuple[Task, nn.Module]:
    task = cases.Tokens(readout=scope)
    return task, task.make_model(3)


MAKERS = {"toy": toy, "BatchNorm": conv, "transformer": transformer}
CASES = [(name, scope) for name in MAKERS for scope in (None, "all")]


@cache
def case(name: str, scope: str | None) -> tuple[Task, nn.Module, Tensor, Tensor, Tensor]:
    """Task, model, the explicit gradients (n, P) of the forget set, its mean and that of the retain set."""
    task, model = MAKERS[name](scope)
    each = explicit(task, model, task.split("forget"))
    return task, model, each, each.mean(0), explicit(task, model, task.split("retain")).mean(0)


def capped(each: Tensor, mean: Tensor, others: Tensor | None = None) -> Tensor:
    fisher = each.square().mean(0) + LAMBDA
    leverage = (each.square() / fisher).sum(1)
    shrunk = each * (4 * leverage.median() / leverage).sqrt().clamp_max(1)[:, None]
    return -(shrunk / fisher) @ shrunk.mean(0)


def trimmed(each: Tensor, mean: Tensor) -> Tensor:
    kept = each[each.norm(dim=1).argsort()[: round(0.7 * len(each))]]
    return -(each / (kept.square().mean(0) + LAMBDA)) @ kept.mean(0)


def blocks(each: Tensor, mean: Tensor) -> Tensor:
    order = torch.randperm(len(each), generator=torch.Generator().manual_seed(0))
    parts = [each[part] for part in order.tensor_split(3)]
    fisher = torch.stack([part.square().mean(0) for part in parts]).quantile(0.5, 0) + LAMBDA
    return -(each / fisher) @ torch.stack([part.mean(0) for part in parts]).quantile(0.5, 0)


def by_batch(each: Tensor, mean: Tensor) -> Tensor:
    order = torch.randperm(len(each), generator=torch.Generator().manual_seed(0))
    found = torch.empty(len(each), dtype=each.dtype)
    for part in order.split(4):
        found[part] = -(each[part] / (each[part].square().mean(0) + LAMBDA)) @ each[part].mean(0)
    return found


def fisher(each: Tensor) -> Tensor:
    return each.square().mean(0) + LAMBDA


DENSE: dict[str, tuple[dict, Callable[[Tensor, Tensor], Tensor]]] = {
    "fisher-diagonal": ({"damping": LAMBDA}, lambda each, mean: -(each / fisher(each)) @ mean),
    "gradient-dot": ({}, lambda each, mean: -each @ mean),
    "gradient-cosine": ({}, lambda each, mean: -each @ mean / each.norm(dim=1) / mean.norm()),
    "self-influence": ({"damping": LAMBDA}, lambda each, mean: -(each.square() / fisher(each)).sum(1)),
    "gradient-norm": ({}, lambda each, mean: -each.norm(dim=1)),
    "tracin": ({}, lambda each, mean: -each @ mean),
    "fisher-trimmed": ({"damping": LAMBDA, "trim": 0.3}, trimmed),
    "fisher-median-of-means": ({"damping": LAMBDA, "blocks": 3}, blocks),
    "fisher-self-normalised": (
        {"damping": LAMBDA},
        lambda each, mean: -(each / fisher(each)) @ mean / (each.square() / fisher(each)).sum(1).sqrt(),
    ),
    "fisher-leverage-capped": ({"damping": LAMBDA, "cap": 4.0}, capped),
    "fisher-minibatch": ({"damping": LAMBDA, "batch_size": 4}, by_batch),
}
OWN_TARGET = {"fisher-trimmed", "fisher-median-of-means", "fisher-leverage-capped", "fisher-minibatch"}


def estimate(name: str, task: Task, model: nn.Module, target: str = "forget", **settings: object) -> Tensor:
    forget = task.split("forget")
    whose = forget if target == "forget" else task.split(target)
    return imu.estimators.create(name, **settings)(task, model, forget, whose).double()


@pytest.mark.few
@pytest.mark.parametrize(("name", "scope"), CASES)
@pytest.mark.parametrize("estimator", DENSE)
def test_equals_its_dense_definition(estimator: str, name: str, scope: str | None) -> None:
    task, model, each, mean, _ = case(name, scope)
    settings, dense = DENSE[estimator]
    assert cases.relative(estimate(estimator, task, model, **settings), dense(each, mean)) <= 1e-6


@pytest.mark.few
@pytest.mark.parametrize(("name", "scope"), CASES)
@pytest.mark.parametrize("estimator", [name for name in DENSE if name not in OWN_TARGET])
def test_equals_its_dense_definition_for_another_target(estimator: str, name: str, scope: str | None) -> None:
    task, model, each, _, other = case(name, scope)
    settings, dense = DENSE[estimator]
    assert cases.relative(estimate(estimator, task, model, "retain", **settings), dense(each, other)) <= 1e-6


@pytest.mark.few(3)
@pytest.mark.parametrize(("name", "scope"), CASES)
@pytest.mark.parametrize("curvature", ["forget", "train"])
def test_exact_equals_its_dense_definition(name: str, scope: str | None, curvature: str) -> None:
    task, model, each, mean, _ = case(name, scope)
    matrix = gauss_newton(task, model, task.split(curvature))
    expected = -each @ torch.linalg.solve(matrix + LAMBDA * torch.eye(len(matrix)), mean)
    found = estimate("exact", task, model, damping=LAMBDA, curvature=curvature)
    assert cases.relative(found, expected) <= 1e-6


@pytest.mark.few(2)
@pytest.mark.parametrize(("name", "scope"), CASES)
@pytest.mark.parametrize("way", ["factored", "iterated"])
def test_both_ways_to_the_inverse_give_the_same(
    way: str, name: str, scope: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model, *_ = case(name, scope)
    expected = estimate("exact", task, model, damping=LAMBDA)
    monkeypatch.setattr(exact, *(("AT_ONCE", 10**9) if way == "factored" else ("DENSE_LIMIT", 0)))
    found = imu.estimators.create("exact", damping=LAMBDA).preconditioner(task, model, task.split("forget"))
    assert cases.relative(estimate("exact", task, model, damping=LAMBDA), expected) <= 1e-6
    (solver,) = [cell.cell_contents for cell in found.__closure__ if isinstance(cell.cell_contents, exact.Solver)]
    solver(torch.ones_like(case(name, scope)[3]))
    assert (solver.spent > 0) == (way == "iterated")


@pytest.mark.parametrize("name", MAKERS)
def test_kfac_equals_its_dense_definition(name: str) -> None:
    task, model, each, mean, _ = case(name, None)
    (layer,) = readout.resolve(task, model)
    batch = task.split("forget").batch()
    inputs, outputs = readout.capture(model, layer, batch.inputs)
    logits = outputs.detach().requires_grad_()
    (delta,) = torch.autograd.grad(task.example_loss(lambda _: logits, batch).sum(), logits)
    inputs = torch.cat([inputs, torch.ones(*inputs.shape[:-1], 1)], -1).flatten(0, -2)
    inputs = inputs[(delta != 0).any(-1).flatten()]  # without positions that are not predicted
    errors = delta.flatten(0, -2).T @ delta.flatten(0, -2) / len(batch.targets)
    matrix = torch.kron(errors, inputs.T @ inputs / len(inputs)) + LAMBDA * torch.eye(each.shape[1])
    count, width = delta.shape[-1], inputs.shape[-1]

    def by_row(rows: Tensor) -> Tensor:  # weight then bias, to [weight, bias] row by row
        weight, bias = rows[..., : count * (width - 1)], rows[..., count * (width - 1) :]
        return torch.cat([weight.unflatten(-1, (count, width - 1)), bias[..., None]], -1).flatten(-2)

    expected = -by_row(each) @ torch.linalg.solve(matrix, by_row(mean))
    assert cases.relative(estimate("kfac", task, model, damping=LAMBDA), expected.detach()) <= 1e-6


@pytest.mark.parametrize(("name", "scope"), CASES)
def test_el2n_is_the_length_of_the_error_at_the_outputs(name: str, scope: str | None) -> None:
    task, model, *_ = case(name, scope)
    rows = []
    for k in range(len(task.split("forget"))):
        batch = task.split("forget").batch(torch.tensor([k]))
        made = model(batch.inputs).detach().requires_grad_()
        rows.append(torch.autograd.grad(task.example_loss(lambda _, made=made: made, batch).sum(), made)[0].norm())
    assert cases.relative(estimate("el2n", task, model), -torch.stack(rows)) <= 1e-6


@pytest.mark.few(2)
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("estimator", ["naive", "arnoldi"])
@pytest.mark.parametrize("target", ["forget", "retain"])
def test_captums_second_order_ranks_as_exact_does(estimator: str, name: str, target: str) -> None:
    from scipy.stats import spearmanr

    task, model, *_ = case(name, None)
    state = torch.random.get_rng_state()
    found = estimate(estimator, task, model, target, damping=LAMBDA)
    expected = estimate("exact", task, model, target, damping=LAMBDA)
    assert spearmanr(found, expected).statistic >= 0.99
    assert cases.relative(found, expected) <= 0.02
    assert torch.equal(state, torch.random.get_rng_state()), "captum seeds the global generator; it must be restored"


@pytest.mark.parametrize("count", [1, 3, 9])
def test_arnoldi_is_exact_where_few_samples_span_few_directions(count: int) -> None:
    """Its iteration meets no new direction after a few steps; stopping there would leave the last one out."""
    draw = torch.Generator().manual_seed(count)
    inputs, labels = torch.randn(40, 6, generator=draw), torch.arange(40) % 4
    torch.manual_seed(0)
    model, unseen = torch.nn.Linear(6, 4).eval(), (inputs + 0.1, labels)
    task = imu.tasks.Classification.from_data(model, (inputs, labels), unseen, forget_indices=range(count))
    found, expected = (imu.influence(task, model, name, damping=1e-2).values for name in ("arnoldi", "exact"))
    assert abs(found - expected).max() <= 1e-5 * abs(expected).max()


def test_where_arnoldi_starts_is_drawn_alike_on_every_device() -> None:
    """A device without values draws from no generator of its own: what is drawn next tells whether the CPU's was used."""
    drawn = []
    for device in ("cpu", "meta"):
        with hessians.undisturbed():
            torch.manual_seed(5)
            torch.randn_like(torch.empty(20, device=device))
            drawn.append(torch.rand(1))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("estimator", ["naive", pytest.param("arnoldi", marks=pytest.mark.slow)])
def test_captums_second_order_ranks_as_exact_does_on_a_head_of_650_parameters(estimator: str) -> None:
    from scipy.stats import spearmanr

    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    found, expected = (imu.influence(task, model, name, damping=1e-2).values for name in (estimator, "exact"))
    assert spearmanr(found, expected).statistic >= 0.99
    assert abs(found - expected).max() <= 1e-3 * abs(expected).max()


@pytest.mark.parametrize("estimator", ["naive", "arnoldi", "tracin"])
def test_captum_leaves_the_model_as_it_was(estimator: str) -> None:
    task, model = conv(None)
    model.train().requires_grad_(False)
    before = cases.frozen(model)
    estimate(estimator, task, model)
    assert cases.same(before, model)


def test_naive_refuses_a_hessian_that_does_not_fit_and_says_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessians, "NAIVE_LIMIT", 20)
    task, model, *_ = case("toy", None)
    with pytest.raises(
        ValueError, match=r"naive builds the Hessian of 27 parameters, .* GiB; it serves up to 20. Use arn"
    ):
        estimate("naive", task, model)


def test_kfac_on_attention_weights_is_refused() -> None:
    task, model = transformer("mixing")
    with pytest.raises(
        ValueError, match="kfac needs a readout that is one linear layer .* acts on mixing. Use fisher-d"
    ):
        estimate("kfac", task, model)


# tracin


def two_checkpoints(model: nn.Module) -> list[tuple[dict, float]]:
    """The model's own weights and others, all of them moved."""
    other = {name: value * 1.1 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    return [(copy.deepcopy(model.state_dict()), 0.5), (other, 0.25)]


@pytest.mark.parametrize(("name", "scope"), CASES)
def test_tracin_sums_over_checkpoints(name: str, scope: str | None) -> None:
    task, model, *_ = case(name, scope)
    held, expected = two_checkpoints(model), 0.0
    for state, rate in held:
        moved = copy.deepcopy(model)
        moved.load_state_dict(state)
        each = explicit(task, moved, task.split("forget"))
        expected = expected - rate * each @ each.mean(0)
    assert cases.relative(estimate("tracin", task, model, checkpoints=held), expected) <= 1e-6


def test_checkpoints_that_move_the_backbone_do_not_get_cached_features() -> None:
    task, model = conv(None)
    held = two_checkpoints(model)
    found = imu.influence(task, model, "tracin", checkpoints=held).values
    assert cases.close(found, estimate("tracin", task, model, checkpoints=held).numpy(), within=1e-9)
    assert cases.relative(found, imu.influence(task, model, "gradient-dot").values) > 0.1


def test_checkpoints_of_another_architecture_are_refused() -> None:
    task, model = conv(None)
    with pytest.raises(ValueError, match="checkpoint 0 is of another architecture than this ConvNet: '0.weight' is"):
        imu.influence(task, model, "tracin", checkpoints=[(cases.original("toy").state_dict(), 1.0)])
    wrong = {**model.state_dict(), "classifier.weight": torch.zeros(5, 6)}
    with pytest.raises(ValueError, match=r"'classifier.weight' is \(5, 6\), the model has \(3, 6\)"):
        imu.influence(task, model, "tracin", checkpoints=[wrong])
    with pytest.raises(TypeError, match="a checkpoint is a .state dict, learning rate. pair; got int"):
        imu.influence(task, model, "tracin", checkpoints=[3])


def test_checkpoints_of_a_run_and_of_a_training() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    run = imu.unlearn(task, model, steps=6, lr=0.02)
    held = imu.checkpoints(run, every=3)
    assert [rate for _, rate in held] == [0.02] * 3 and len(imu.checkpoints(run)) == 7
    last = list(imu.checkpoints(run))[-1][0]
    assert all(torch.equal(value, run.model.state_dict()[name]) for name, value in last.items())
    assert len(imu.influence(task, model, "tracin", checkpoints=held)) == 40
    trained = imu.checkpoints(task, every=5)
    assert len(trained) == 2
    state, rate = list(trained)[-1]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert 0 < rate < task.recipe.lr
    assert imu.checkpoints(task, every=5) == trained and trained != held


# any readout


def test_a_pattern_names_several_modules() -> None:
    model = cases.conv_net().double()
    by_pattern = cases.own_data(model, torch.float64, readout="body.*")
    assert readout.resolve(by_pattern, model) == ("body.0", "body.1")
    assert readout.resolve(replace(by_pattern, readout=("nar*", "classifier")), model) == ("narrow", "classifier")
    assert readout.resolve(replace(by_pattern, readout="*"), model) == ("",)
    with pytest.raises(imu.UnknownName, match=r"unknown module: 'layer4.\*'"):
        readout.resolve(replace(by_pattern, readout="layer4.*"), model)
    found, spelt = (
        imu.influence(replace(by_pattern, readout=r), model).values for r in ("body.*", ("body.0", "body.1"))
    )
    assert np.array_equal(found, spelt)


class New(torch.autograd.Function):
    """tanh with a backward pass of its own, as torch.func wants it, but without a forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return torch.tanh(values)

    @staticmethod
    def setup_context(context: Any, inputs: tuple, output: Tensor) -> None:
        context.save_for_backward(output)

    @staticmethod
    def backward(context: Any, error: Tensor) -> Tensor:
        return error * (1 - context.saved_tensors[0] ** 2)


class Old(torch.autograd.Function):
    """The same, written before torch.func: no transform of it works, neither jvp nor vmap."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        context.save_for_backward(torch.tanh(values))
        return torch.tanh(values)

    @staticmethod
    def backward(context: Any, error: Tensor) -> Tensor:
        return error * (1 - context.saved_tensors[0] ** 2)


class BackwardOnly(nn.Module):
    """A network with a function that knows only the backward pass, and a parameter outside all layers."""

    def __init__(self, function: type) -> None:
        super().__init__()
        self.function = function
        self.narrow, self.head = nn.Linear(25, 4), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 5, 5) to (n, 3)."""
        return self.head(self.function.apply(self.narrow(images.flatten(1))) * self.scale)


@pytest.mark.parametrize("function", [New, Old])
def test_without_forward_mode_it_falls_back_and_says_so_once(function: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "_told", set())
    torch.manual_seed(0)
    model = BackwardOnly(function).double().eval()
    task = cases.own_data(model, torch.float64, readout="all", forget_indices=[0, 1, 4, 9])
    each = explicit(task, model, task.split("forget"))
    with pytest.warns(
        UserWarning, match="BackwardOnly cannot be differentiated in forward mode .* several times slower"
    ):
        found = estimate("fisher-diagonal", task, model)
    assert cases.relative(found, -(each / (each.square().mean(0) + 1e-2)) @ each.mean(0)) <= 1e-6
    again = estimate("gradient-dot", task, model)  # a second warning would be an error here
    assert cases.relative(again, -each @ each.mean(0)) <= 1e-6


def test_what_needs_forward_mode_says_so() -> None:
    torch.manual_seed(0)
    model = BackwardOnly(New).double().eval()
    task = cases.own_data(model, torch.float64, readout="all", forget_indices=[0, 1, 4, 9])
    with pytest.raises(
        NotImplementedError, match="BackwardOnly has no forward mode, which its curvature needs.*fisher-d"
    ):
        estimate("exact", task, model)


def test_torchvisions_vision_transformer() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(16, 8, 1, 2, 8, 16, num_classes=3).double().eval()
    parts = [(x.expand(-1, 3, -1, -1).repeat(1, 1, 4, 4)[..., :16, :16], y) for x, y in
             (cases.images(9, seed, torch.float64) for seed in (0, 1))]  # fmt: skip
    task = imu.tasks.Classification.from_data(model, *parts, forget_indices=[0, 1, 5], readout="all")
    each = explicit(task, model, task.split("forget"))
    fast = torch.backends.mha.get_fastpath_enabled()
    found = estimate("fisher-diagonal", task, model)
    assert cases.relative(found, -(each / (each.square().mean(0) + 1e-2)) @ each.mean(0)) <= 1e-6
    assert torch.backends.mha.get_fastpath_enabled() == fast


# the layers' product forms


class Odd(nn.Module):
    """What a product form must not be trusted with: tied weights, a layer called twice, rows that are no examples."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.tied, self.folded = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, padding=1)
        self.norm, self.head = nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 5, 5) to (n, 3)."""
        rows = self.twice(torch.tanh(self.twice(images[:, 0])))
        rows = torch.tanh(self.tied(rows)) @ self.tied.weight
        rows = torch.relu_(self.folded(rows.flatten(0, 1))).unflatten(0, rows.shape[:2])
        mixed = self.grouped(rows[:, None].expand(-1, 4, -1, -1)).mean(1)
        return self.head(self.norm(mixed).mean(1))


def test_layers_whose_product_form_does_not_hold_are_differentiated_example_by_example() -> None:
    torch.manual_seed(0)
    model = Odd().double().eval()
    task = cases.own_data(model, torch.float64, readout="all", forget_indices=range(12))
    gradients = GeneralGradients(task, model, ("",))
    assert set(gradients.layers) == {"norm", "head"}
    each = explicit(task, model, task.split("forget"))
    squares = torch.cat([part.flatten() for part in gradients.moments(task.split("forget"))[1].values()])
    assert cases.relative(squares, each.square().mean(0)) <= 1e-9
    assert cases.relative(gradients.norms(task.split("forget")), each.norm(dim=1)) <= 1e-9


@pytest.mark.parametrize("setting", [{"stride": 2}, {"dilation": 2}, {"padding": 2, "bias": False}, {"kernel_size": 1}])
@pytest.mark.parametrize("size", [3, 5])
def test_convolutions_of_every_shape(setting: dict, size: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 4, **{"kernel_size": 3, "padding": 1, **setting})
    model = nn.Sequential(layer, nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(4, 3)).double().eval()  # fmt: skip
    pictures = [(x[..., :size, :size], y) for x, y in (cases.images(9, seed, torch.float64) for seed in (0, 1))]
    task = imu.tasks.Classification.from_data(model, *pictures, forget_indices=range(6), readout="all")
    gradients = GeneralGradients(task, model, ("",))
    assert len(gradients.layers) == 3
    squares = torch.cat([part.flatten() for part in gradients.moments(task.split("forget"))[1].values()])
    assert cases.relative(squares, explicit(task, model, task.split("forget")).square().mean(0)) <= 1e-9


@pytest.mark.parametrize("scope", [None, "all"])
def test_weighted_means(scope: str | None) -> None:
    from imu_lab.features.gradients import flat, gradients_of

    for name in MAKERS:
        task, model, each, *_ = case(name, scope)
        weights = torch.linspace(0, 2, len(each), dtype=torch.float64)
        found = flat(gradients_of(task, model).mean(task.split("forget"), weights))
        assert cases.relative(found, (weights[:, None] * each).mean(0)) <= 1e-9


@pytest.mark.parametrize("damping", [0.0, 1e-50])
def test_without_a_damping_that_counts_a_zero_of_the_diagonal_is_refused(damping: float) -> None:
    from imu_lab.influences.fisher import preconditioned

    mean, fisher = {"weight": torch.tensor([1.0, 1.0])}, {"weight": torch.tensor([0.0, 2.0])}
    with pytest.raises(ValueError, match="zero at 1 parameters.*use damping > 0"):
        preconditioned(mean, fisher, damping)
    assert cases.close(preconditioned(mean, fisher, 0.5)["weight"].tolist(), [2.0, 0.4])
