"""NPO, SimNPO, DELETE and the methods that use the retain set: each objective against its formula, written out here again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import cases
import numpy as np
import pytest
import sequences
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.quantities import describe
from imu_lab.core.running import one_thread
from imu_lab.tasks.protocol import Task
from imu_lab.unlearning.objectives import Objective, descend
from imu_lab.unlearning.request import Request
from imu_lab.unlearning.self_distillation import apart, without_truth

SGD = dict(lr=0.05, momentum=0.0, weight_decay=0.0, batch_size=10_000, optimizer="sgd")  # one batch: no order to know
FREE = (
    "npo",
    "simnpo",
    "delete",
    "ce-u",
    "undial",
    "random-label",
    "wga",
    "satimp",
    "adaptive-ascent",
    "task-vector",
)
NEEDS_CLASSES = (
    "boundary-shrink",
    "ce-u",
    "undial",
    "wga",
    "satimp",
    "delete",
    "random-label",
    "salun",
    "scrub",
    "bad-teacher",
)
BASED = ("fine-tune", "l1-sparse", "gradient-difference", "neggrad-plus", "kl-ascent", "npo-kl", "salun", "scrub")


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def toy() -> tuple[Task, nn.Module]:
    """Points in the plane: one prediction per example."""
    return cases.task("toy"), cases.original("toy")


def tokens() -> tuple[Task, nn.Module]:
    """Sequences: seven predictions per example."""
    return sequences.tiny(), sequences.models()[0]


TASKS = pytest.mark.parametrize("given", [toy, tokens])


def private(model: nn.Module, scope: str = "all") -> nn.Module:
    """A copy that may move."""
    copied = copy.deepcopy(model).eval().requires_grad_(scope == "all")
    (copied.head if hasattr(copied, "head") else copied[-1]).requires_grad_(True)
    return copied


def stepped(task: Task, model: nn.Module, name: str, steps: int = 1, **settings: Any) -> tuple[nn.Module, list]:
    """The model after some updates by a method, and the updates."""
    method = imu.methods.create(name, **{**SGD, "scope": "all", **settings})
    forget = task.split("forget")
    retain = task.split("retain") if imu.methods.declared(method, "needs_retain") else None
    moved = private(model, settings.get("scope", "all"))
    updates = method(task, moved, Request(forget, torch.full((len(forget),), 1 / len(forget)), retain, 0))
    return moved, [next(updates) for _ in range(steps)]


def by_hand(model: nn.Module, loss: Callable[[nn.Module], Tensor], steps: int = 1, lr: float = 0.05) -> nn.Module:
    """Plain gradient descent on a loss written out in a test."""
    moved = private(model)
    for _ in range(steps):
        gradients = torch.autograd.grad(loss(moved), list(moved.parameters()))
        with torch.no_grad():
            for value, gradient in zip(moved.parameters(), gradients):
                value -= lr * gradient
    return moved


def difference(one: nn.Module, other: nn.Module, start: nn.Module) -> float:
    """Largest difference between two ways, over the largest movement."""
    models = (one, other, start)
    first, second, begin = (torch.cat([value.flatten() for value in model.parameters()]) for model in models)
    return ((first - second).abs().max() / (second - begin).abs().max()).item()


def losses(task: Task, model: nn.Module, split: str) -> Tensor:
    """(n,) the loss of each example of a split."""
    return task.example_loss(model, task.split(split).batch())


def sums(task: Task, model: nn.Module, split: str) -> Tensor:
    """(n,) −log π: a sequence's loss summed over its seven predicted tokens."""
    return losses(task, model, split) * (7 if isinstance(task, imu.tasks.Sequence) else 1)


@TASKS
@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_npo(given: Callable, beta: float) -> None:
    task, model = given()
    first = sums(task, model, "forget").detach()

    def loss(moved: nn.Module) -> Tensor:
        ratio = (-sums(task, moved, "forget") + first).exp()  # π / π_0
        return (2 / beta * torch.log(1 + ratio**beta)).mean()

    lr = 0.05 / (7 if task.evaluate(model, "forget").get("kl_true") else 1)
    moved, updates = stepped(task, model, "npo", steps=4, beta=beta, lr=lr)
    assert difference(moved, by_hand(model, loss, steps=4, lr=lr), model) < 1e-4
    assert updates[0].terms["npo"] == pytest.approx(2 / beta * np.log(2), rel=1e-5)
    assert (
        losses(task, moved, "forget").mean() > losses(task, model, "forget").mean()
    )  # the sign reversed would lower it


@TASKS
def test_npo_with_a_tiny_beta_is_gradient_ascent(given: Callable) -> None:
    task, model = given()
    length = 7 if isinstance(task, imu.tasks.Sequence) else 1
    npo, _ = stepped(task, model, "npo", steps=3, beta=1e-4, lr=0.01)
    ascent = by_hand(model, lambda moved: -losses(task, moved, "forget").mean(), steps=3, lr=0.01 * length)
    assert difference(npo, ascent, model) < 1e-2


@TASKS
def test_npo_presses_what_is_still_likely(given: Callable) -> None:
    task, model = given()
    _, updates = stepped(task, model, "npo", steps=6, beta=5.0)
    first, last = updates[0].shares, updates[-1].shares
    assert cases.close(
        first, torch.full_like(first, 1 / len(first)), within=1e-5
    ) and last.sum().item() == pytest.approx(1)
    moved, _ = stepped(task, model, "npo", steps=5, beta=5.0)
    fallen = (losses(task, moved, "forget") - losses(task, model, "forget")).detach()[updates[-1].positions]
    assert torch.equal(fallen.argsort(), (-last).argsort())  # the further gone, the smaller the share


@TASKS
@pytest.mark.parametrize("beta, gamma", [(1.0, 0.0), (4.0, 0.0), (2.0, 1.5)])
def test_simnpo(given: Callable, beta: float, gamma: float) -> None:
    task, model = given()

    def loss(moved: nn.Module) -> Tensor:
        return (-2 / beta * torch.log(torch.sigmoid(beta * losses(task, moved, "forget") - gamma))).mean()

    moved, updates = stepped(task, model, "simnpo", steps=4, beta=beta, gamma=gamma)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-4
    expected = torch.sigmoid(gamma - beta * losses(task, model, "forget")).detach().double()[updates[0].positions]
    assert cases.close(updates[0].shares, expected / expected.sum(), within=1e-6)


def taken_out(task: Task, model: nn.Module) -> Tensor:
    """q', the probabilities of all but the true class of each prediction, made to sum to 1."""
    batch = task.split("forget").batch()
    truth = batch.targets["tokens"][:, 1:] if isinstance(task, imu.tasks.Sequence) else batch.targets
    share = model(batch.inputs).softmax(-1).detach().scatter(-1, truth[..., None], 0.0)
    return share / share.sum(-1, keepdim=True)


@TASKS
def test_delete(given: Callable) -> None:
    task, model = given()
    wanted, batch = taken_out(task, model), task.split("forget").batch()

    def loss(moved: nn.Module) -> Tensor:
        logs = moved(batch.inputs).softmax(-1).log()
        each = torch.where(wanted > 0, wanted * (wanted.log() - logs), 0.0).sum(-1)
        return each.mean()  # every sequence here has seven predictions

    moved, updates = stepped(task, model, "delete", steps=4)
    assert difference(moved, by_hand(model, loss, steps=4), model) < 1e-4
    assert updates[0].terms["delete"] == pytest.approx(loss(model).item(), rel=1e-5)
    assert losses(task, moved, "forget").mean() > losses(task, model, "forget").mean()


@TASKS
def test_the_pressure_of_delete_is_what_the_model_says_less_what_it_should(given: Callable) -> None:
    task, model = given()
    batch, wanted = task.split("forget").batch(), taken_out(task, model)
    logits = (model(batch.inputs) + torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0))).detach()
    apart_by = apart(without_truth(task, model(batch.inputs), batch), logits.requires_grad_())
    (slope,) = torch.autograd.grad(apart_by.sum(), logits)
    expected = (logits.softmax(-1) - wanted) / (7 if isinstance(task, imu.tasks.Sequence) else 1)
    assert cases.close(slope, expected.detach(), within=1e-5) and torch.isfinite(slope).all()


def test_delete_by_hand() -> None:
    task = cases.task("toy")
    batch = imu.tasks.Batch(None, torch.tensor([1]))
    first = torch.tensor([[0.0, 5.0, np.log(3.0)]])  # without class 1: 1/4 and 3/4
    wanted = without_truth(task, first, batch)
    assert cases.close(wanted.logs.exp(), [[0.25, 0.0, 0.75]])
    even = apart(wanted, torch.zeros(1, 3))
    assert even.item() == pytest.approx(0.25 * np.log(0.75) + 0.75 * np.log(2.25), rel=1e-6)
    assert apart(wanted, torch.tensor([[0.0, -200.0, np.log(3.0)]])).item() == pytest.approx(0, abs=1e-6)


def test_delete_is_bounded_where_ascent_is_not() -> None:
    task, model = toy()
    runs = {
        name: imu.unlearn(task, model, method=name, steps=300, lr=0.5, weight_decay=0.0) for name in ("delete", "imu")
    }
    assert runs["delete"].value("forget", "accuracy") == 0
    last = runs["delete"].terms.query("term == 'delete_gradient'")["value"]
    assert last.iloc[-1] < 0.02 * last.iloc[0]  # it comes to rest
    assert runs["imu"].value("forget", "loss") > 5 * runs["delete"].value("forget", "loss")


@pytest.mark.parametrize("name", NEEDS_CLASSES)
def test_a_task_without_classes_is_refused_before_anything_moves(name: str) -> None:
    loss = nn.MSELoss(reduction="none")
    pairs = [(torch.randn(12, 4, generator=torch.Generator().manual_seed(k)), torch.randn(12)) for k in range(2)]
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    task = imu.tasks.Classification.from_data(model, *pairs, forget_indices=[0, 1], loss=lambda z, y: loss(z[:, 0], y))
    before = cases.frozen(model)
    with pytest.raises(ValueError, match="the targets are no classes"):
        imu.unlearn(task, model, method=name, steps=2, lr=0.1)
    assert cases.same(before, model)


@TASKS
def test_gradient_difference(given: Callable) -> None:
    task, model = given()

    def loss(moved: nn.Module) -> Tensor:
        return -losses(task, moved, "forget").mean() + 3 * losses(task, moved, "retain").mean()

    moved, updates = stepped(task, model, "gradient-difference", steps=3, retain_weight=3.0)
    assert difference(moved, by_hand(model, loss, steps=3), model) < 1e-4
    assert updates[0].terms["retain"] == pytest.approx(3 * losses(task, model, "retain").mean().item(), rel=1e-5)
    alone, _ = stepped(task, model, "gradient-difference", steps=3, retain_weight=0.0)
    ascent, _ = stepped(task, model, "gradient-ascent", steps=3)
    assert difference(alone, ascent, model) < 1e-4


@TASKS
def test_neggrad_plus(given: Callable) -> None:
    """It is gradient difference on another scale: weighing the terms by α alone would leave the ascent at full strength."""
    task, model = given()

    def loss(moved: nn.Module) -> Tensor:
        return 0.8 * losses(task, moved, "retain").mean() - 0.2 * losses(task, moved, "forget").mean()

    moved, updates = stepped(task, model, "neggrad-plus", steps=3, alpha=0.8)
    assert difference(moved, by_hand(model, loss, steps=3), model) < 1e-4
    assert updates[0].terms["ascent"] == pytest.approx(-0.2 * losses(task, model, "forget").mean().item(), rel=1e-5)
    same, _ = stepped(task, model, "gradient-difference", steps=3, retain_weight=4.0, lr=0.2 * SGD["lr"], momentum=0.9)
    moved, _ = stepped(task, model, "neggrad-plus", steps=3, alpha=0.8, momentum=0.9)
    assert difference(moved, same, model) < 1e-4


def retain_kl(task: Task, model: nn.Module, moved: nn.Module) -> Tensor:
    """KL(model as given ‖ moved) on the retain set, the mean over predictions."""
    batch = task.split("retain").batch()
    truth, found = model(batch.inputs).softmax(-1).detach(), moved(batch.inputs).softmax(-1)
    return (truth * (truth / found).log()).sum(-1).mean()


@TASKS
def test_kl_ascent(given: Callable) -> None:
    task, model = given()

    def loss(moved: nn.Module) -> Tensor:
        return -losses(task, moved, "forget").mean() + 2 * retain_kl(task, model, moved)

    moved, updates = stepped(task, model, "kl-ascent", steps=3, retain_weight=2.0)
    assert difference(moved, by_hand(model, loss, steps=3), model) < 1e-4
    assert updates[0].terms["retain_kl"] == pytest.approx(0, abs=1e-6)
    assert updates[0].terms["retain_kl_gradient"] < 1e-5 < updates[-1].terms["retain_kl_gradient"]


@TASKS
def test_npo_kl(given: Callable) -> None:
    task, model = given()
    first = sums(task, model, "forget").detach()

    def loss(moved: nn.Module) -> Tensor:
        ratio = (-sums(task, moved, "forget") + first).exp()
        return (2 * torch.log(1 + ratio)).mean() + retain_kl(task, model, moved)

    moved, updates = stepped(task, model, "npo-kl", steps=3, lr=0.01)
    assert difference(moved, by_hand(model, loss, steps=3, lr=0.01), model) < 1e-4
    assert set(updates[0].terms) == {"npo", "npo_gradient", "retain_kl", "retain_kl_gradient", "update_norm"}


@TASKS
def test_fine_tune_presses_nobody(given: Callable) -> None:
    task, model = given()
    moved, updates = stepped(task, model, "fine-tune", steps=3)
    assert difference(moved, by_hand(model, lambda m: losses(task, m, "retain").mean(), steps=3), model) < 1e-4
    assert losses(task, moved, "retain").mean() < losses(task, model, "retain").mean()
    run = imu.unlearn(task, model, method="fine-tune", steps=3)
    assert (run.samples["pressure"] == 0).all()


@pytest.mark.few(8)
@TASKS
@pytest.mark.parametrize("name", [*FREE, *BASED])
def test_the_readout_alone_moves_and_cached_equals_uncached(given: Callable, name: str) -> None:
    task, model = given()
    before = cases.frozen(model)
    runs = [imu.unlearn(task, model, method=name, steps=4, seed=2, cache=cache) for cache in (True, False)]
    layer = "head." if hasattr(model, "head") else "2."
    states = [run.model.state_dict() for run in runs]
    assert all(cases.close(states[0][key], states[1][key], within=1e-5) for key in states[0])
    moved = {key for key, value in states[0].items() if not torch.equal(value, model.state_dict()[key])}
    assert moved and all(key.startswith(layer) for key in moved) and cases.same(before, model)
    whole = imu.unlearn(task, model, method=name, steps=2, scope="all").model.state_dict()
    assert any(not torch.equal(whole[key], value) for key, value in model.state_dict().items() if key not in moved)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", [*FREE, *BASED])
def test_a_seed_decides_the_run(name: str) -> None:
    task, model = toy()
    one, same, other = (imu.unlearn(task, model, method=name, steps=4, seed=seed) for seed in (1, 1, 2))
    assert one.curve.equals(same.curve) and not one.curve.equals(other.curve)
    assert one.settings["settings"]["batch_size"] == 16  # the task's own default


def test_only_those_that_say_so_are_given_the_retain_set() -> None:
    assert not any(
        imu.methods.declared(imu.methods[name], "needs_retain") for name in ("imu", "gradient-ascent", *FREE)
    )
    assert all(imu.methods[name].needs_retain for name in BASED)


def test_terms_are_told_apart_and_the_step_has_the_length_asked() -> None:
    value = nn.Parameter(torch.tensor([3.0, 4.0]))
    how = imu.methods.create("npo", **SGD | {"lr": 1.0, "step_norm": 0.5})
    objectives = ({"a": value.square().sum() / 2, "b": torch.zeros(())} for _ in range(2))
    updates = descend(how, [value], (Objective(terms) for terms in objectives))
    update = next(updates)
    assert update.terms == {"a": 12.5, "a_gradient": 5.0, "b": 0.0, "b_gradient": 0.0, "update_norm": 0.5}
    assert cases.close(value.detach(), torch.tensor([2.7, 3.6]), within=1e-5) and len(update.positions) == 0


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("npo", {"beta": 0.0}),
        ("simnpo", {"gamma": -1.0}),
        ("gradient-difference", {"retain_weight": -0.1}),
        ("npo", {"scope": "head"}),
    ],
)
def test_settings_outside_their_range_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        imu.unlearn(*toy(), method=name, steps=1, **wrong)


@pytest.mark.parametrize("name", [*FREE, *BASED, "ssd", "rmu", "bad-teacher", "boundary-shrink", "cf-k"])
def test_every_term_says_what_it_is(name: str) -> None:
    task, model = toy()
    run = (
        imu.unlearn(task, model, method=name, steps=1, lr=0.01)
        if name != "ssd"
        else imu.unlearn(task, model, method=name, steps=1)
    )
    about = {term: describe(term) for term in run.terms["term"]}
    assert all(each.title and each.unit for each in about.values()), about
