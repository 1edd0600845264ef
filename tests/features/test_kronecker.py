"""Kronecker factors of a linear readout: against loops over rows, and their inverses against explicit matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cases
import pytest
import torch
from linear_heads import LINEAR, own
from torch import Tensor, nn

from imu_lab.core.running import one_thread
from imu_lab.features import kronecker, readout
from imu_lab.features.gradients import gradients_of
from imu_lab.features.kronecker import FACTORS, Unserved, damped, inverse, kronecker_inverse, moments, output_inverse
from imu_lab.features.linear import LinearGradients
from imu_lab.features.statistics import linear_gradients, means_of
from imu_lab.tasks.protocol import Task

# Rows that enter the loss, per example.
ROWS = {
    "toy, double": 1,
    "BatchNorm, double": 1,
    "no bias, double": 1,
    "sequences, double": 5,
    "own loss, double": 1,
    "pixels, double": 8,
}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def rows_of(task: Task, model: nn.Module) -> tuple[Tensor, Tensor]:
    """The rows a and the answers p of the forget set, by the network's own forward pass."""
    (name,) = readout.resolve(task, model)
    with torch.no_grad():
        inputs, made = readout.capture(model, name, task.split("forget").batch().inputs)
    if isinstance(task, cases.Tokens) and made.ndim == 3:  # the last token predicts nothing
        inputs, made = inputs[:, :-1], made[:, :-1]
    inputs, likely = inputs.flatten(0, -2), made.softmax(-1).flatten(0, -2)
    layer = model.get_submodule(name)
    return torch.cat([inputs, torch.ones(len(inputs), 1)], 1) if layer.bias is not None else inputs, likely


@pytest.mark.parametrize("name", ROWS)
def test_each_mean_is_that_of_a_loop_over_rows(name: str) -> None:
    task, model = LINEAR[name]()
    forget, (rows, likely) = task.split("forget"), rows_of(task, model)
    found, count = moments(linear_gradients(task, model), forget, ("S", "G", "diagonal"))
    assert count == len(rows) == ROWS[name] * len(forget)
    assert cases.close(found["S"], sum(torch.outer(a, a) for a in rows) / count, within=1e-9)
    assert cases.close(found["G"], sum(torch.diag(p) - torch.outer(p, p) for p in likely) / count, within=1e-9)
    products = [torch.outer(p * (1 - p), a * a) for a, p in zip(rows, likely)]
    assert cases.close(found["diagonal"], sum(products) / count, within=1e-9)


def test_padding_enters_no_mean() -> None:
    task, model = LINEAR["padded sequences, double"]()
    forget = task.split("forget")
    _, count = moments(linear_gradients(task, model), forget)
    assert count == int((forget.batch().targets[:, 1:] != 0).sum())


def test_chunks_change_nothing_and_one_pass_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = LINEAR["digits, double"]()
    forget, passes = task.split("forget"), []
    real = LinearGradients.captured
    monkeypatch.setattr(LinearGradients, "captured", lambda self, given: passes.append(1) or real(self, given))
    whole, _ = moments(linear_gradients(task, model), forget, ("S", "G", "diagonal"))
    assert len(passes) == 1
    parts, _ = moments(linear_gradients(task, model), replace(forget, chunk=7), ("S", "G", "diagonal"))
    assert all(cases.close(parts[name], whole[name], within=1e-12) for name in whole)


def two(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """G of ten answers, S with correlated entries, and a gradient that sums to zero over the answers."""
    generator = torch.Generator().manual_seed(seed)
    likely = torch.randn(40, 4, generator=generator, dtype=torch.float64).softmax(1)
    rows = (
        torch.randn(40, 6, generator=generator, dtype=torch.float64) @ torch.randn(6, 6, generator=generator).double()
    )
    gradient = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    return torch.diag(likely.mean(0)) - likely.T @ likely / 40, rows.T @ rows / 40, gradient - gradient.mean(0)


@pytest.mark.parametrize("rho", [0.01, 0.1, 10.0])
def test_both_factors_are_the_dense_kronecker_solve(rho: float) -> None:
    outputs, inputs, gradient = two()
    s, g = inputs.trace() / 6, outputs.trace() / 4
    first = (outputs / g + rho * torch.eye(4).double()) / (1 + rho)
    second = (inputs / s + rho * torch.eye(6).double()) / (1 + rho)
    expected = torch.linalg.solve(torch.kron(first, second), gradient.flatten()).view(4, 6)
    made = FACTORS["both"][1]({"S": inputs, "G": outputs}, rho)
    assert cases.close(made.solved(gradient), expected, within=1e-9)
    found = made({"weight": gradient[:, :-1], "bias": gradient[:, -1]})
    assert cases.close(found["bias"], expected[:, -1], within=1e-9) and found["weight"].shape == (4, 5)
    alone = FACTORS["inputs"][1]({"S": inputs}, rho).solved(gradient)
    assert cases.close(alone, torch.linalg.solve(second, gradient.T).T, within=1e-9)


def test_without_damping_g_is_solved_on_its_range() -> None:
    outputs, inputs, gradient = two()
    made = FACTORS["both"][1]({"S": inputs, "G": outputs}, 0.0).solved(gradient)
    assert cases.close(damped(outputs, 0.0) @ made @ damped(inputs, 0.0), gradient, within=1e-9)
    assert cases.close(made.sum(0), torch.zeros(6), within=1e-9, of=1.0)


def test_a_singular_factor_is_said() -> None:
    outputs, inputs, _ = two()
    dead = inputs.clone()
    dead[2], dead[:, 2] = 0.0, 0.0
    with pytest.raises(ValueError, match="S is singular, 1 of its 6 eigenvalues.*rho > 0"):
        inverse(dead, 0.0)
    never = outputs.clone()
    never[1], never[:, 1] = 0.0, 0.0
    with pytest.raises(ValueError, match="G is singular, 2 of its 4 eigenvalues"):
        output_inverse(torch.diag(torch.tensor([0.5, 0.0, 0.0, 0.5]).double()), 0.0)
    with pytest.raises(ValueError, match="zero at 1 of 24 entries"):
        whole = torch.ones(4, 6, dtype=torch.float64)
        whole[0, 0] = 0.0
        FACTORS["diagonal"][1]({"diagonal": whole}, 0.0)
    for broken in (torch.zeros(4, 4), torch.full((4, 4), torch.nan)):
        with pytest.raises(ValueError, match="zero or not finite"):
            damped(broken.double(), 0.1)


@pytest.mark.parametrize("factors", FACTORS)
def test_much_damping_is_the_identity(factors: str) -> None:
    outputs, inputs, gradient = two()
    parts = {"S": inputs, "G": outputs, "diagonal": outputs.diagonal()[:, None] * inputs.diagonal()}
    assert cases.close(FACTORS[factors][1](parts, 1e6).solved(gradient), gradient, within=1e-4)


def squared(made: Tensor, truth: Tensor) -> Tensor:
    """(n,) squared error of one-hot answers."""
    return (made - nn.functional.one_hot(truth, made.shape[1])).square().sum(1)


def focal(made: Tensor, truth: Tensor) -> Tensor:
    """(n,) cross-entropy that forgets what is known well; it bends otherwise."""
    loss = nn.functional.cross_entropy(made, truth, reduction="none")
    return (1 - (-loss).exp()).square() * loss


def hinge(made: Tensor, truth: Tensor) -> Tensor:
    """(n,) the multi-class hinge, which does not bend at all."""
    return nn.functional.multi_margin_loss(made, truth, reduction="none")


def weighted(made: Tensor, truth: Tensor) -> Tensor:
    """(n,) cross-entropy with a weight for each class, and smoothed labels."""
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=made.dtype)
    return nn.functional.cross_entropy(made, truth, weight=weight, label_smoothing=0.1, reduction="none")


@pytest.mark.parametrize("loss", [squared, focal, hinge])
def test_g_of_a_loss_that_is_no_cross_entropy_is_refused(loss: object) -> None:
    task, model = own(torch.float64, loss=loss)
    gradients, forget = linear_gradients(task, model), task.split("forget")
    for name in ("G", "diagonal"):
        with pytest.raises(ValueError, match=f"{name} is the curvature of cross-entropy.*is another$"):
            moments(gradients, forget, ("S", name))
    assert set(moments(gradients, forget, ("S",))[0]) == {"S"}


def test_a_weighted_or_smoothed_cross_entropy_is_one() -> None:
    task, model = own(torch.float32, loss=weighted)
    assert kronecker.is_cross_entropy(task, model, task.split("forget"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("readout", [None, ("narrow", "classifier")])
def test_g_counts_each_row_by_its_factor_of_the_loss(dtype: torch.dtype, readout: object) -> None:
    weight = torch.tensor([1.0, 5.0, 0.2], dtype=dtype)

    def of_classes(made: Tensor, truth: Tensor) -> Tensor:
        return nn.functional.cross_entropy(made, truth, weight=weight, reduction="none")

    def threefold(made: Tensor, truth: Tensor) -> Tensor:
        return 3 * nn.functional.cross_entropy(made, truth, reduction="none")

    for loss in (of_classes, threefold):
        task, model = own(dtype, loss=loss, readout=readout)
        batch = task.split("train").batch()
        with torch.no_grad():
            likely = model(batch.inputs).double().softmax(1)
        factors = weight[batch.targets].double() if loss is of_classes else torch.full((len(likely),), 3.0).double()
        found, _ = means_of(gradients_of(task, model), task.split("train"), ("S", "G"))
        each = [f * (torch.diag(p) - torch.outer(p, p)) for f, p in zip(factors, likely)]
        assert cases.close(found["G of classifier" if readout else "G"], sum(each) / len(each), within=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_a_model_that_is_certain_the_loss_is_still_recognised(dtype: torch.dtype) -> None:
    answers = {}
    for loss in (lambda made, truth: nn.functional.cross_entropy(made, truth, reduction="none"), focal, squared):
        task, model = own(dtype, loss=loss)
        with torch.no_grad():
            model.classifier.weight.mul_(1e3)
        answers[loss] = kronecker.is_cross_entropy(task, model, task.split("forget"))
    assert list(answers.values()) == [True, False, False]


def test_of_too_many_answers_g_is_not_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kronecker, "MOST_ANSWERS", 2)
    task, model = own(torch.float64)
    with pytest.raises(ValueError, match="3 outputs.*2 outputs are the most"):
        moments(linear_gradients(task, model), task.split("forget"))
    deep, model = own(torch.float64, readout=("narrow", "classifier"))
    with pytest.raises(Unserved, match="3 outputs.*2 outputs are the most") as refused:
        means_of(gradients_of(deep, model), deep.split("forget"), ("S", "G"))
    assert refused.value.serves == ('factors="inputs"',), "several layers have no diagonal"


def test_kronecker_inverse_is_the_dense_one() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, n, generator=generator, dtype=torch.float64) for n in (3, 5))
    errors, inputs = first @ first.T, second @ second.T
    given = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    matrix = torch.kron(errors, inputs) + 0.3 * torch.eye(15, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, given.flatten()).view(3, 5)
    assert cases.relative(kronecker_inverse(errors, inputs, 0.3)(given), expected) <= 1e-9
