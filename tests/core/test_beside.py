"""The slow import beside a first computation: in a notebook's kernel, once, and never anywhere else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import threads, until

import imu_lab as imu
from imu_lab.core import beside
from imu_lab.lab import verbs
from imu_lab.tasks import checkpoints


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "slow_to_import"
    sys.modules.pop("slow_to_import", None)


def kernel(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_in_a_kernel_it_is_imported_in_the_background(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel(monkeypatch, SimpleNamespace(kernel=1))
    beside.prepare_figures(slow)
    assert threads("imu_lab import")
    until(lambda: not threads("imu_lab import"))
    assert slow in sys.modules
    beside.prepare_figures(slow)
    beside.prepare_figures("there_is_no_such_module")
    until(lambda: not threads("imu_lab import"))


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["python", "ipython in a terminal"])
def test_elsewhere_nothing_is_imported(slow: str, monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    kernel(monkeypatch, shell)
    beside.prepare_figures(slow)
    assert not threads("imu_lab import") and slow not in sys.modules


def test_training_and_influence_begin_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    for place in (checkpoints, verbs):
        monkeypatch.setattr(place, "prepare_figures", lambda: begun.append(1))
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    task = imu.tasks.Toy(seed=4)
    original = imu.train(task, recipe=imu.tasks.Recipe(epochs=1))
    assert begun == [1]
    imu.influence(task, original)
    assert begun == [1, 1]
