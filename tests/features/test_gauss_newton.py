"""Products with the Gauss-Newton matrix, and the matrix, against Σ J_iᵀ ∇²ℓ_i J_i written out example by example."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import cases
import pytest
import torch
from linear_heads import LINEAR, gauss_newton, own, tolerance
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import gauss_newton as curvatures
from imu_lab.features import linear
from imu_lab.features.gauss_newton import HeadCurvature, NetworkCurvature, curvature_of, dense
from imu_lab.tasks.protocol import Task

DOUBLE = [name for name in LINEAR if "double" in name]


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def vectors(like: Tensor, count: int = 3) -> Tensor:
    return torch.randn(count, len(like), generator=torch.Generator().manual_seed(2), dtype=like.dtype)


@pytest.mark.few(3)
@pytest.mark.parametrize("case", LINEAR)
def test_the_matrix_of_a_linear_readout_is_its_definition(case: str) -> None:
    task, model = LINEAR[case]()
    forget = task.split("forget")
    found, expected = dense(task, model, forget), gauss_newton(task, model, forget)
    assert found.dtype is torch.float64 and cases.relative(found, found.T) <= 1e-12
    assert isinstance(curvature_of(task, model, forget), HeadCurvature)
    assert cases.relative(found, expected) <= tolerance(model)


@pytest.mark.few(3)
@pytest.mark.parametrize("case", LINEAR)
def test_products_are_with_that_matrix(case: str) -> None:
    task, model = LINEAR[case]()
    curvature, expected = (
        curvature_of(task, model, task.split("forget")),
        gauss_newton(task, model, task.split("forget")),
    )
    for vector in vectors(expected[0]):
        assert cases.relative(curvature.times(vector), expected @ vector) <= tolerance(model)


@pytest.mark.few(3)
@pytest.mark.parametrize("case", DOUBLE)
@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_that_are_not_held_give_the_same(case: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = LINEAR[case]()
    forget = task.split("forget")
    expected, few = dense(task, model, forget), curvature_of(task, model, replace(forget, chunk=chunk))
    monkeypatch.setattr(curvatures, "ROOM", 100)
    assert cases.relative(few.matrix(), expected) <= 1e-12
    assert cases.relative(few.times(expected[0]), expected @ expected[0]) <= 1e-12


def test_a_set_that_fits_goes_through_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = own(torch.float64)
    passes: list[int] = []
    model.register_forward_hook(lambda _, given, made: passes.append(len(made)))
    curvature = curvature_of(task, model, task.split("forget"))
    passes.clear()
    # Not ones: a shift of all logits alike changes no probability, and the product would be rounding alone.
    vector = torch.linspace(-1, 1, len(curvature.matrix()), dtype=torch.float64)
    first = curvature.times(vector)
    assert sum(passes) == len(task.split("forget"))
    monkeypatch.setattr(linear, "ROOM", 1)
    streamed = curvature_of(task, model, task.split("forget"))
    passes.clear()
    again = [streamed.times(vector) for _ in range(2)]
    assert sum(passes) == 2 * len(task.split("forget"))
    assert cases.relative(again[1], first) <= 1e-12


def test_products_in_double_of_a_model_in_single_are_those_of_the_model_in_double() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 5, generator=generator), torch.arange(60) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(5, 3)
    task = imu.tasks.Classification.from_data(head, (x, y), (x + 1, y), forget_indices=range(40))
    other, wide = (
        imu.tasks.Classification.from_data(
            copy.deepcopy(head).double(), (x.double(), y), (x.double() + 1, y), forget_indices=range(40)
        ),
        copy.deepcopy(head).double(),
    )
    expected = gauss_newton(other, wide, other.split("forget"))
    curvature, vector = curvature_of(task, head, task.split("forget")), vectors(expected[0], 1)[0]
    assert cases.relative(curvature.times(vector), expected @ vector) <= 1e-12
    assert cases.relative(curvature.matrix(), expected) <= 1e-12
    rough = curvature.times(vector.float())
    assert rough.dtype is torch.float32 and 1e-12 < cases.relative(rough.double(), expected @ vector) <= 1e-5


@pytest.mark.parametrize("named", [("narrow", "classifier"), "all"])
def test_any_other_readout_takes_passes_through_the_network(named: object) -> None:
    task, model = own(torch.float64, readout=named)
    curvature, expected = (
        curvature_of(task, model, task.split("forget")),
        gauss_newton(task, model, task.split("forget")),
    )
    assert isinstance(curvature, NetworkCurvature)
    assert cases.relative(curvature.matrix(), expected) <= 1e-9
    assert cases.relative(curvature.times(expected[0]), expected @ expected[0]) <= 1e-9


@pytest.mark.parametrize("bias", [True, False])
def test_the_likeness_is_the_inverse_where_errors_and_inputs_are_independent(bias: bool) -> None:
    """One row of inputs for all, so that every S_i meets every a_i."""
    x, y = torch.ones(40, 4, dtype=torch.float64), torch.arange(40) % 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(4, 3, bias=bias).double()
    task = imu.tasks.Classification.from_data(head, (x, y), (x + 1, y), forget_indices=range(40 - 3))
    forget = task.split("forget")
    curvature, matrix = curvature_of(task, head, forget), gauss_newton(task, head, forget)
    inverse = torch.linalg.inv(matrix + 0.1 * torch.eye(len(matrix), dtype=torch.float64))
    for vector in vectors(matrix[0]):
        assert cases.relative(curvature.likeness(0.1)(vector), inverse @ vector) <= 1e-9


def test_the_likeness_is_symmetric_and_left_out_where_it_would_cost_more_than_it_saves() -> None:
    task, model = cases.in_double("digits fraction")
    curvature = curvature_of(task, model, task.split("forget"))
    apply = curvature.likeness(0.1)
    first, second = vectors(curvature.matrix()[0], 2)
    assert first.dot(apply(second)).item() == pytest.approx(second.dot(apply(first)).item(), rel=1e-9)
    few = curvature_of(task, model, task.split("forget").take(torch.arange(1)))
    assert few.likeness(0.1) is None
    assert curvature_of(*LINEAR["own loss, double"](), task.split("forget").take(torch.arange(0))).likeness(0.1) is None


def test_a_loss_without_forward_mode_of_the_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form asks nothing of the model but its features: a backbone without forward mode is served."""

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(context: object, values: Tensor) -> Tensor:
            return torch.tanh(values)

        @staticmethod
        def backward(context: object, error: Tensor) -> Tensor:
            raise NotImplementedError

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(25, 4), nn.Linear(4, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(Backward.apply(self.body(images.flatten(1))))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().double().eval()
    task = cases.own_data(model, torch.float64, forget_class=1)
    forget: imu.tasks.Examples = task.split("forget")
    assert cases.relative(dense(task, model, forget), by_formula(task, model, forget)) <= 1e-9


def by_formula(task: Task, model: nn.Module, examples: imu.tasks.Examples) -> Tensor:
    """(1/n) Σ (diag(p) − ppᵀ) ⊗ a aᵀ, example by example, weights first and then biases."""
    caught: list[Tensor] = []
    hook = model.head.register_forward_hook(lambda _, given, made: caught.extend([given[0], made]))
    with torch.no_grad():
        model(examples.batch().inputs)
    hook.remove()
    inputs, total = torch.cat([caught[0], torch.ones(len(examples), 1)], 1), 0.0
    for row, p in zip(inputs, caught[1].softmax(1)):
        total = total + torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(row, row)) / len(examples)
    order = torch.arange(len(total)).view(3, 5)
    order = torch.cat([order[:, :-1].flatten(), order[:, -1]])
    return total[order][:, order].detach()
