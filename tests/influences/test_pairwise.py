"""Influence pair by pair, and the targets that a user can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.tasks.protocol import Examples, Task


@pytest.mark.few(1)
@pytest.mark.parametrize("scope", [None, pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("against", ["forget", "retain"])
def test_it_equals_its_dense_definition(scope: str | None, against: str) -> None:
    model = cases.conv_net().double()
    task = cases.own_data(model, torch.float64, readout=scope, forget_class=1)
    each, others = (explicit(task, model, task.split(name)) for name in ("forget", against))
    found = imu.influence_matrix(task, model, damping=0.1, against=against)
    expected = -(each / (each.square().mean(0) + 0.1)) @ others.T
    assert cases.relative(torch.as_tensor(found.values), expected) <= 1e-9
    assert np.array_equal(found.against, task.split(against).ids) and found.source == "train"


@pytest.mark.few(1)
@pytest.mark.parametrize("estimator", ["fisher-diagonal", "gradient-dot", "exact", "kfac"])
def test_the_mean_over_columns_is_the_influence_on_the_mean(estimator: str) -> None:
    task, model = cases.in_double("digits fraction")
    matrix = imu.influence_matrix(task, model, estimator, against=("test", range(20)))
    scores = imu.influence(task, model, estimator, target=("test", range(20)))
    assert cases.close(matrix.values.mean(1), scores.values, within=1e-6)
    full = imu.influence_matrix(task, model, estimator, against=("test", range(20)), cache=False)
    assert cases.close(full.values, matrix.values, within=1e-6)
    assert matrix.frame.shape == (matrix.values.size, 3) and str(len(scores)) in repr(matrix)


def test_proponents_and_opponents() -> None:
    values = np.array([[-5.0, 1.0], [-1.0, -2.0], [3.0, 0.0], [0.5, -9.0]])
    matrix = imu.InfluenceMatrix(values, np.array([10, 11, 12, 13]), np.array([10, 99]), "train", {"estimator": "x"})
    found = imu.proponents(matrix, 10, k=2)
    assert found["example"].tolist() == [11, 12, 13] and found["role"].tolist() == ["proponent", "opponent", "opponent"]
    assert imu.proponents(matrix, 10, itself=True)["example"].tolist() == [10, 11, 12, 13]
    assert imu.proponents(matrix, 99, k=1)["example"].tolist() == [13, 10]
    assert found["rank"].tolist() == [1, 1, 2] and found["influence"].tolist() == [-1.0, 3.0, 0.5]
    with pytest.raises(imu.UnknownName, match="unknown example in this matrix: 7. Known: 10, 99"):
        imu.proponents(matrix, 7)


def test_a_matrix_that_does_not_fit_is_refused_before_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = cases.task("toy"), cases.original("toy")
    monkeypatch.setattr(imu.estimators["gradient-dot"], "preconditioner", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(
        MemoryError, match="40 samples on 120 others need 0.0 MiB, more than the limit of 0.0 MiB; give f"
    ):
        imu.influence_matrix(task, model, "gradient-dot", against="train", limit=1000)


def test_an_estimator_without_a_preconditioner_is_refused() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    with pytest.raises(
        ValueError, match="el2n has no preconditioner, .*those that have one: 'exact', 'curvature', 'fisher-diagonal'"
    ):
        imu.influence_matrix(task, model, "el2n")


# targets


def test_a_class_as_a_target_is_all_its_training_examples() -> None:
    task, model = cases.task("digits fraction"), cases.original("digits fraction")
    labels = task.split("train").batch().targets
    expected = imu.influence(task, model, target=("train", (labels == 4).nonzero().flatten())).values
    for cache in (True, False):
        assert cases.close(imu.influence(task, model, target=("class", 4), cache=cache).values, expected, within=1e-3)
    assert cases.close(imu.influence(task, model, target=("class", "4")).values, expected)
    toy = imu.influence(cases.task("toy"), cases.original("toy"), target=("class", 0)).values
    assert cases.close(toy, imu.influence(cases.task("toy"), cases.original("toy")).values, within=1e-5)


def test_one_test_sample_as_a_target() -> None:
    task, model = cases.in_double("toy")
    each, one = explicit(task, model, task.split("forget")), explicit(task, model, task.split("test"))[7]
    found = imu.influence(task, model, "gradient-dot", target=("test", 7)).values
    assert cases.close(found, (-each @ one).numpy(), within=1e-9)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (("class", 12), imu.UnknownName, "unknown class in the training set: 12.*Known: 0, 1"),
        (("test", 4000), ValueError, r"target \('test', 4000\): split 'test' has positions 0 to"),
        (("test", -1), ValueError, "split 'test' has positions 0 to"),
        (("test", []), ValueError, "holds no examples"),
        (("class", 1, 2), TypeError, "A class is"),
    ],
)
def test_a_target_that_is_not_there_is_refused(target: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        imu.influence(cases.task("digits fraction"), cases.original("digits fraction"), target=target)


def test_damping_that_exact_cannot_use_is_refused() -> None:
    with pytest.raises(ValueError, match=r"exact needs damping in \(0, inf\), got 0"):
        imu.influence(cases.task("toy"), cases.original("toy"), "exact", damping=0)


def test_the_matrix_follows_the_readout_of_the_task() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    head, all_of_it = (
        imu.influence_matrix(replace(task, readout=r), model, against=("test", 0)).values for r in (None, "all")
    )
    assert cases.relative(head, all_of_it) > 0.01


def test_a_users_estimator_with_a_preconditioner_is_known_pair_by_pair_and_one_without_is_not() -> None:
    @dataclass(frozen=True)
    class Doubled(imu.Estimator):
        """Twice the plain product of gradients."""

        def preconditioner(self, task: Task, model: nn.Module, forget: Examples) -> Callable:
            return lambda gradient: {name: 2 * part for name, part in gradient.items()}

    task, model = cases.task("toy"), cases.original("toy")
    pairs, plain = imu.influence_matrix(task, model, Doubled()), imu.influence_matrix(task, model, "gradient-dot")
    assert cases.relative(pairs.values, 2 * plain.values) <= 1e-6

    @dataclass(frozen=True)
    class Bare(imu.Estimator):
        """Says nothing of pairs."""

    with pytest.raises(ValueError, match="Bare has no preconditioner"):
        imu.influence_matrix(task, model, Bare())


def test_what_could_be_names_or_positions_is_asked_back() -> None:
    with pytest.raises(ValueError, match="could mean names or positions"):
        imu.influence_matrix(cases.task("toy"), cases.original("toy"), against=("train", pd.Index([3, 1])))
