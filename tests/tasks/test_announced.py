"""Work that trains says so first, with a time that was measured, and which model it is at."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import cases
import pytest

import imu_lab as imu
from imu_lab.tasks import announced, checkpoints, training
from imu_lab.tasks.announced import announcement, duration, measured
from imu_lab.tasks.protocol import own_data_key


class Bar:
    """Stands for tqdm, and remembers what it was told."""

    made: list[Bar] = []

    def __init__(self, total: int, desc: str, **_: Any) -> None:
        self.total, self.n, self.said, self.closed = total, 0, [desc], False
        Bar.made.append(self)

    def update(self, by: int = 1) -> None:
        """As many more."""
        self.n += by

    def set_description(self, words: str) -> None:
        """Say something else."""
        self.said.append(words)

    def close(self) -> None:
        """The end."""
        self.closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[Bar]:
    """The bars that are made, of models that were never trained before."""
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    monkeypatch.setattr(announced, "tqdm", Bar)
    monkeypatch.setattr(Bar, "made", [])
    imu.clear_caches()
    return Bar.made


TASK = imu.tasks.Toy(per_class=12, seed=3)


def explained(**how: Any) -> Any:
    """The explanation of a run of the toy."""
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=30, lr=0.1)
    return imu.explain_resistance(run, **how)


WORK: dict[str, tuple[Callable[[], Any], int, str]] = {
    "explain_resistance": (lambda: explained(folds=3), 4, "training=False leaves them out"),
    "leave_one_out": (lambda: imu.leave_one_out(TASK, TASK.make_model(0), way="network"), 13, 'way="head" refits'),
    "leave_groups_out": (lambda: imu.leave_groups_out(TASK, TASK.make_model(0), 3, way="network"), 4, 'way="head"'),
    "trial": (lambda: imu.trial(TASK, {"a": {}}, at_forget=0.5, seeds=range(2), steps=2), 2, "seeds= says how many"),
    "references": (lambda: imu.references(TASK, seeds=range(3)), 3, "models= takes your own"),
    "checkpoints": (lambda: imu.checkpoints(TASK), 1, "checkpoints(run) takes those of a run"),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", WORK)
def test_it_is_announced_first_and_followed_model_by_model(name: str, bars: list[Bar], caplog: Any) -> None:
    work, count, way_out = WORK[name]
    cases.original("toy")
    del bars[:]
    with caplog.at_level(logging.INFO, logger=announced.__name__):
        work()
    (bar,) = bars
    models = f"{count} models, about [0-9.e-]+ s each" if count > 1 else "1 model, about [0-9.e-]+ s"
    assert re.match(f"trains {models}; ", bar.said[0]) and way_out in bar.said[0]
    assert [words for words in caplog.messages if words.startswith("trains")] == bar.said[:1]
    numbers = [int(words.split()[1]) for words in bar.said[1:]]
    assert numbers == list(range(2 if count > 1 else 1, count + 1)), "each model is told of"
    assert bar.closed and bar.n == bar.total > 0


@pytest.mark.few(1)
@pytest.mark.parametrize("name", [name for name in WORK if name != "checkpoints"])  # of which nothing is kept
def test_what_is_known_already_is_not_announced_again(name: str, bars: list[Bar]) -> None:
    work, *_ = WORK[name]
    work()
    del bars[:]
    work()
    assert not bars


def test_only_the_models_that_are_missing_are_counted(bars: list[Bar]) -> None:
    imu.train(TASK, "train", seed=1)
    imu.trial(TASK, {"a": {}}, at_forget=0.5, seeds=range(3), steps=2)
    assert bars[0].said[0].startswith("trains 2 models")
    assert own_data_key(TASK) and checkpoints.is_known(TASK, "train", 2) and not checkpoints.is_known(TASK, "train", 7)


def test_a_model_of_data_by_name_is_known_once_it_is_trained() -> None:
    """Such a task offers ``trained``, which has an answer for a user's own model alone."""
    task = cases.task("digits class")
    cases.original("digits class")
    assert checkpoints.is_known(task, "train", 0) and not checkpoints.is_known(task, "train", 99)
    assert checkpoints.is_known(cases.own_data(forget_indices=[0]), "train", 99), "the model that was given"


def test_the_time_is_that_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a training whose first update takes thrice as long as each of the others."""
    clock = [0.0]

    class Slow(training.Training):
        """Updates that do nothing but take their time."""

        def _update(self, batch: Any) -> None:
            clock[0] += 0.3 if self.made == 0 else 0.1

    monkeypatch.setattr(announced.time, "perf_counter", lambda: clock[0])
    recipe = imu.tasks.Recipe(epochs=10, batch_size=9)
    told, updates = measured(Slow(TASK, TASK.make_model(0), TASK.split("train"), recipe, 0))
    assert updates == 40 and told == pytest.approx(0.3 + 39 * 0.1)
    assert clock[0] == pytest.approx(0.3 + 3 * 0.1), "a few of its updates were made, and no more"


def test_the_words() -> None:
    assert announcement(4, 101.3, "training=False leaves them out") == (
        "trains 4 models, about 100 s each; training=False leaves them out"
    )
    assert announcement(1, 7.04) == "trains 1 model, about 7 s"
    assert [duration(length) for length in (0.0123, 12.6, 299, 600)] == ["0.012 s", "13 s", "300 s", "10 min"]
