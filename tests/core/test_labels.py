"""Runs beside each other are told apart by what differs between them, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from figures.records import run

from imu_lab.core.labels import experiment, told_apart


def made(label: str = "uniform", seed: int = 0, **changes: Any) -> Any:
    """A run with these settings of its method beside the usual ones; ``top`` are settings of the run itself."""
    top = changes.pop("top", {})
    one = run({"forget": [1.0, 0.0]}, label, seed=seed)
    one.settings["settings"] = {"lr": 0.01, "momentum": 0.9, "step_norm": None, **changes}
    one.settings.update(top)
    return one


@pytest.mark.parametrize("seeds", [False, True])
def test_a_label_names_just_the_settings_that_differ(seeds: bool) -> None:
    assert told_apart([made(), made(lr=0.1)], seeds=seeds) == ["imu · uniform (lr 0.01)", "imu · uniform (lr 0.1)"]
    assert told_apart([made(), made("shuffled", lr=0.1)], seeds=seeds) == ["imu · uniform", "imu · shuffled"]
    both = told_apart([made(), made(lr=0.1, momentum=0.5)], seeds=seeds)
    assert both == ["imu · uniform (lr 0.01, momentum 0.9)", "imu · uniform (lr 0.1, momentum 0.5)"]
    longer = told_apart([made(top={"steps": 50}), made(top={"steps": 60})], seeds=seeds)
    assert longer == ["imu · uniform (steps 50)", "imu · uniform (steps 60)"]


def test_a_seed_is_named_only_where_it_is_asked_for_and_nothing_else_differs() -> None:
    runs = [made(seed=3), made(seed=4), made(seed=4, lr=0.1)]
    assert told_apart(runs) == ["imu · uniform (lr 0.01)", "imu · uniform (lr 0.01)", "imu · uniform (lr 0.1)"]
    assert told_apart(runs, seeds=True) == [
        "imu · uniform (lr 0.01, seed 3)", "imu · uniform (lr 0.01, seed 4)", "imu · uniform (lr 0.1)",
    ]  # fmt: skip
    assert told_apart(runs[:2], seeds=True) == ["imu · uniform (seed 3)", "imu · uniform (seed 4)"]


def test_a_statistic_of_each_seeds_model_and_its_own_retrained_model_make_no_other_experiment() -> None:
    runs = [
        made(seed=k, top={"statistics": {"parts": ["S"], "digest": f"{k}"}, "compared_with": {"digests": [f"{k}"]}})
        for k in range(2)
    ]
    assert told_apart(runs) == ["imu · uniform"] * 2
    runs[1].settings["statistics"]["parts"] = ["S", "G"]
    assert len(set(told_apart(runs))) == 2


def test_as_many_settings_are_named_as_tell_all_runs_apart() -> None:
    changes = [{"a": 1}, {"b": 1}, {"c": 1}, {"d": 1}, {"e": 1}]
    runs = [made(**{"a": 0, "b": 0, "c": 0, "d": 0, "e": 0, **change}) for change in changes]
    assert len(set(told_apart(runs))) == 5
    assert told_apart(runs[:1]) == ["imu · uniform"] and told_apart([]) == []


def test_learning_rates_that_were_found_are_one_experiment_and_are_called_auto() -> None:
    found = [made(lr=lr, seed=seed, top={"found": ["lr"]}) for seed, lr in enumerate((0.012, 0.015))]
    assert told_apart(found) == ["imu · uniform"] * 2
    assert told_apart([found[0], made(lr=0.1)]) == ["imu · uniform (lr auto)", "imu · uniform (lr 0.1)"]


def test_what_is_measured_makes_no_other_experiment_and_a_saved_tuple_is_a_list() -> None:
    one, other = made(top={"follow": [], "stop_at": ("accuracy", "<=", 0.1)}), made(top={"record_every": 5})
    other.settings["stop_at"] = ["accuracy", "<=", 0.1]
    assert told_apart([one, other]) == ["imu · uniform"] * 2


def test_seeds_and_versions_are_no_part_of_an_experiment() -> None:
    one, other = made(seed=1, top={"versions": {"torch": "2"}}), made(seed=2, top={"versions": {"torch": "3"}})
    assert experiment(one) == experiment(other) and experiment(one) != experiment(made(lr=0.1))


def test_words_that_are_alike_where_they_are_cut_are_told_apart() -> None:
    data = "Classification(data=Supplied(key='0123456789'), forget_indices="
    tasks = [f"{data}{indices})" for indices in ("(0, 1)", "(2, 3)", "(4, 5)")]
    runs = [made(top={"task": each}) for each in (*tasks, tasks[0])]
    labels = told_apart(runs)
    assert len(set(labels)) == 3 and labels[0] == labels[3]
    assert told_apart(runs[::-1]) == labels[::-1] and labels[0].startswith("imu · uniform (task Classification(data=")


def test_the_tasks_seed_is_another_request_and_the_runs_is_not() -> None:
    def of(task_seed: int, seed: int) -> Any:
        task = {"kind": "Classification", "settings": {"forget_fraction": 0.25, "seed": task_seed}}
        return made(seed=seed, top={"task": f"Classification(seed={task_seed})", "task_settings": task, "weights": {
            "rule": "uniform", "influence": {"estimator": f"Drawn(seed={seed})", "settings": {"seed": seed}},
        }})  # fmt: skip

    assert told_apart([of(0, 0), of(0, 1), of(1, 1)]) == [
        "imu · uniform (task seed 0)", "imu · uniform (task seed 0)", "imu · uniform (task seed 1)",
    ]  # fmt: skip
    runs = [of(0, 0), of(1, 0)]
    for each in runs:
        each.settings.pop("task_settings")
    assert len(set(told_apart(runs))) == 2
