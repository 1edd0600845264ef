"""Distances to a reference: hand-computed values, invariances, and outputs that are computed once and row by row."""

from __future__ import annotations

import copy

import cases
import pytest
import sequences
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.messages import unheard
from imu_lab.measures import Reference
from imu_lab.tasks.protocol import Batch

NAMES = ("kl-retrained", "js-retrained", "agreement")
BATCH = Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
P = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5]])
Q = torch.tensor([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1]])


def between(name: str, outputs: torch.Tensor, reference: torch.Tensor) -> list[float]:
    """A distance of two examples."""
    return imu.metrics.create(name).between(cases.task("toy"), outputs, reference, BATCH).tolist()


def test_values_by_hand() -> None:
    kl = [
        0.5 * torch.log(torch.tensor(0.5 / 0.8)) + 0.5 * torch.log(torch.tensor(0.25 / 0.1)),
        0.6 * torch.log(torch.tensor(3.0)) + 0.1 * torch.log(torch.tensor(0.2)),
    ]
    assert cases.close(between("kl-retrained", P.log(), Q.log()), [value.item() for value in kl], within=1e-6)
    middle = (P + Q) / 2
    js = ((P * (P / middle).log()).sum(1) + (Q * (Q / middle).log()).sum(1)) / 2
    assert cases.close(between("js-retrained", P.log(), Q.log()), js.tolist(), within=1e-6)
    assert between("agreement", P.log(), Q.log()) == [1.0, 0.0]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_classes_and_shifts_of_the_logits_do_not_matter(name: str) -> None:
    order = torch.tensor([2, 0, 1])
    plain = between(name, P.log(), Q.log())
    assert cases.close(between(name, P.log()[:, order] + 3, Q.log()[:, order] - 5), plain, within=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (4, 1)])
def test_beside_several_it_is_the_mean_of_the_distances_for_each_of_several_models(name: str, shape: tuple) -> None:
    chance = torch.Generator().manual_seed(0)
    made, *references = (torch.randn(size, *shape[1:], generator=chance) for size in (8, 4, 4, 4))
    references[0][0] = 200 * torch.eye(3)[1].expand(shape[1:]) if shape[-1] == 3 else 200  # sure, so that others are 0
    batch, metric = Batch(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64)), imu.metrics.create(name)
    found = metric.against(cases.task("toy"), made, references, batch, 2)
    both = [[metric.between(cases.task("toy"), half, each, batch) for each in references] for half in made.split(4)]
    assert cases.close(found, torch.cat([torch.stack(half).mean(0) for half in both]), within=1e-5)


def test_jensen_shannon_is_symmetric_and_bounded() -> None:
    assert between("js-retrained", P.log(), Q.log()) == pytest.approx(between("js-retrained", Q.log(), P.log()))
    sure = 100 * torch.eye(3)[[0, 1]]
    assert cases.close(between("js-retrained", sure, sure.flip(0)), [0.693147] * 2, within=1e-5)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", ["toy", "digits class", "own data"])
def test_a_model_is_at_the_goal_beside_itself_on_every_split(name: str, given: str) -> None:
    task, model = cases.task(given), cases.original(given)
    found = imu.metrics.create(name)(task, model, model)
    goal = 1.0 if name == "agreement" else 0.0
    assert list(found) == list(getattr(task, "splits", ("forget", "retain", "test")))
    assert all(values == {name.replace("-", "_"): pytest.approx(goal, abs=1e-6)} for values in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_any_task_can_follow_a_distance(name: str) -> None:
    task, original, retrained = cases.task("toy"), cases.original("toy"), cases.retrained("toy")
    column = name.replace("-", "_")
    runs = [
        imu.unlearn(task, original, steps=3, reference=retrained, follow=[name], cache=cache) for cache in (True, False)
    ]
    direct = imu.metrics.create(name)(task, runs[0].model, retrained)
    for split, values in direct.items():
        assert runs[0].value(split, column) == pytest.approx(values[column], abs=1e-6)
        assert cases.close(runs[0].series(split, column).tolist(), runs[1].series(split, column).tolist(), within=1e-5)
    assert (runs[0].label, runs[0].settings["follow"]) == (runs[1].label, [{"metric": name, "settings": {}}])
    goal = (column, ">=", 1e3)  # farther than any of them gets in one update
    stopping = imu.unlearn(task, original, steps=1, reference=retrained, stop_at=goal, follow=[name])
    assert column in stopping.reference["metric"].tolist()


def test_outputs_are_computed_once_per_content() -> None:
    task, model = sequences.tiny(), copy.deepcopy(sequences.models()[1])
    calls: list[int] = []
    hook = nn.Module.register_forward_hook(model, lambda *_: calls.append(1))
    reference = Reference(task, model)
    ids = task.split("test").ids
    first = reference.outputs("test", ids)
    assert reference.outputs("test", ids) is first and len(calls) == 1
    hook.remove()
    assert cases.close(first, model(task.split("test").batch().inputs), within=1e-6)
    session = imu.Session(task, sequences.models()[0])
    assert session._beside(model) is session._beside(copy.deepcopy(model))
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.head.bias += 1
    assert session._beside(changed) is not session._beside(model)


def test_another_tasks_reference_is_refused() -> None:
    model = imu.train(
        sequences.tiny(), "retain"
    )  # what it was trained on is told anew, should caches have been cleared
    with unheard() as said:
        reference = Reference(sequences.tiny(forget_sources=(0,)), model)
    assert "retrained for another request" in said[0]
    with pytest.raises(
        ValueError, match="the retrained model was measured on .* examples of 'forget', and these are .* others"
    ):
        imu.metrics.create("kl-retrained")(sequences.tiny(), sequences.models()[0], reference)


def test_a_metric_of_ones_own_is_followed() -> None:
    class Largest:
        """The largest logit of each split."""

        name = "largest"

        def __call__(self, task: imu.tasks.Task, model: nn.Module, reference: object = None) -> dict:
            """{split: {metric: value}}."""
            return {"test": {"largest": model(task.split("test").batch().inputs).max().item()}}

    from dataclasses import dataclass

    own = dataclass(frozen=True)(Largest)()
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, follow=[own])
    assert len(run.series("test", "largest")) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("whose", ["model", "reference"])
def test_a_model_that_answers_nan_is_at_no_distance(name: str, whose: str) -> None:
    """0 would say that it is the retrained model itself."""
    broken = P.log().clone()
    broken[0] = torch.nan
    sides = (broken, Q.log()) if whose == "model" else (Q.log(), broken)
    found = between(name, *sides)
    assert found[0] != found[0] and found[1] == between(name, *(each[1:].repeat(2, 1) for each in sides))[1]
    metric, task = imu.metrics.create(name), cases.task("toy")
    made, *others = sides[0], sides[1], Q.log()
    several = metric.against(task, made, others, BATCH, 1)
    assert several[0].isnan() and several[1].isfinite()


def test_an_answer_that_the_retrained_model_rules_out_still_adds_nothing() -> None:
    first, second = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.0, 0.5, 0.5]]).log()
    wanted = 0.5 * (torch.tensor(0.5 / 0.5).log() + torch.tensor(0.5 / 0.25).log()).item()
    assert between("kl-retrained", Q[:1].log(), first)[0] == pytest.approx(wanted, rel=1e-5)
    assert between("kl-retrained", second, first) == [float("inf")]
    assert between("js-retrained", second, first)[0] == pytest.approx(0.5 * torch.tensor(2.0).log().item(), rel=1e-5)


def test_a_retrained_model_that_diverged_is_refused_before_any_update() -> None:
    task, broken = cases.task("toy"), copy.deepcopy(cases.original("toy"))
    with torch.no_grad():
        for value in broken.parameters():
            value.fill_(torch.nan)
    with pytest.raises(ValueError, match="loss of the retrained model on the samples to forget is NaN"):
        imu.unlearn(task, cases.original("toy"), steps=2, lr=0.1, reference=broken)
    with pytest.raises(ValueError, match="retrained model cannot answer the task's examples: .*dtype.*; pass one"):
        imu.unlearn(
            task, cases.original("toy"), steps=2, lr=0.1, reference=copy.deepcopy(cases.original("toy")).double()
        )
