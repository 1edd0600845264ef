"""One update equals the same update by hand; what a batch, a weight and a step length mean."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import cases
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import readout
from imu_lab.tasks.protocol import Task
from imu_lab.unlearning import Request, Update
from imu_lab.unlearning.objectives import OPTIMIZERS, Descent


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


def weights_of(count: int, dropped: int = 0) -> Tensor:
    """Uneven weights that sum to 1; the first ``dropped`` are 0."""
    values = torch.rand(count, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    values[:dropped] = 0
    return values / values.sum()


def follow(
    task: Task, model: nn.Module, method: str, weights: Tensor, updates: int, **settings: Any
) -> tuple[nn.Module, list[Update], list[list[Tensor]]]:
    """A private model after some updates, what the method said of each, and the moving tensors before and after."""
    private = copy.deepcopy(model).eval()
    how = imu.methods.create(method, **settings)
    moving = list(readout.parameters(private, readout.resolve(task, private)).values())
    told, states = [], [[value.detach().clone() for value in moving]]
    for update in islice(how(task, private, Request(task.split("forget"), weights, None, 0)), updates):
        told.append(update)
        states.append([value.detach().clone() for value in moving])
    return private, told, states


def by_hand(
    task: Task,
    model: nn.Module,
    weights: Tensor,
    told: list[Update],
    lr: float,
    momentum: float,
    weight_decay: float,
    alpha: float,
    normalise: str,
) -> list[Tensor]:
    """The readout after the same batches, by the formulas of SGD with momentum written out."""
    private = copy.deepcopy(model).eval()
    moving = list(readout.parameters(private, readout.resolve(task, private)).values())
    speed = [torch.zeros_like(value) for value in moving]
    kept = int((weights > 0).sum())
    for update in told:
        batch, mine = task.split("forget").batch(update.positions), weights[update.positions]
        losses = nn.functional.cross_entropy(private(batch.inputs), batch.targets, reduction="none")
        if normalise == "batch":
            ascent = -(mine * losses).sum() / mine.sum()
        else:
            ascent = -kept / len(mine) * (mine * losses).sum() / weights.sum()
        loss = ascent + alpha * sum(value.abs().sum() for value in moving)
        for k, (value, part) in enumerate(zip(moving, torch.autograd.grad(loss, moving))):
            with torch.no_grad():
                speed[k] = momentum * speed[k] + part + weight_decay * value
                value -= lr * speed[k]
    return [value.detach() for value in moving]


PLAIN = dict(lr=0.05, momentum=0.0, weight_decay=0.0, alpha=0.0, normalise="batch")


@pytest.mark.few(6)
@pytest.mark.parametrize("change", [
    {}, {"momentum": 0.9}, {"weight_decay": 0.1}, {"alpha": 0.2}, {"normalise": "set"},
    {"momentum": 0.9, "weight_decay": 5e-4, "alpha": 0.05, "normalise": "set"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("size", [256, 16])
@pytest.mark.parametrize("dropped", [0, 13])
@pytest.mark.parametrize("updates", [1, 5])
def test_updates_equal_those_by_hand(change: dict, size: int, dropped: int, updates: int) -> None:
    task, model = cases.in_double("toy")
    how, weights = PLAIN | change, weights_of(40, dropped)
    _, told, states = follow(task, model, "imu", weights, updates, batch_size=size, **how)
    for found, expected in zip(states[-1], by_hand(task, model, weights, told, **how)):
        assert (found - expected).abs().max() <= 1e-12


def test_one_update_in_float32_is_right_to_float32() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    weights, how = weights_of(len(task.split("forget"))), PLAIN | {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    _, told, states = follow(task, model, "imu", weights, 1, **how)
    expected = by_hand(task, model, weights.float(), told, **how)
    assert max((a - b).abs().max() for a, b in zip(states[-1], expected)) <= 1e-6


def test_an_epoch_visits_each_sample_that_takes_part_once() -> None:
    task, model = cases.in_double("toy")
    weights = weights_of(40, dropped=7)
    _, told, _ = follow(task, model, "imu", weights, 6, batch_size=16, lr=1e-3)
    sizes = [len(update.positions) for update in told]
    assert sizes == [16, 16, 1, 16, 16, 1]
    for epoch in (told[:3], told[3:]):
        assert sorted(torch.cat([update.positions for update in epoch]).tolist()) == list(range(7, 40))
    assert not torch.equal(told[0].positions, told[3].positions)


def test_the_shares_of_a_batch_are_its_weights_and_sum_to_one() -> None:
    task, model = cases.in_double("toy")
    weights = weights_of(40)
    for normalise in ("batch", "set"):
        _, told, _ = follow(task, model, "imu", weights, 3, batch_size=16, normalise=normalise)
        for update in told:
            mine = weights[update.positions]
            assert cases.close(update.shares, mine / mine.sum(), within=1e-5)


def test_terms_are_told_apart() -> None:
    task, model = cases.in_double("toy")
    weights = weights_of(40)
    _, told, states = follow(task, model, "imu", weights, 1, alpha=0.3, lr=0.1, momentum=0.0, weight_decay=0.0)
    terms, readouts = told[0].terms, states[0]
    batch = task.split("forget").batch()
    private = copy.deepcopy(model)
    moving = list(readout.parameters(private, ("2",)).values())
    ascent = -(weights * task.example_loss(private, batch)).sum()
    length = torch.cat([part.flatten() for part in torch.autograd.grad(ascent, moving)]).norm().item()
    assert terms["ascent"] == pytest.approx(ascent.item(), rel=1e-9)
    assert terms["ascent_gradient"] == pytest.approx(length, rel=1e-9)
    assert terms["l1"] == pytest.approx(0.3 * sum(value.abs().sum().item() for value in readouts), rel=1e-9)
    assert terms["l1_gradient"] == pytest.approx(0.3 * sum(value.numel() for value in readouts) ** 0.5, rel=1e-9)
    moved = torch.cat([(b - a).flatten() for a, b in zip(*states)]).norm().item()
    assert terms["update_norm"] == pytest.approx(moved, rel=1e-9)


def test_without_alpha_there_is_no_l1() -> None:
    _, told, _ = follow(*cases.in_double("toy"), "imu", weights_of(40), 1, alpha=0.0)
    assert told[0].terms["l1"] == told[0].terms["l1_gradient"] == 0.0


@pytest.mark.parametrize("length", [1e-3, 0.5])
@pytest.mark.parametrize("change", [{}, {"momentum": 0.9, "alpha": 0.1}, {"optimizer": "adamw"}, {"lr": 1e-4}])
def test_step_norm_gives_every_update_exactly_that_length(length: float, change: dict) -> None:
    task, model = cases.in_double("toy")
    _, told, states = follow(task, model, "imu", weights_of(40), 6, batch_size=16, step_norm=length, **change)
    for before, after, update in zip(states, states[1:], told):
        moved = torch.cat([(b - a).flatten() for a, b in zip(before, after)]).norm().item()
        assert moved == pytest.approx(length, rel=1e-9)
        assert update.terms["update_norm"] == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_relative_steps_are_a_share_of_what_moves_whatever_its_unit(scale: float) -> None:
    task, model = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        for value in model[2].parameters():
            value *= scale
    size = torch.cat([value.detach().flatten() for value in model[2].parameters()]).norm().item()
    run = imu.unlearn(task, model, steps=4, step_norm=0.01, relative_steps=True)
    lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"].to_numpy()
    assert cases.close(lengths, np.full(4, 0.01 * size), within=1e-5)
    assert run.settings["settings"]["step_norm"] == 0.01 and run.settings["settings"]["relative_steps"] is True
    control = imu.again(run, weights=None)
    assert control.terms.equals(run.terms), "a control inherits it"
    plain = imu.unlearn(task, model, steps=4, step_norm=0.01 * size)
    assert cases.close(plain.curve["value"], run.curve["value"], within=1e-5)


def test_relative_steps_of_nothing_are_refused() -> None:
    model = copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        for value in model[2].parameters():
            value.zero_()
    with pytest.raises(ValueError, match="all that moves is zero.*leave out relative_steps"):
        imu.unlearn(cases.task("toy"), model, steps=1, step_norm=0.01, relative_steps=True)
    assert imu.unlearn(cases.task("toy"), model, steps=1, relative_steps=True).events["steps"] == 1


def test_step_norm_keeps_the_direction() -> None:
    task, model = cases.in_double("toy")
    free = follow(task, model, "imu", weights_of(40), 1, lr=0.02)[2]
    scaled = follow(task, model, "imu", weights_of(40), 1, lr=0.02, step_norm=0.7)[2]
    one, other = (torch.cat([(b - a).flatten() for a, b in zip(*states)]) for states in (free, scaled))
    assert nn.functional.cosine_similarity(one, other, dim=0) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_sgd_is_torchs_also_where_gradients_come_and_go(momentum: float, decay: float) -> None:
    random = torch.Generator().manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.arange(4.0)), nn.Parameter(torch.ones(2, 3))] for _ in range(2))
    step = OPTIMIZERS["sgd"](ours, Descent(lr=0.1, momentum=momentum, weight_decay=decay))
    optimizer = torch.optim.SGD(theirs, 0.1, momentum, weight_decay=decay)
    for update in range(12):
        gradients = [torch.randn(value.shape, generator=random) for value in ours]
        gradients[1] = None if update % 3 == 0 else gradients[1]
        before = [None if gradient is None else gradient.clone() for gradient in gradients]
        with torch.no_grad():
            step(gradients)
        for value, gradient in zip(theirs, before):
            value.grad = gradient
        optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
        assert torch.equal(gradients[0], before[0]), "a gradient is not ours to change"


def test_adamw_is_torchs() -> None:
    task, model = cases.in_double("toy")
    weights = weights_of(40)
    _, told, states = follow(task, model, "imu", weights, 4, optimizer="adamw", lr=0.01, weight_decay=0.1)
    private = copy.deepcopy(model)
    moving = list(readout.parameters(private, ("2",)).values())
    optimizer = torch.optim.AdamW(moving, 0.01, weight_decay=0.1)
    for update in told:
        batch, mine = task.split("forget").batch(update.positions), weights[update.positions]
        optimizer.zero_grad()
        (-(mine * task.example_loss(private, batch)).sum() / mine.sum()).backward()
        optimizer.step()
    assert all(cases.close(a, b, within=1e-10) for a, b in zip(states[-1], moving))


def test_uniform_imu_is_gradient_ascent_on_the_readout() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    uniform = imu.intensity(imu.influence(task, model), "uniform")
    runs = [
        imu.unlearn(task, model, uniform, "imu", steps=5),
        imu.unlearn(task, model, None, "imu", steps=5),
        imu.unlearn(task, model, None, "gradient-ascent", steps=5, scope="readout"),
    ]
    heads = [run.model[-1].weight for run in runs]
    assert torch.equal(heads[0], heads[1]) and torch.equal(heads[0], heads[2])


def test_gradient_ascent_ignores_weights_and_its_record_says_so() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    weights = imu.intensity(imu.influence(task, model))
    with_weights = imu.unlearn(task, model, weights, "gradient-ascent", steps=3)
    without = imu.unlearn(task, model, None, "gradient-ascent", steps=3)
    assert torch.equal(with_weights.model[2].weight, without.model[2].weight)
    assert cases.close(with_weights.samples["pressure"].to_numpy(), without.samples["pressure"].to_numpy())


def test_gradient_ascent_on_the_whole_model_moves_the_whole_model() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    run = imu.unlearn(task, model, None, "gradient-ascent", steps=2, scope="all", lr=0.1)
    before, after = model.state_dict(), run.model.state_dict()
    assert not run.settings["cached"]
    assert all(not torch.equal(before[name], value) for name, value in run.model.named_parameters())
    assert torch.equal(before["body.1.running_mean"], after["body.1.running_mean"])
    assert torch.equal(before["body.1.num_batches_tracked"], after["body.1.num_batches_tracked"])


@pytest.mark.few(3)
@pytest.mark.parametrize("name", ["toy", "digits class", "own data"])
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.0, "alpha": 0.01}, {"step_norm": 0.1}])
def test_without_the_cache_the_head_is_the_same(name: str, settings: dict) -> None:
    task, model = cases.task(name), cases.original(name)
    weights = imu.intensity(imu.influence(task, model))
    runs = [imu.unlearn(task, model, weights, steps=4, cache=cache, **settings) for cache in (True, False)]
    assert [run.settings["cached"] for run in runs] == [True, False]
    one, other = (run.model.state_dict() for run in runs)
    for key in one:
        assert cases.close(one[key], other[key], within=1e-5)
    assert cases.close(runs[0].curve["value"].to_numpy(), runs[1].curve["value"].to_numpy(), within=1e-3)


def test_the_pressure_of_all_samples_sums_to_the_number_of_updates() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    weights = imu.intensity(imu.influence(task, model), top=0.5)
    run = imu.unlearn(task, model, weights, steps=7, batch_size=32)
    assert run.samples["pressure"].sum() == pytest.approx(7)
    dropped = ~run.samples["selected"].to_numpy()
    assert dropped.any() and (run.samples["pressure"].to_numpy()[dropped] == 0).all()


def test_pressure_by_hand() -> None:
    task, model = cases.in_double("toy")
    weights = weights_of(40).numpy()
    run = imu.unlearn(task, model, weights, steps=5, batch_size=16)
    _, told, _ = follow(task, model, "imu", torch.tensor(weights), 5, batch_size=16)
    expected = np.zeros(40)
    for update in told:
        mine = weights[update.positions]
        expected[update.positions] += mine / mine.sum()
    assert cases.close(run.samples["pressure"].to_numpy(), expected)


@pytest.mark.parametrize(("how", "error", "message"), [
    ({"lr": 0}, ValueError, r"imu needs lr in \(0, inf\), got 0"),
    ({"lr": float("nan")}, ValueError, "got nan"),
    ({"lr": -1.0}, ValueError, "got -1.0"),
    ({"alpha": -1}, ValueError, "alpha"),
    ({"momentum": 1.0}, ValueError, "momentum"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": 2.5}, ValueError, "whole number for batch_size"),
    ({"step_norm": 0}, ValueError, "step_norm"),
    ({"optimizer": "sdg"}, imu.UnknownName, "Did you mean 'sgd'"),
    ({"normalise": "none"}, imu.UnknownName, "batch, set"),
    ({"learning_rate": 1.0}, TypeError, "no setting 'learning_rate'.*lr"),
    ({"method": "imuu"}, imu.UnknownName, "unknown method: 'imuu'. Did you mean 'imu'"),
    ({"weights": [1.0, 2.0]}, ValueError, r"weights must be 40 finite numbers >= 0.*got shape \(2,\)"),
    ({"weights": [0.0] * 40}, ValueError, "not all zero"),
    ({"weights": [-1.0] + [1.0] * 39}, ValueError, ">= 0"),
    ({"weights": [float("nan")] + [1.0] * 39}, ValueError, "finite"),
    ({"steps": -1}, ValueError, "steps must be a whole number >= 0, got -1"),
    ({"steps": 1.5}, ValueError, "steps must be a whole number"),
    ({"record_every": 0}, ValueError, "record_every"),
])  # fmt: skip
def test_bad_input_is_refused_and_changes_nothing(how: dict, error: type, message: str) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    before = cases.frozen(model)
    with pytest.raises(error, match=message):
        imu.unlearn(task, model, **({"steps": 2} | how))
    assert cases.same(before, model)


def test_weights_of_another_request_are_refused() -> None:
    other = cases.task("digits fraction")
    weights = imu.intensity(imu.influence(other, cases.original("digits fraction")))
    task = cases.task("digits class")
    with pytest.raises(ValueError, match="the weights belong to another forget set .29 examples, this one has 146."):
        imu.unlearn(task, cases.original("digits class"), weights, steps=1)


# --- the kit, as a user has it, and what it says when a piece does not fit


@dataclass(frozen=True)
class Mine(imu.Descent):
    """A method made of the kit: plain ascent, but for what a test wants to go wrong."""

    slip: str = ""

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
        return imu.descend(self, imu.moving_parameters(task, model), self.objectives(task, model, request))

    def objectives(self, task: Task, model: nn.Module, request: Request) -> Iterator[imu.Objective]:
        """Even ascent, one batch after the other."""
        for positions, batch in imu.forget_batches(self, model, request):
            losses = task.example_loss(model, batch)
            if self.slip == "no objective":
                yield -losses.mean()
            elif self.slip == "no mean":
                yield imu.Objective({"ascent": -losses}, positions)
            elif self.slip == "no graph":
                yield imu.Objective({"ascent": -losses.mean().detach()}, positions)
            elif self.slip == "no tensor":
                yield imu.Objective({"ascent": 1.0}, positions)
            else:
                yield imu.Objective({"ascent": -losses.mean()}, positions)


@pytest.mark.parametrize("cache", [True, False])
def test_a_method_of_the_kit_is_plain_ascent(cache: bool) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    mine = imu.unlearn(task, model, method=Mine(batch_size=16, lr=0.2), steps=4, cache=cache)
    known = imu.unlearn(task, model, method="gradient-ascent", batch_size=16, lr=0.2, steps=4, cache=cache)
    for measured in (
        "loss",
        "margin",
    ):  # to rounding: of a linear head the built-in method has its gradient in closed form
        assert cases.relative(mine.trajectory[measured], known.trajectory[measured]) <= 1e-6
    assert mine.samples["pressure"].to_numpy() == pytest.approx(known.samples["pressure"].to_numpy())


@pytest.mark.parametrize(("slip", "error", "words"), [
    ("no objective", TypeError, r"follows objectives, such as imu.Objective\(.*got tensor"),
    ("no mean", ValueError, r"one number, such as a mean; 'ascent' is a tensor of shape \(16,\)"),
    ("no tensor", ValueError, "'ascent' is 1.0"),
    ("no graph", ValueError, r"no term of the objective depends on what moves: ascent; .* without .detach\(\)"),
])  # fmt: skip
def test_an_objective_that_does_not_fit_is_explained(slip: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        imu.unlearn(cases.task("toy"), cases.original("toy"), method=Mine(batch_size=16, slip=slip), steps=2)


def test_the_retain_set_is_asked_for_by_those_who_declare_it() -> None:
    @dataclass(frozen=True)
    class Wishful(imu.Descent):
        def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update]:
            for batch in imu.retain_batches(self, model, request):
                yield from imu.descend(self, imu.moving_parameters(task, model), [
                    imu.Objective({"retain": task.example_loss(model, batch).mean()})
                ])  # fmt: skip

    @dataclass(frozen=True)
    class Declared(Wishful):
        needs_retain: ClassVar[bool] = True

    task, model = cases.task("toy"), cases.original("toy")
    with pytest.raises(ValueError, match="not handed the retain set; write `needs_retain"):
        imu.unlearn(task, model, method=Wishful(), steps=1)
    assert imu.unlearn(task, model, method=Declared(), steps=2).events["steps"] == 2


def test_what_may_move_is_the_readout_or_everything() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    names = {id(value): name for name, value in model.named_parameters()}
    readout = [names[id(value)] for value in imu.moving_parameters(task, model)]
    assert readout and len(readout) < len(names) == len(imu.moving_parameters(task, model, "all"))
    with pytest.raises(imu.UnknownName, match="unknown scope: 'head'. Known: readout, all"):
        imu.moving_parameters(task, model, "head")


def test_a_frozen_copy_stays_as_the_model_was() -> None:
    model = nn.Linear(2, 2).train()
    copy = imu.frozen_copy(model)
    with torch.no_grad():
        model.weight += 1
    assert not copy.training and not any(value.requires_grad for value in copy.parameters())
    assert model.training and model.weight.requires_grad and not torch.equal(copy.weight, model.weight)


def test_terms_of_one_forward_pass_are_told_apart_and_added_up() -> None:
    task, model = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    moving = imu.moving_parameters(task, model)
    before = [value.detach().clone() for value in moving]
    losses = task.example_loss(model, task.split("forget").batch())
    terms = {"ascent": -losses.mean(), "spread": losses.var(), "largest": losses.max(), "constant": torch.zeros(())}
    expected = torch.autograd.grad(sum(terms.values()), moving, retain_graph=True)
    how = Descent(lr=0.1, momentum=0.0, weight_decay=0.0)
    update = next(imu.descend(how, moving, iter([imu.Objective(terms)])))
    for value, old, gradient in zip(moving, before, expected):
        assert cases.close(value, old - 0.1 * gradient, within=1e-5)
    assert set(update.terms) >= {"ascent_gradient", "spread_gradient", "largest_gradient"}
    with pytest.raises(RuntimeError):  # the last term that needs it lets the graph go
        losses.mean().backward()


def test_step_norm_keeps_the_direction_of_a_step_that_single_precision_would_lose() -> None:
    """A step of 1e-9 on weights of 0.3: the scaled step is the gradient's direction, and not that of rounding."""
    task, model = cases.task("toy"), cases.original("toy")
    how = {"momentum": 0.0, "weight_decay": 0.0, "step_norm": 0.7}
    made = [follow(task, model, "imu", weights_of(40), 1, lr=lr, **how)[2] for lr in (1.0, 1e-9)]
    ahead, tiny = (torch.cat([(b - a).flatten() for a, b in zip(*states)]) for states in made)
    assert cases.close(tiny, ahead, 1e-5)
