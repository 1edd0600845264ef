"""Models on a device of their own: where they are made on any machine; and on one with a GPU that verbs answer as on a CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.tasks.protocol import Task

OWN = ("digits class", "person", "sequence", "language")  # tasks that make their models themselves
WITHIN = 1e-3  # of the largest value, as in all tests of single precision


@pytest.mark.parametrize("name", OWN)
def test_models_are_made_where_the_task_says_and_with_the_same_weights(name: str) -> None:
    task = cases.task(name)
    assert next(replace(task, device="meta").make_model(0).parameters()).device.type == "meta"
    one, other = (replace(task, device=device).make_model(3).state_dict() for device in (None, "cpu"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("device", ["tpu9", "cuda:99"])
@pytest.mark.parametrize("name", OWN)
def test_a_device_that_is_not_there_is_refused_in_words(name: str, device: str) -> None:
    with pytest.raises(
        ValueError, match=f"device='{device}' is none that models can be on here: .*; leave it out for the CPU"
    ):
        replace(cases.task(name), device=device).make_model(0)


def test_data_of_a_users_own_say_where_through_their_own_argument() -> None:
    with pytest.raises(ValueError, match="device say nothing of a model and data of your own"):
        replace(cases.task("own data"), device="meta")


@pytest.fixture
def gpu() -> str:
    """A GPU, for the tests that follow."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here: that a GPU answers as the CPU does is tested where there is one")
    return "cuda"


def pushed(task: Task, model: nn.Module, reference: nn.Module, **how: Any) -> Run:
    """A short run with the weights of the paper."""
    weights = imu.intensity(imu.influence(task, model))
    return imu.unlearn(task, model, weights, steps=4, lr=1e-2, reference=reference, **how)


def loaded(task: Task, model: nn.Module, reference: nn.Module, folder: Path) -> Run:
    """A run that was saved, and went on from its file."""
    pushed(task, model, reference).save(folder / "run.imu", overwrite=True)
    return imu.again(imu.load_run(folder / "run.imu", task, model), steps=2, reference=reference)


ASKED: dict[str, Callable[[Task, nn.Module, nn.Module, Path], Any]] = {
    **{
        f"influence, {name}": lambda t, m, r, _, name=name: imu.influence(t, m, name).values
        for name in ("exact", "kfac")
    },
    # So few steps go another way from another start.
    "influence, arnoldi": lambda t, m, r, _: imu.influence(t, m, "arnoldi", steps=4).values,
    "evaluate": lambda t, m, r, _: t.evaluate(m, "test"),
    "unlearn": lambda t, m, r, _: pushed(t, m, r),
    "unlearn, uncached": lambda t, m, r, _: pushed(t, m, r, cache=False),
    "unlearn, cf-k": lambda t, m, r, _: imu.unlearn(t, m, method="cf-k", steps=2, lr=1e-3),
    "fork": lambda t, m, r, _: imu.fork(pushed(t, m, r), 2, lr=5e-3),
    "save, load, go on": loaded,
    "what if": lambda t, m, r, _: imu.what_if(pushed(t, m, r), drop=t.split("forget").ids[:1].tolist()),
    "collateral": lambda t, m, r, _: imu.collateral(pushed(t, m, r)).sort_values("example").select_dtypes("number"),
}


def numbers(answer: Any) -> list[Any]:
    """The numbers of an answer, a quantity at a time."""
    if isinstance(answer, Run):
        states = [value.cpu() for value in answer.model.state_dict().values()]
        return [*states, *(rows["value"] for _, rows in answer.curve.groupby(["split", "metric"]))]
    if hasattr(answer, "columns"):
        return [answer[column] for column in answer]
    return [*map(np.asarray, answer.values())] if isinstance(answer, dict) else [answer]


@pytest.mark.slow
@pytest.mark.parametrize("question", ASKED)
@pytest.mark.parametrize("name", cases.TASKS)
def test_a_gpu_answers_as_the_cpu_does(
    gpu: str, name: str, question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # else convolutions have ten bits
    task, models = cases.task(name), (cases.original(name), cases.retrained(name))
    there = [copy.deepcopy(each).to(gpu) for each in models]
    before = cases.frozen(there[0])
    found = numbers(ASKED[question](task, *there, tmp_path))
    expected = numbers(ASKED[question](task, *models, tmp_path))
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert cases.relative(one, other) < WITHIN
    assert cases.same(before, there[0])


@pytest.mark.slow
def test_shadow_heads_forget_by_the_runs_own_estimator_on_a_gpu(gpu: str) -> None:
    task, models = (
        cases.task("digits fraction"),
        (cases.original("digits fraction"), cases.retrained("digits fraction")),
    )
    table = imu.u_lira(pushed(task, *(copy.deepcopy(each).to(gpu) for each in models)), pairs=8)
    assert np.isfinite(table["ratio"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_models_are_trained_on_a_gpu(gpu: str, name: str) -> None:
    model = imu.train(replace(cases.task(name), device=gpu), "retain", seed=5)
    assert {value.device.type for value in model.state_dict().values()} == {gpu}
    run = imu.unlearn(replace(cases.task(name), device=gpu), model, steps=2, lr=1e-2)
    assert run.value("forget", "loss") > run.value("forget", "loss", 0)
