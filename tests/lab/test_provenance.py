"""Settings survive JSON, and make the task again where they can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.lab.provenance import plain, task_again, task_settings, versions

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = """
from importlib.metadata import Distribution, PackageNotFoundError
known = Distribution.from_name
def found(name):
    if name == "imu_lab":
        raise PackageNotFoundError(name)
    return known(name)
Distribution.from_name = found
import imu_lab
"""


@pytest.mark.parametrize("task", [
    imu.tasks.Toy(forget_blob=1, per_class=9, seed=2, readout=("2",)),
    imu.tasks.Classification("digits", forget_class="3"),
    imu.tasks.Classification("digits", forget_class=np.int64(3)),
    imu.tasks.Classification("digits", forget_fraction=0.1, seed=4, recipe=cases.QUICK, readout="all"),
    imu.tasks.Classification("digits", forget_indices=[5, 2], architecture="resnet-20"),
], ids=repr)  # fmt: skip
def test_a_task_is_made_again_from_its_settings(task: object) -> None:
    again = task_again(json.loads(json.dumps(task_settings(task))))
    assert again == task and hash(again) == hash(task)


def test_a_users_own_data_cannot_be_made_again_from_settings() -> None:
    assert task_settings(cases.task("own data")) is None and task_settings(cases.Tokens()) is None
    assert task_again(None) is None


def test_a_task_of_another_version_or_without_its_data_is_no_task() -> None:
    assert task_again({"kind": "NoSuchTask", "settings": {}}) is None
    gone = {"kind": "Classification", "settings": {"data": "/no/such/folder", "forget_class": 0}}
    assert task_again(gone) is None
    assert task_again({"kind": "Toy", "settings": {"no_such_setting": 1}}) is None


def test_settings_are_plain_values() -> None:
    method = imu.methods.create("imu", lr=np.float32(0.5), batch_size=np.int64(7))
    assert json.loads(json.dumps(plain(method))) == plain(method)
    assert plain(method)["batch_size"] == 7 and plain(method)["lr"] == 0.5
    assert plain(len) == {"repr": repr(len)}


def test_versions_name_what_ran() -> None:
    assert versions()["imu_lab"] == imu.__version__ and "torch" in versions()


@pytest.mark.parametrize(("file", "wording"), [("pyproject.toml", 'version = "{}"'), ("CITATION.cff", "version: {}")])
def test_the_version_is_one_wherever_it_is_written(file: str, wording: str) -> None:
    assert wording.format(imu.__version__) in (ROOT / file).read_text("utf-8").splitlines()


@pytest.mark.slow
def test_a_checkout_that_nobody_installed_can_be_imported() -> None:
    subprocess.run([sys.executable, "-c", NOT_INSTALLED], cwd=ROOT, check=True)
