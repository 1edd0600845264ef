"""A run keeps the statistic of the training set that it used: whatever is made from the run works from that of its original."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import cases
import pytest
import torch
from linear_heads import own

import imu_lab as imu
from imu_lab.core.labels import told_apart
from imu_lab.tasks.protocol import Examples

LONG = {"method": "curvature-ascent", "lr": 0.1, "steps": 6, "momentum": 0.0, "batch_size": 999}


@dataclass(frozen=True)
class Gone(imu.tasks.Toy):
    """The blobs once their training set is gone."""

    def split(self, name: str) -> Examples:
        """Any but ``train``."""
        if name == "train":
            raise RuntimeError("the training set is gone")
        return super().split(name)


@pytest.fixture(scope="module")
def alone() -> imu.Run:
    """Made with a given statistic and without the training set."""
    held = imu.statistics(cases.task("toy"), cases.original("toy"))
    return imu.unlearn(Gone(), cases.original("toy"), statistics=held, **LONG)


def test_a_given_statistic_goes_on_where_the_training_set_is_gone(alone: imu.Run, tmp_path: Path) -> None:
    loaded = imu.load_run(alone.save(tmp_path / "run.imu"), task=Gone())
    assert loaded.statistics.digest == alone.statistics.digest == alone.settings["statistics"]["digest"]
    some = int(alone.samples["example"][0])
    for run in (alone, loaded):
        others = [imu.again(run), imu.again(run, weights=None, seed=1), imu.fork(run, 2), imu.what_if(run, drop=[some])]
        for other in [*others, imu.fork(others[2], 4)]:
            assert other.settings["statistics"] == alone.settings["statistics"]
    with pytest.raises(RuntimeError, match="gone"):  # a part that the run did not use
        imu.again(alone, factors="diagonal")


@pytest.mark.few(2)
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("how", [{}, {"factors": "inputs"}, {"factors": "exact"}, {"method": "joint-ascent"}])
def test_a_fork_that_changes_nothing_is_the_run(how: dict, loaded: bool, tmp_path: Path) -> None:
    task, model = own(torch.float64)
    asked = LONG | how
    asked = {name: value for name, value in asked.items() if how.get("method") is None or name != "batch_size"}
    run = imu.unlearn(task, model, **asked)
    run = imu.load_run(run.save(tmp_path / "run"), task=task) if loaded else run
    for known in (run, replace(run, statistics=None)):  # as a file of an earlier version has it
        other = imu.fork(known, 3)
        for name, value in run.model.state_dict().items():
            assert cases.close(other.model.state_dict()[name], value, within=1e-12)
    assert other.settings["statistics"]["digest"] == run.settings["statistics"]["digest"]


def test_another_form_of_curvature_is_that_of_the_original_too() -> None:
    task, model = own(torch.float64)
    run = imu.unlearn(task, model, **LONG)
    exact = imu.fork(run, 3, factors="exact")
    assert exact.statistics.digest == imu.statistics(task, model, parts="matrix").digest


def test_another_request_changes_nothing_in_what_the_original_was_trained_on() -> None:
    task, model = own(torch.float64)
    run = imu.unlearn(task, model, statistics=imu.statistics(task, model), **LONG)
    some, ids = int(run.samples["example"][0]), task.split("train").ids.tolist()
    for how in ({"keep": [some]}, {"flip": [some]}, {"double": [some]}, {"request": ids[:3]}):
        assert imu.what_if(run, **how).settings["statistics"] == run.settings["statistics"]


def test_what_the_user_gives_is_checked_against_the_original() -> None:
    task, model = own(torch.float64)
    run = imu.unlearn(task, model, **LONG)
    assert imu.fork(run, 3, statistics=imu.statistics(task, model)).settings["statistics"]["origin"] == "given"
    with pytest.raises(ValueError, match="another model"):
        imu.fork(run, 3, statistics=imu.statistics(task, run.model_at(3)))
    with pytest.raises(ValueError, match="uses no statistic"):
        imu.again(run, curvature="forget", statistics=imu.statistics(task, model))
    assert imu.again(run, curvature="forget").statistics is None


def test_given_or_computed_is_one_experiment() -> None:
    task, model = own(torch.float64)
    computed = imu.unlearn(task, model, **LONG)
    given = imu.unlearn(task, model, statistics=imu.statistics(task, model), **LONG)
    assert given.settings["statistics"]["origin"] == "given" and given.curve.equals(computed.curve)
    assert told_apart([computed, given]) == ["curvature-ascent · uniform"] * 2


def test_a_run_can_still_be_copied(alone: imu.Run) -> None:
    assert copy.deepcopy(alone).statistics.digest == alone.statistics.digest
