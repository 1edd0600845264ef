"""The same run again: identical where nothing changes, and what changes is what was named."""

from __future__ import annotations

from pathlib import Path

import cases
import numpy as np
import pytest

import imu_lab as imu


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("toy"), cases.original("toy")
    weights = imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=8, lr=0.05, seed=2, reference=cases.retrained("toy"))


def test_nothing_changed_is_the_same_run(run: imu.Run) -> None:
    twin = imu.again(run)
    assert twin.curve.equals(run.curve) and twin.trajectory.equals(run.trajectory)
    assert twin.samples.equals(run.samples) and twin.reference.equals(run.reference)
    assert twin.label == run.label


def test_a_loaded_run_can_be_made_again(run: imu.Run, tmp_path: Path) -> None:
    assert imu.again(imu.load_run(run.save(tmp_path / "run.imu"))).curve.equals(run.curve)


def test_uniform_weights_and_other_settings(run: imu.Run) -> None:
    uniform = imu.again(run, weights=None, lr=0.02, steps=3)
    assert uniform.samples["weight"].nunique() == 1 and uniform.settings["weights"]["rule"] == "uniform"
    assert uniform.settings["settings"]["lr"] == 0.02 and uniform.events["steps"] == 3
    assert uniform.samples["confidence_retrained"].equals(run.samples["confidence_retrained"])
    assert imu.again(run, method="gradient-ascent").settings["settings"]["lr"] == 3e-2, (
        "its own defaults, not the run's"
    )


def test_what_is_no_method_is_not_taken_for_none(run: imu.Run) -> None:
    for given in (0, "", [], {}, False):
        with pytest.raises((TypeError, ValueError), match="method"):
            imu.again(run, method=given)


def test_it_can_start_at_any_recorded_update(run: imu.Run) -> None:
    later = imu.again(run, start=3, momentum=0.0)
    assert later.events["steps"] == 5
    assert later.value("forget", "loss", 0) == pytest.approx(run.value("forget", "loss", 3))


def test_the_retrained_models_level_is_remembered(run: imu.Run) -> None:
    task = cases.task("toy")
    stopped = imu.unlearn(
        task, cases.original("toy"), steps=200, lr=0.1, stop_at="retrained", reference=cases.retrained("toy")
    )
    assert imu.again(stopped).events["stopped_at"] == stopped.events["stopped_at"]


def test_a_run_without_its_task_is_refused(run: imu.Run) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="does not know its task"):
        imu.again(replace(run, task=None))
    assert np.isfinite(run.value("forget", "accuracy"))


def test_given_weights_are_one_experiment_where_they_are_the_same() -> None:
    task, original = cases.task("toy"), cases.original("toy")
    rising = np.arange(1.0, 1 + len(task.split("forget")))
    runs = [imu.unlearn(task, original, each, steps=1, lr=0.05) for each in (rising, rising[::-1], 3 * rising)]
    runs.append(imu.again(runs[0], seed=1))
    first, other, *same = imu.compare(runs)["run"][:4]
    assert set(same) == {first} != {other} and first.startswith("imu · given (values ")
