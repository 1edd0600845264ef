"""Divergences between two models' outputs, per example."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from types import SimpleNamespace

import cases
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.tasks import cross_entropy, outputs
from imu_lab.tasks.protocol import Batch

BATCH = Batch(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (4, 3, 100)])
def test_log_probabilities_are_torchs(shape: tuple[int, ...]) -> None:
    logits = 10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert cases.close(outputs.log_probabilities(logits), logits.log_softmax(-1), within=1e-5)


@pytest.mark.parametrize("count", [2, 10, 100])
def test_the_derivative_of_the_cross_entropy_is_autograds(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(50, count, generator=generator, dtype=torch.float64)).requires_grad_()
    batch = Batch(None, torch.randint(count, (50,), generator=generator))
    (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum"), logits)
    before = logits.detach().clone()
    assert cases.close(outputs.cross_entropy_derivative(before, batch), slope, within=1e-15)
    assert torch.equal(before, logits), "what it is given stays as it was"


def test_only_the_marked_function_has_the_derivative() -> None:
    class Task:
        """A loss that knows its derivative."""

        @outputs.derived(outputs.cross_entropy_derivative)
        def example_loss(self) -> int:
            """Marked."""
            return 1

    class Thrice(Task):
        """A user's own loss around it."""

        @functools.wraps(Task.example_loss)
        def example_loss(self) -> int:
            """Wrapped."""
            return 3 * super().example_loss()

    assert outputs.derivative_of(Task().example_loss) is outputs.cross_entropy_derivative
    assert outputs.derivative_of(Thrice().example_loss) is None
    assert outputs.derivative_of(lambda: 0) is None
    assert outputs.with_derivative(Thrice().example_loss) is outputs.with_derivative(lambda: 0) is None


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_losses_and_their_derivative_at_once_are_what_they_are_alone(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, loss = 20 * torch.randn(50, count, generator=generator), functools.partial(cross_entropy.example_loss, None)
    batch = Batch(None, torch.randint(max(count, 2), (50,), generator=generator))
    alone = outputs.derived(outputs.cross_entropy_derivative)(lambda *given: loss(*given))
    for marked in (cross_entropy.example_loss, alone):
        losses, derivative = outputs.with_derivative(marked)(logits, batch)
        assert torch.equal(losses, loss(lambda _: logits, batch))
        assert torch.equal(derivative, outputs.cross_entropy_derivative(logits, batch))


def test_kl_by_hand_and_where_something_is_impossible() -> None:
    first, second = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    assert outputs.kl(first, second).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert outputs.kl(second, first).item() == torch.inf
    assert outputs.kl(first, first).item() == 0.0


def test_a_task_may_count_its_own_predictions() -> None:
    own = SimpleNamespace(example_divergence=lambda *given: torch.ones(4), example_length=lambda batch: torch.arange(4))
    assert outputs.divergences(own, None, None, BATCH).tolist() == [1.0] * 4
    assert outputs.lengths(own, BATCH).tolist() == [0, 1, 2, 3] and outputs.lengths(SimpleNamespace(), BATCH) == 1.0


def losing(loss: Callable) -> SimpleNamespace:
    """A task of which only the loss (logits, targets) -> (n,) is known."""
    return SimpleNamespace(example_loss=lambda forward, batch: loss(forward(batch.inputs), batch.targets))


def summed(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each prediction (n, T) from (n, T, K)."""
    return torch.nn.functional.cross_entropy(logits.movedim(-1, 1), truth, reduction="none")


def test_the_divergence_is_the_mean_over_an_examples_predictions_that_enter_its_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    model, reference = torch.randn(4, 3, 5, generator=generator), torch.randn(4, 3, 5, generator=generator)
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    task = losing(lambda z, y: (summed(z, y) * mask).sum(1) / mask.sum(1))
    batch = Batch(None, torch.zeros(4, 3, dtype=torch.int64))
    p, q = reference.softmax(-1), model.softmax(-1)
    each = (p * (p / q).log()).sum(-1)
    own = torch.stack([row[kept].mean() for row, kept in zip(each, mask.bool())])
    assert cases.close(outputs.divergences(task, model, reference, batch), own, within=1e-6)
    assert cases.relative(each.mean(1), own) > 0.05, "what enters no loss would have been seen"
    assert torch.equal(outputs.divergences(task, model, model, batch), torch.zeros(4))
    plain = losing(lambda z, y: summed(z, y).mean(1))
    assert cases.close(outputs.divergences(plain, model, reference, batch), each.mean(1), within=1e-6)


def test_true_classes_are_read_from_the_loss_itself() -> None:
    truth = torch.tensor([[2, 0, 1], [1, 1, 0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    padded = losing(lambda z, y: (summed(z, y) * mask).sum(1) / mask.sum(1))
    found, parts = outputs.true_classes(padded, torch.randn(2, 3, 4), Batch(None, truth))
    assert torch.equal(found[mask > 0], truth[mask > 0])
    assert cases.close(parts, [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    flat = losing(lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none", label_smoothing=0.3))
    found, parts = outputs.true_classes(flat, torch.randn(2, 4), Batch(None, truth[:, 0]))
    assert torch.equal(found, truth[:, 0]) and cases.close(parts, [1.0, 1.0])


def test_true_classes_of_one_logit_are_its_two_sides() -> None:
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    single = losing(lambda z, y: bce(z[:, 0], y.float(), reduction="none"))
    found, parts = outputs.true_classes(single, torch.randn(3, 1), Batch(None, torch.tensor([0, 1, 1])))
    assert found.tolist() == [0, 1, 1] and cases.close(parts, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("loss", [
    lambda z, y: (z - y) ** 2,
    lambda z, y: (z - y).abs(),
    lambda z, y: torch.nn.functional.smooth_l1_loss(z, y, reduction="none"),
    lambda z, y: z.exp() - y * z,  # Poisson's, of a logarithm
])  # fmt: skip
def test_a_single_output_that_is_drawn_to_a_number_is_no_logit(loss: Callable) -> None:
    numbers = Batch(None, torch.tensor([3.0, 1.0, 70.0, 2.0]))
    task, made = losing(lambda z, y: loss(z[:, 0], y)), torch.randn(4, 1)
    several = losing(lambda z, y: loss(z, y[:, None].expand(-1, 3)).sum(1))
    for ask in (
        lambda: outputs.check_loss_of_logits(several, torch.randn(4, 3), numbers),
        lambda: outputs.true_classes(task, made, numbers),
        lambda: outputs.divergences(task, made, made, numbers),
    ):
        with pytest.raises(ValueError, match="draws each output to a number.*write probabilities = False"):
            ask()


@pytest.mark.parametrize("loss", [
    lambda z, y: torch.nn.functional.binary_cross_entropy_with_logits(z, 0.9 * y + 0.05, reduction="none"),
    lambda z, y: (1 - 2 * y) * z.clamp(-1, 1) + 1,  # of which nothing moves far away
    lambda z, y: torch.nn.functional.relu(1 - (2 * y - 1) * z),
    lambda z, y: -(1 - ((2 * y - 1) * z).sigmoid()) ** 2 * torch.nn.functional.logsigmoid((2 * y - 1) * z),
    lambda z, y: -((2 * y - 1) * z).sigmoid().log(),
])  # fmt: skip
def test_losses_of_one_logit_that_are_no_plain_cross_entropy_have_two_classes(loss: Callable) -> None:
    truth = torch.tensor([0.0, 1.0, 1.0])
    for told in (truth, truth.bool()):
        task = losing(lambda z, y: loss(z[:, 0], y.float()))
        assert outputs.true_classes(task, torch.randn(3, 1), Batch(None, told))[0].tolist() == [0, 1, 1]


def test_a_loss_of_probabilities_that_takes_no_others_is_not_asked_about_numbers() -> None:
    bce = losing(lambda z, y: torch.nn.functional.binary_cross_entropy(z[:, 0], y, reduction="none"))
    outputs.check_loss_of_logits(bce, torch.rand(2, 1), Batch(None, torch.tensor([0.0, 1.0])))


def test_without_one_true_class_each_the_words_say_so() -> None:
    soft = losing(lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none"))
    several = losing(lambda z, y: torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1))
    targets = torch.tensor([[0.7, 0.3, 0.0]])
    for task in (soft, several):
        with pytest.raises(ValueError, match="no single true class"):
            outputs.true_classes(task, torch.randn(1, 3), Batch(None, targets))
    regression = SimpleNamespace(probabilities=False)
    with pytest.raises(ValueError, match="the targets are no classes"):
        outputs.true_classes(regression, torch.randn(1, 3), BATCH)
    with pytest.raises(ValueError, match="must be logits"):
        outputs.true_classes(soft, {"scores": torch.randn(1, 3)}, BATCH)


@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_the_derivative_of_a_well_fitted_example_is_right_to_its_last_digits(classes: int) -> None:
    chance = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(40, classes, generator=chance), torch.arange(40) % max(2, classes)
    up = 20 * torch.rand(40, 1, generator=chance)  # p_y from chance to 1 − 1e-9, which float32 calls 1
    logits += up * (2 * truth[:, None] - 1 if classes == 1 else nn.functional.one_hot(truth, classes))
    batch = Batch(None, truth)
    exact = logits.double().requires_grad_()
    both = torch.cat([torch.zeros_like(exact), exact], 1) if classes == 1 else exact
    (both.logsumexp(1) - both.gather(1, truth[:, None])[:, 0]).sum().backward()
    found = outputs.cross_entropy_derivative(logits, batch).double()
    apart = (found - exact.grad).norm(dim=1) / exact.grad.norm(dim=1)
    assert apart.max() < 1e-5


@pytest.mark.parametrize("readout", [None, "all"])
def test_the_direction_of_a_well_fitted_examples_gradient_is_no_rounding_error(readout: str | None) -> None:
    """A float32 model that is sure of its answers, beside the same model in float64."""
    inputs, labels = 3 * torch.eye(3).repeat(10, 1) + torch.linspace(-0.3, 0.3, 90).view(30, 3), torch.arange(30) % 3
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with torch.no_grad():
        for layer, weight in zip(model, (torch.eye(3), 7 * torch.eye(3) + torch.arange(9.0).view(3, 3) / 9)):
            layer.weight.copy_(weight), layer.bias.zero_()
    values = {}
    for kind in (torch.float32, torch.float64):
        mine, x = copy.deepcopy(model).to(kind), inputs.to(kind)
        task = imu.tasks.Classification.from_data(
            mine, (x, labels), (x + 1, labels), forget_indices=range(12), readout=readout
        )
        for name in ("gradient-cosine", "gradient-norm", "el2n", "fisher-diagonal"):
            values[kind, name] = imu.influence(task, mine, name).values
    for name in ("gradient-cosine", "gradient-norm", "el2n", "fisher-diagonal"):
        found, exact = values[torch.float32, name], values[torch.float64, name]
        assert (abs(found / exact - 1) < 1e-3).all(), name
