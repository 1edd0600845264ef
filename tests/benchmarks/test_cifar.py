"""The command that makes CIFAR-10's models: a line for each, nothing trained twice, taken up where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import cifar
from imu_lab.tasks import announced, training


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty tiny pictures of each of three classes, and an empty place for checkpoints."""
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        for at, name in enumerate(("airplane", "bird", "cat")):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = (rng.integers(0, 60, (8, 8, 3)) + 80 * at).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pictures" / split / name / f"{k:04}.png")
    return tmp_path / "pictures"


def test_every_model_is_made_once_and_told_of(folder: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    asked = [str(folder), "--seeds", "0", "1", "--epochs", "1"]
    cifar.main(asked)
    told = capsys.readouterr().out
    assert "60 train and 30 test" in told and "trains 6 models, about" in told and "should reach 0.85" in told
    assert [line.split("  ")[:2] for line in told.splitlines() if line.startswith("seed")] == [
        [f"seed {seed}", name]
        for seed in (0, 1)
        for name in ("original", "without the class request", "without the random request")
    ]
    monkeypatch.setattr(training.Training, "_update", lambda *_: pytest.fail("it was trained already"))
    cifar.main(asked)
    assert "trains" not in capsys.readouterr().out


def test_an_original_below_what_it_should_reach_is_an_error(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cifar, "WHOLE", cifar.WHOLE._replace(least=0.0))
    assert cifar.main([str(folder), "--seeds", "0", "--epochs", "1", "--requests", "random"]) == 0
    monkeypatch.setattr(cifar, "WHOLE", cifar.WHOLE._replace(least=1.1))
    assert cifar.main([str(folder), "--seeds", "0", "--epochs", "1", "--requests", "random"]) == 1
    assert "should reach 1.10: it does not" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "device"), [([], None), (["--device", "cpu"], "cpu")])
def test_the_models_are_where_the_command_says(given: list[str], device: str | None, folder: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(cifar, "models", lambda tasks, _: asked.extend(task.device for task in tasks.values()) or [])
    cifar.main([str(folder), *given])
    assert asked == [device, device]


def test_a_tenth_of_each_class(folder: Path, capsys: pytest.CaptureFixture) -> None:
    cifar.main([str(folder), "--tenth", "--seeds", "0", "--epochs", "1", "--requests", "class"])
    assert "6 train and 3 test" in capsys.readouterr().out


@pytest.mark.full
def test_it_goes_on_where_it_was_stopped(folder: Path, capsys, monkeypatch) -> None:
    made, real = [], training.Training._update

    def stops(self: training.Training, batch: object) -> None:
        made.append(self.epoch)
        if len(made) == 12:
            raise KeyboardInterrupt
        real(self, batch)

    asked = [str(folder), "--seeds", "0", "--epochs", "9", "--requests", "random"]
    monkeypatch.setattr(announced, "LONG_ENOUGH", float("inf"))  # as many updates as that on every machine
    monkeypatch.setattr(training.Training, "_update", stops)
    with pytest.raises(KeyboardInterrupt):
        cifar.main(asked)
    assert made == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], (
        "twice a few updates to tell how long it will take, then three epochs"
    )
    del made[:]
    monkeypatch.setattr(training.Training, "_update", lambda self, batch: (made.append(self.epoch), real(self, batch)))
    cifar.main(asked)
    assert made[8:] == [*range(3, 9), *range(9)], "the original goes on after its third epoch"
