"""Leaving samples out: the refitted head is at its minimum, first order is right, interrupted work goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.studies import ground_truth


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


@pytest.mark.full
def test_leaving_one_out_is_a_refit_without_it() -> None:
    """Against plain gradient descent on the remaining samples, to convergence."""
    task, model = cases.in_double("toy")
    truth = imu.leave_one_out(task, model, l2=0.05)
    train, forget = task.split("train"), task.split("forget")
    with torch.no_grad():
        features = torch.tanh(model[0](train.batch().inputs))
    labels, places = train.batch().targets, torch.searchsorted(train.ids, forget.ids)

    def converged(weights: torch.Tensor) -> float:
        values = torch.zeros(3, 9, dtype=torch.float64, requires_grad=True)
        wide = torch.cat([features, torch.ones(len(features), 1)], 1)
        optimizer = torch.optim.LBFGS(
            [values], max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def objective() -> torch.Tensor:
            optimizer.zero_grad()
            losses = torch.nn.functional.cross_entropy(wide @ values.T, labels, reduction="none")
            whole = (weights * losses).sum() / len(labels) + 0.025 * values.square().sum()
            whole.backward()
            return whole

        optimizer.step(objective)
        losses = torch.nn.functional.cross_entropy(wide @ values.T, labels, reduction="none").detach()
        return losses[places].mean().item()

    whole = converged(torch.ones(len(labels), dtype=torch.float64))
    for sample in (0, 17, 39):
        weights = torch.ones(len(labels), dtype=torch.float64)
        weights[places[sample]] = 0
        assert truth["change"][sample] == pytest.approx(converged(weights) - whole, rel=1e-4, abs=1e-9)
    assert np.array_equal(truth["example"], forget.ids)
    assert cases.close(truth["influence"].to_numpy(), -len(labels) * truth["change"].to_numpy())


@pytest.mark.slow
def test_exact_ranks_as_true_leave_one_out_on_digits() -> None:
    task = imu.tasks.Classification("digits", forget_fraction=0.03, seed=2, recipe=cases.QUICK)
    model = imu.refit(task, imu.train(task), l2=1e-3)
    truth = imu.leave_one_out(task, model, l2=1e-3)
    found = imu.linear_datamodeling_score(imu.influence(task, model, "exact", damping=1e-3, curvature="train"), truth)
    assert found.spearman >= 0.99 and found.low >= 0.95 and found.units == 43
    scores = imu.influence(task, model, "exact", damping=1e-3, curvature="train")
    assert imu.linear_datamodeling_score(scores, truth.sort_values("change")).spearman == pytest.approx(found.spearman)
    with pytest.raises(ValueError, match="1 of .* samples left out have no score"):
        imu.linear_datamodeling_score(scores, truth.assign(example=truth["example"].replace(truth["example"][0], -1)))
    own = imu.linear_datamodeling_score(imu.influence(task, model, "exact", damping=1e-3), truth)
    plain = imu.linear_datamodeling_score(imu.influence(task, model, "gradient-dot"), truth)
    assert plain.spearman < own.spearman < found.spearman


@pytest.mark.full
def test_groups_of_one_are_leave_one_out_and_sums_predict_groups() -> None:
    task, model = cases.in_double("toy")
    alone = imu.leave_one_out(task, model, l2=0.05, target="test")
    groups = imu.leave_groups_out(task, model, [[3], [0]], l2=0.05, target="test")
    assert cases.close(groups["change"].to_numpy(), alone["change"][[3, 0]].to_numpy(), within=1e-6)
    drawn = imu.leave_groups_out(task, model, 20, share=0.2, l2=0.05, target="test")
    assert drawn["positions"].map(len).eq(8).all() and len(drawn) == 20
    refitted = imu.refit(task, model, l2=0.05)
    scores = imu.influence(task, refitted, "exact", damping=0.05, curvature="train", target="test")
    assert imu.linear_datamodeling_score(scores, drawn).spearman >= 0.9


def test_a_small_network_retrained_is_training_without_the_group() -> None:
    task = replace(cases.task("toy"), per_class=12)
    model = imu.train(task)
    found = imu.leave_groups_out(task, model, [range(12)], way="network", target="forget")
    without = ground_truth.mean_loss(task, imu.train(task, "retain"), task.split("forget"))
    change = without - ground_truth.mean_loss(task, model, task.split("forget"))
    assert cases.close(found["change"][0], change, within=1e-5, of=without)


def test_an_interrupted_retraining_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    task = imu.tasks.Toy(per_class=6, seed=5)
    model, made = task.make_model(0), []

    def counted(self: imu.tasks.Toy, seed: int) -> torch.nn.Module:
        made.append(seed)
        if len(made) == 4:
            raise KeyboardInterrupt
        return original(self, seed)

    original = imu.tasks.Toy.make_model
    monkeypatch.setattr(imu.tasks.Toy, "make_model", counted)
    with pytest.raises(KeyboardInterrupt):
        imu.leave_one_out(task, model, way="network")
    first = len(made)
    again = imu.leave_one_out(task, model, way="network")
    assert len(made) - first == 1 + 4, "the whole set and the four that were missing"
    assert again["change"].notna().all()
    (path,) = (tmp_path / "ground_truth").glob("*.npy")
    path.write_bytes(b"broken")
    assert cases.close(imu.leave_one_out(task, model, way="network")["change"].to_numpy(), again["change"].to_numpy())


def test_bad_input_is_refused() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    with pytest.raises(ValueError, match="l2 must be above 0, got 0"):
        imu.leave_one_out(task, model, l2=0)
    with pytest.raises(ValueError, match="way must be one of head, network; got 'both'"):
        imu.leave_one_out(task, model, way="both")
    with pytest.raises(ValueError, match="positions in the forget set, 0 to 39, and none may be empty"):
        imu.leave_groups_out(task, model, [[1, 40]])
    with pytest.raises(ValueError, match="only one linear layer .* the whole model. Use way='network'"):
        imu.refit(replace(task, readout="all"), model)
    with pytest.raises(ValueError, match="3 scores do not fit 2 samples"):
        imu.linear_datamodeling_score(np.arange(3), pd.DataFrame({"change": [0, 0], "influence": [1, 2]}))
    with pytest.raises(ValueError, match="a rank correlation needs 3 values or more, got 2"):
        imu.linear_datamodeling_score(np.arange(2), pd.DataFrame({"change": [0, 0], "influence": [1, 2]}))


def test_groups_are_of_the_forget_set_that_the_scores_are_of() -> None:
    """Positions in one forget set are other samples in a larger one."""
    task, model = cases.task("toy"), cases.original("toy")
    truth = imu.leave_groups_out(task, model, [[0, 1], [2], [3, 4]])
    assert imu.linear_datamodeling_score(np.arange(40.0), truth).units == 3
    for scores in (np.arange(41.0), np.arange(39.0)):
        with pytest.raises(ValueError, match=f"{len(scores)} scores do not fit the groups of a forget set of 40"):
            imu.linear_datamodeling_score(scores, truth)
    for wrong, words in (
        ({"share": 2.0}, "share is of the forget set"),
        ({"groups": 2.5}, "groups must be a whole number >= 1"),
    ):
        with pytest.raises(ValueError, match=words):
            imu.leave_groups_out(task, model, **wrong)
