"""The estimators that are in closed form, against their dense definitions, captum, and what must not matter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from linear_heads import LINEAR, own, tolerance
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.registry import Registry
from imu_lab.core.running import one_thread
from imu_lab.features import readout
from imu_lab.features.gradients import explicit
from imu_lab.tasks.protocol import Examples, Task


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def estimate(name: str, task: Task, model: nn.Module, target: Examples | None = None, **settings: object) -> Tensor:
    """The numbers of a registered estimator."""
    forget = task.split("forget")
    return imu.estimators.create(name, **settings)(task, model, forget, forget if target is None else target)


def dense(task: Task, model: nn.Module, damping: float, relative: bool, target: Examples | None = None) -> Tensor:
    """(n,) −g_iᵀ F⁻¹ ḡ from the explicit gradients, as the definition says."""
    each = explicit(task, model, task.split("forget"))
    fisher = each.square().mean(0)
    mean = each.mean(0) if target is None else explicit(task, model, target).mean(0)
    return -(each / (fisher + (damping * fisher.mean() if relative else damping))) @ mean


# fisher-diagonal


@pytest.mark.few(6)
@pytest.mark.parametrize(("damping", "relative"), [(1e-2, False), (1e-2, True), (3.0, False), (0.5, True)])
@pytest.mark.parametrize("case", LINEAR)
def test_fisher_diagonal_equals_its_dense_definition(case: str, damping: float, relative: bool) -> None:
    task, model = LINEAR[case]()
    found = estimate("fisher-diagonal", task, model, damping=damping, relative=relative)
    assert cases.relative(found, dense(task, model, damping, relative)) <= tolerance(model)


@pytest.mark.parametrize("named", [("narrow", "classifier"), "all"])
def test_fisher_diagonal_over_several_layers(named: object) -> None:
    task, model = own(torch.float64, readout=named)
    assert cases.relative(estimate("fisher-diagonal", task, model), dense(task, model, 1e-2, False)) <= 1e-6


def test_negative_means_that_pressing_the_sample_raises_the_sets_loss() -> None:
    """A tiny step along F⁻¹g_i changes the forget set's mean loss by −I_i times its length."""
    task, model = cases.in_double("toy")
    forget = task.split("forget")
    influence = estimate("fisher-diagonal", task, model)
    each = explicit(task, model, forget)
    fisher = each.square().mean(0) + 1e-2
    for sample in (int(influence.argmin()), int(influence.argmax())):
        moved = copy.deepcopy(model)
        start = list(readout.parameters(moved, ("2",)).values())
        step = (1e-6 * each[sample] / fisher).split([value.numel() for value in start])
        with torch.no_grad():
            for value, part in zip(start, step):
                value += part.view_as(value)
            change = mean_loss(task, moved) - mean_loss(task, model)
        assert change / 1e-6 == pytest.approx(-influence[sample].item(), rel=1e-3)


def mean_loss(task: Task, model: nn.Module) -> float:
    """The forget set's mean loss."""
    with torch.no_grad():
        return task.example_loss(model, task.split("forget").batch()).mean().item()


@pytest.mark.parametrize("case", ["toy", "digits", "no bias", "sequences"])
def test_the_mean_influence_on_the_forget_set_is_never_positive(case: str) -> None:
    task, model = LINEAR[case]()
    found = estimate("fisher-diagonal", task, model, damping=1e-4)
    assert found.mean() < 0 and (found < 0).any()


def test_much_absolute_damping_makes_it_the_plain_product_of_gradients() -> None:
    task, model = cases.in_double("digits fraction")
    preconditioned, without = (
        estimate("fisher-diagonal", task, model, damping=1e6),
        estimate("gradient-dot", task, model),
    )
    assert cases.relative(preconditioned * 1e6, without) < 1e-4
    kept = estimate("fisher-diagonal", task, model, damping=1e-2, relative=True)
    assert np.corrcoef(kept, without)[0, 1] < 0.999


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("estimator", ["fisher-diagonal", "self-influence", "fisher-trimmed", "fisher-minibatch"])
def test_no_damping_where_the_diagonal_has_zeros_is_refused(estimator: str, relative: bool) -> None:
    task, model = own(torch.float64)
    with torch.no_grad():
        model.narrow.weight[0], model.narrow.bias[0] = 0.0, 0.0  # a dead feature: its column of the Fisher is zero
    task = cases.own_data(model, torch.float64)
    with pytest.raises(ValueError, match="zero at 3 parameters and the damping is 0.*use damping > 0"):
        imu.influence(task, model, estimator, damping=0.0, relative=relative)


@pytest.mark.parametrize("damping", [-1, float("nan"), float("inf"), "small"])
def test_bad_damping_is_refused(damping: object) -> None:
    needed = "a number for damping" if isinstance(damping, str) else r"damping in \[0, inf\)"
    with pytest.raises(ValueError, match=f"fisher-diagonal needs {needed}, got"):
        imu.influence(cases.task("toy"), cases.original("toy"), damping=damping)


# gradient-dot


@pytest.mark.parametrize("case", LINEAR)
def test_gradient_dot_equals_its_dense_definition(case: str) -> None:
    task, model = LINEAR[case]()
    each = explicit(task, model, task.split("forget"))
    assert cases.relative(estimate("gradient-dot", task, model), -each @ each.mean(0)) <= tolerance(model)


class Folded(nn.Module):
    """A head whose bias is a weight of a feature that is always 1: captum drops the gradient of a bias."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = nn.Linear(head.in_features + 1, head.out_features, bias=False, dtype=head.weight.dtype)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([head.weight, head.bias[:, None]], 1))

    def forward(self, features: Tensor) -> Tensor:
        return self.head(features)


def captums(task: Task, model: nn.Module, name: str) -> np.ndarray:
    """(n, n) products of gradients between forget samples by captum's TracInCPFast, one checkpoint, rate 1."""
    from captum.influence import TracInCPFast

    batch = task.split("forget").batch()
    reached, _ = readout.capture(model, name, batch.inputs)
    inputs = torch.cat([reached, torch.ones(len(reached), 1, dtype=reached.dtype)], 1).detach()
    folded = Folded(model.get_submodule(name)).eval()
    state = copy.deepcopy(folded.state_dict())
    judge = TracInCPFast(
        folded,
        folded.head,
        torch.utils.data.TensorDataset(inputs, batch.targets),
        [state],
        checkpoints_load_func=lambda model, given: [model.load_state_dict(given), 1.0][1],
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=8,
    )
    return judge.influence((inputs, batch.targets)).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["toy", "digits fraction"])
def test_gradient_dot_is_the_negative_of_captums_mean_product(name: str) -> None:
    task, model = cases.in_double(name)
    (layer,) = readout.resolve(task, model)
    products = torch.tensor(captums(task, model, layer))
    assert cases.relative(estimate("gradient-dot", task, model), -products.mean(0)) <= 1e-9


# What must not matter, whatever the estimator.


DETERMINED = ["fisher-diagonal", "gradient-dot"]


@pytest.mark.parametrize("name", DETERMINED)
@pytest.mark.parametrize("case", ["toy, double", "sequences, double"])
def test_the_order_of_samples_does_not_matter(name: str, case: str) -> None:
    task, model = LINEAR[case]()
    forget = task.split("forget")
    order = torch.randperm(len(forget), generator=torch.Generator().manual_seed(0))
    expected, turned = estimate(name, task, model), forget.take(order)
    assert cases.relative(imu.estimators.create(name)(task, model, turned, turned), expected[order]) <= 1e-12


@pytest.mark.parametrize("name", DETERMINED)
def test_the_numbers_of_the_classes_do_not_matter(name: str) -> None:
    task, model = cases.in_double("toy")
    order = torch.tensor([2, 0, 1])  # class k becomes class order[k]
    train, test = task.split("train").batch(), task.split("test").batch()
    renamed = copy.deepcopy(model)
    with torch.no_grad():
        renamed[2].weight[order], renamed[2].bias[order] = model[2].weight, model[2].bias
    other = imu.tasks.Classification.from_data(
        renamed,
        (train.inputs, order[train.targets]),
        (test.inputs, order[test.targets]),
        forget_indices=task.split("forget").ids,
    )
    assert cases.relative(estimate(name, other, renamed), estimate(name, task, model)) <= 1e-12


@pytest.mark.parametrize("name", DETERMINED)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_size_of_a_chunk_does_not_matter(name: str, chunk: int) -> None:
    task, model = cases.in_double("digits fraction")
    few = replace(task.split("forget"), chunk=chunk)
    found = imu.estimators.create(name)(task, model, few, few)
    assert cases.relative(found, estimate(name, task, model)) <= 1e-12


@pytest.mark.few(4)
@pytest.mark.parametrize("name", DETERMINED)
@pytest.mark.parametrize("target", ["retain", "test", ("forget", 3), ("forget", [3]), ("test", [0, 2])])
@pytest.mark.parametrize("cache", [True, False])
def test_another_target_gives_its_mean_gradient(name: str, target: object, cache: bool) -> None:
    task, model = cases.in_double("toy")
    split, *at = [target] if isinstance(target, str) else target
    examples = task.split(split)
    examples = examples.take(torch.tensor(at).flatten()) if at else examples
    mean, each = explicit(task, model, examples).mean(0), explicit(task, model, task.split("forget"))
    diagonal = each.square().mean(0) + 1e-2 if name == "fisher-diagonal" else 1.0
    found = imu.influence(task, model, name, target=target, cache=cache)
    assert cases.relative(torch.tensor(found.values), -(each / diagonal) @ mean) <= 1e-6
    again = imu.influence(task, model, name, target=examples, cache=cache)
    assert cases.close(again.values, found.values, within=1e-9)


# The verb and its record.


def test_the_record_tells_what_it_is_about() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    scores = imu.influence(task, model, "fisher-diagonal", damping=0.5, relative=True)
    assert list(scores.frame) == ["example", "influence"] and len(scores) == len(task.split("forget"))
    assert scores.frame["example"].tolist() == task.split("forget").ids.tolist()
    assert scores.values.shape == (len(scores),) and scores.values.dtype == np.float64
    assert scores.settings["estimator"] == "fisher-diagonal"
    assert scores.settings["settings"] == {"damping": 0.5, "relative": True}
    assert scores.settings["target"] == "forget" and "fisher-diagonal" in repr(scores)


def test_the_context_holds_loss_confidence_norm_and_plain_influence() -> None:
    task, model = cases.in_double("toy")
    context, each = imu.influence(task, model).context, explicit(task, model, task.split("forget"))
    with torch.no_grad():
        losses = task.example_loss(model, task.split("forget").batch()).numpy()
    assert cases.close(context["loss"].to_numpy(), losses)
    assert cases.close(context["confidence"].to_numpy(), np.exp(-losses))
    assert cases.close(context["gradient_norm"].to_numpy(), each.norm(dim=1).numpy())
    assert cases.close(context["gradient_dot"].to_numpy(), (-each @ each.mean(0)).numpy())


@pytest.mark.parametrize("name", ["toy", "digits class", "digits fraction", "own data"])
@pytest.mark.parametrize("estimator", DETERMINED)
def test_the_cache_changes_nothing(name: str, estimator: str) -> None:
    task, model = cases.task(name), cases.original(name)
    cached, full = (imu.influence(task, model, estimator, cache=cache) for cache in (True, False))
    assert cases.relative(torch.tensor(cached.values), torch.tensor(full.values)) <= 1e-4
    pd.testing.assert_frame_equal(cached.context, full.context, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("how", "error", "message"), [
    ({"estimator": "fisher_diag"}, imu.UnknownName, "unknown estimator: 'fisher_diag'. Did you mean 'fisher-diagonal'"),
    ({"dampng": 1.0}, TypeError, "no setting 'dampng'. Did you mean 'damping'"),
    ({"target": "retian"}, imu.UnknownName, "unknown split: 'retian'. Did you mean 'retain'"),
    ({"target": 3}, TypeError, r"target must be a split's name, Examples or \(split, positions\); got 3"),
    ({"target": ("forget", [])}, ValueError, "target .* holds no examples"),
    ({"target": ("test", [10_000])}, ValueError, r"\[10000\].*positions 0 to 322"),
])  # fmt: skip
def test_bad_input_is_refused(how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        imu.influence(cases.task("digits class"), cases.original("digits class"), **how)


def test_arguments_in_the_wrong_order_are_noticed() -> None:
    with pytest.raises(
        TypeError, match=r"influence takes a task, .*; got a Sequential; arguments are \(task, model, ...\)"
    ):
        imu.influence(cases.original("toy"), cases.task("toy"))
    with pytest.raises(
        TypeError, match=r"influence takes a model \(a torch.nn.Module\), such as imu.train.*; got a Toy"
    ):
        imu.influence(cases.task("toy"), cases.task("toy"))


@pytest.mark.parametrize("cache", [True, False])
def test_a_model_with_nan_weights_is_refused(cache: bool) -> None:
    model = copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        model[2].bias[0] = float("nan")
    with pytest.raises(ValueError, match="not finite.* is the model's output finite"):
        imu.influence(cases.task("toy"), model, cache=cache)


@pytest.mark.parametrize(("given", "came"), [
    (lambda n: torch.zeros(n - 1), r"values of shape \(39,\)"),
    (lambda n: torch.zeros(n, 1), r"values of shape \(40, 1\)"),
    (lambda n: torch.tensor(0.5), r"values of shape \(\)"),
    (lambda n: None, "None"),
    (lambda n: {"influence": [0.0] * n}, r"a dict \(no numbers\)"),
    (lambda n: [[0.0], [0.0, 1.0]], r"a list \(no numbers\)"),
    (lambda n: ["much"] * n, r"a list \(no numbers\)"),
])  # fmt: skip
def test_an_estimator_of_the_wrong_shape_is_told_what_was_expected(given: Callable, came: str) -> None:
    @dataclass(frozen=True)
    class Slip:
        """A user's slip."""

        def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Any:
            return given(len(forget))

    made = Registry("estimator").register("slip")(Slip)
    with pytest.raises(ValueError, match=rf"Slip\(\) gave {came}; expected numbers of shape \(40,\), one influence"):
        imu.influence(cases.task("toy"), cases.original("toy"), made())


def test_an_estimator_whose_numbers_are_not_finite_is_told_how_many() -> None:
    @dataclass(frozen=True)
    class Holes:
        """Two of them."""

        def __call__(self, task: Task, model: nn.Module, forget: Examples, target: Examples) -> Any:
            return torch.tensor([float("nan"), float("inf"), *[1.0] * (len(forget) - 2)], requires_grad=True)

    made = Registry("estimator").register("holes")(Holes)
    with pytest.raises(ValueError, match=r"Holes\(\) gave 2 of 40 values that are not finite; is the model's"):
        imu.influence(cases.task("toy"), cases.original("toy"), made())


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    ("split", "needs"), [("forget", "forget set"), ("retain", "retain data"), ("train", "retain data")]
)
def test_what_an_estimator_asked_for_is_what_runs_with_its_weights_needed(split: str, needs: str, cache: bool) -> None:
    """Else a run would say that it needed the forget set alone, while its weights have seen the others."""
    task, model = cases.task("toy"), cases.original("toy")

    @dataclass(frozen=True)
    class Peeking:
        def __call__(self, task: Any, model: Any, forget: Any, target: Any) -> Any:
            assert len(task.split(split))
            return -torch.arange(1.0, len(forget) + 1)

    scores = imu.influence(task, model, Peeking(), cache=cache)
    run = imu.unlearn(task, model, imu.intensity(scores, "linear"), steps=1, lr=0.01)
    assert imu.compare(run)["needs"][0] == needs
