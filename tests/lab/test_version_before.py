"""A run that the version before has saved still loads, and does all that a run of today does.

The file was written by commit 0d5c8ad: the blobs, shuffled weights of a rule with settings of its own, six updates of
which every second is recorded, two metrics followed and a retrained model beside.
"""

from __future__ import annotations

from pathlib import Path

import cases
import pytest

import imu_lab as imu

SAVED = Path(__file__).parent / "data" / "run_of_the_version_before.imu"


@pytest.fixture(scope="module")
def old() -> imu.Run:
    """The run, loaded by today's code."""
    return imu.load_run(SAVED)


def test_its_numbers_are_those_that_it_was_saved_with(old: imu.Run) -> None:
    assert old.steps.tolist() == [0, 2, 4, 6] and old.kept_steps == [0, 2, 4, 6]
    expected = {"accuracy": (0.8, 0.9875), "kl_retrained": (2.925518, 0.010060), "agreement": (0.2, 1.0)}
    for metric, values in expected.items():
        assert [old.value(split, metric) for split in ("forget", "retain")] == pytest.approx(values, rel=1e-5)
    sums = {name: value.double().abs().sum().item() for name, value in old.model.state_dict().items()}
    expected = {"0.weight": 11.1337182, "0.bias": 2.2762939, "2.weight": 18.4221412, "2.bias": 1.0985134}
    assert sums == pytest.approx(expected, rel=1e-7)
    assert old.label == "imu · shuffled" and old.settings["weights"]["settings"]["of"] == "sqrt-clipped"


def test_its_task_and_models_are_there(old: imu.Run) -> None:
    assert old.task == cases.task("toy")
    for step in old.kept_steps:
        measured = old.task.evaluate(old.model_at(step), "forget")["accuracy"]
        assert measured == pytest.approx(old.value("forget", "accuracy", step))


def test_it_can_be_made_again_forked_compared_and_saved(old: imu.Run, tmp_path: Path) -> None:
    repeated = imu.again(old)
    assert repeated.samples["weight"].tolist() == old.samples["weight"].tolist()
    forked = imu.fork(old, 4, lr=0.1)
    table = imu.compare([old, repeated, forked])
    assert {old.label, forked.label} <= set(table["run"]) and len(table) >= 3
    assert len(imu.resistance(old)) == len(old.samples) == 40
    back = imu.load_run(old.save(tmp_path / "again.imu"))
    assert back.curve.equals(old.curve) and back.settings == old.settings


def test_it_is_drawn(old: imu.Run) -> None:
    assert imu.plot_curves([old]).data and imu.plot_trajectories(old).data
    assert "forget accuracy 0.800" in repr(old) and "retrained" in old._repr_html_()
