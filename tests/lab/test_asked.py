"""Runs and influences on different data are not taken for one request because their samples have the same numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn
from user_tasks import Own

import imu_lab as imu
from imu_lab.lab.asked import requests_of
from imu_lab.tasks.around import InDoublePrecision, own_samples_key
from imu_lab.tasks.protocol import own_data_key


def task(shift: float, **settings: object) -> imu.tasks.Classification:
    """One of two data sets that are alike in everything but what the samples are."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 4, generator=draw) + shift, torch.arange(60) % 3
    torch.manual_seed(0)
    model = settings.pop("model", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    return imu.tasks.Classification.from_data(
        model, (x[:40], y[:40]), (x[40:], y[40:]), forget_indices=[0, 3, 5], **settings
    )


def run(of: imu.tasks.Task, **settings: object) -> imu.Run:
    """One update."""
    return imu.unlearn(of, of.make_model(0) if isinstance(of, Own) else imu.train(of), steps=1, lr=0.01, **settings)


@pytest.fixture(scope="module")
def runs() -> tuple[imu.Run, imu.Run]:
    """Two that forget the samples 0, 3 and 5, each of its own data."""
    return run(task(0.0)), run(task(1.0))


def test_runs_on_different_data_are_compared_as_two_requests(runs: tuple[imu.Run, imu.Run], tmp_path: Path) -> None:
    for each, name in zip(runs, "ab"):
        each.save(tmp_path / name)
    loaded = [imu.load_run(tmp_path / name) for name in "ab"]
    assert loaded[0].task is None, "data of one's own cannot be made again"
    for several in (runs, loaded, [runs[0], loaded[1]]):
        table = imu.compare(several)
        assert table["run"].tolist()[2:] == ["original (request 1)", "original (request 2)"]
    assert imu.compare([runs[0], loaded[0]])["run"].tolist()[-1] == "original"


def test_whoever_pools_samples_by_their_numbers_refuses_other_data(runs: tuple[imu.Run, imu.Run]) -> None:
    scores = [imu.influence(each.task, each.model_at(0)) for each in runs]
    for call, ask in {
        "resistance": lambda: imu.resistance(runs),
        "side_by_side": lambda: imu.side_by_side(*runs),
        "head_only": lambda: imu.head_only(runs, reference=runs[0].model_at(1)),
        "a comparison of influences": lambda: imu.rank_correlations(scores),
    }.items():
        with pytest.raises(ValueError, match=f"made on 2 different data sets, in which.*; {call} takes those of one"):
            ask()
    with pytest.raises(ValueError, match="two requests: they were made on 2 different"):
        imu.resistance(runs[0], uniform=runs[1])


def test_runs_on_the_same_data_answer_one_request_however_they_were_made() -> None:
    first = task(0.0)
    alike = [run(first), run(first, seed=1), run(first, method="random-label"), run(replace(first, readout=("0", "2")))]
    alike += [run(replace(first, recipe=imu.tasks.Recipe(epochs=2))), run(task(0.0, readout="all"))]
    alike += [
        run(
            task(
                0.0,
                loss=lambda made, true: nn.functional.cross_entropy(made, true, reduction="none", label_smoothing=0.2),
            )
        )
    ]
    alike += [run(task(0.0, model=nn.Sequential(nn.Linear(4, 3)).double()))]  # which gets the inputs in another form
    alike += [imu.what_if(alike[0], flip=[3])]  # the same samples under other labels
    assert requests_of(alike) == [1] * len(alike)
    assert imu.resistance(alike)["number"].nunique() == len(alike)


def test_one_data_set_is_the_same_whatever_training_makes_of_it() -> None:
    people = imu.tasks.ReID("figures", forget_persons=(7,))
    harder, others = replace(people, triplet=0.5), replace(people, seed=1)
    assert own_data_key(people) != own_data_key(harder) and own_samples_key(people) == own_samples_key(harder)
    assert own_samples_key(people) != own_samples_key(others)
    assert own_samples_key(InDoublePrecision(people)) == own_samples_key(people), (
        "a variant is told by what it was made of"
    )


def test_a_subclass_with_samples_of_its_own_is_not_told_by_those_of_the_class_above() -> None:
    @dataclass(frozen=True)
    class Shorter(imu.tasks.Classification):
        def split(self, name: str) -> imu.tasks.Examples:
            return super().split(name)

    @dataclass(frozen=True)
    class Told(Shorter):
        data_key: ClassVar[str] = "of my own"

    assert own_samples_key(Shorter("digits", forget_class=3)) is None
    assert own_samples_key(Told("digits", forget_class=3)) == "of my own"


def test_a_task_without_a_digest_of_its_data_is_told_by_what_it_forgets() -> None:
    one, other = run(Own(0.0)), run(Own(1.0))
    assert one.settings["data"] is None and requests_of([one, other, run(Own(0.0))]) == [1, 2, 1]


def test_of_a_run_that_tells_nothing_of_its_data_the_samples_count(runs: tuple[imu.Run, imu.Run]) -> None:
    """As one of an earlier version whose task cannot be made again."""
    silent = replace(runs[0], settings={k: v for k, v in runs[0].settings.items() if k != "data"}, task=None)
    assert requests_of([silent, runs[1]]) == [1, 1]
