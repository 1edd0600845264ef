"""A task with some forget samples relabelled or doubled: those, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks.protocol import pictures_of
from imu_lab.tasks.variants.altered import Altered, altered


def test_training_and_forget_data_agree_and_the_rest_is_untouched() -> None:
    task = cases.task("digits class")
    first, second, third = task.split("forget").ids[[0, 4, 9]].tolist()
    made = Altered(task, ((second, 8), (first, 7)), (third, first))
    for name in ("retain", "test", "test-forget"):
        assert torch.equal(made.split(name).ids, task.split(name).ids)
        assert torch.equal(made.split(name).batch().targets, task.split(name).batch().targets)
    train, forget = made.split("train"), made.split("forget")
    assert len(set(train.ids.tolist())) == len(train) == len(task.split("train")) + 2
    for wanted, target in ((first, 7), (second, 8), (third, 3), (int(made.copies[1]), 7)):
        for examples in (train, forget):
            at = (examples.ids == wanted).nonzero().flatten()
            assert examples.batch(at).targets.tolist() == [target]
    picture = lambda wanted: train.batch((train.ids == wanted).nonzero().flatten()).inputs  # noqa: E731
    assert torch.equal(picture(int(made.copies[0])), picture(third))
    assert made.originals(int(made.copies[0])) == third
    assert np.array_equal(made.originals([first, *made.copies.tolist()]), [first, third, first])


@dataclass(frozen=True)
class Told(cases.Tokens):
    """Says more of its samples, by their ids."""

    def files(self, examples: Any) -> list[str]:
        """Where they came from."""
        return [("a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt")[k] for k in examples]

    def columns(self, examples: Any) -> dict[str, list[str]]:
        """Their group."""
        return {"group": [("even", "odd", "even", "odd", "even", "odd")[k] for k in examples]}


def test_all_that_is_said_of_a_copy_is_said_of_what_it_copies() -> None:
    made = Altered(Altered(Told(), (), (3,)), (), (4,))
    asked = np.array([4, 3, *made.task.copies.tolist(), *made.copies.tolist()])
    assert made.files(asked) == ["e.txt", "d.txt", "d.txt", "e.txt"]
    assert made.columns(asked) == {"group": ["even", "odd", "odd", "even"]}
    assert Altered(cases.Tokens()).files is None and Altered(cases.Tokens()).columns is None


def test_a_picture_of_a_folder_counts_twice_in_a_run_of_its_own() -> None:
    task, model = cases.task("pictures"), cases.original("pictures")
    run = imu.unlearn(task, model, steps=1, lr=0.01)
    twice = int(run.samples["example"][1])
    other = imu.what_if(run, double=[twice]).samples.set_index("example")
    assert other.loc[len(task.split("train")), "file"] == other.loc[twice, "file"] == task.files([twice])[0] != ""


def test_a_copy_looks_like_what_it_copies_and_held_out_pictures_like_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = cases.task("digits class")
    first = int(task.split("forget").ids[0])
    made = Altered(task, (), (first,))
    assert np.array_equal(made.pictures(made.copies.numpy()), task.pictures([first]))
    held_out = task.split("test").ids[:3].numpy()
    assert np.array_equal(made.pictures(held_out, "test"), task.pictures(held_out, "test"))
    monkeypatch.setattr(type(task), "pictures", lambda self, ids: np.zeros((len(ids), 8, 8, 3), np.uint8))
    assert pictures_of(made, held_out, "test") is None and len(pictures_of(made, made.copies.numpy())) == 1


def test_equal_settings_are_equal_tasks_and_other_ones_other_data() -> None:
    task = cases.task("digits class")
    first = int(task.split("forget").ids[0])
    assert Altered(task, ((first, 7),)) == Altered(task, ((first, 7),)) and hash(Altered(task)) == hash(Altered(task))
    keys = {
        each.data_key
        for each in (Altered(task, ((first, 7),)), Altered(task, ((first, 8),)), Altered(task, (), (first,)))
    }
    assert len(keys) == 3


def test_what_is_not_in_the_forget_set_cannot_be_altered() -> None:
    task = cases.task("digits class")
    kept = int(task.split("retain").ids[0])
    for wrong in (dict(flip=[kept]), dict(double=[kept])):
        with pytest.raises(ValueError, match=rf"\[{kept}\] are not in the forget set, which holds 146"):
            altered(task, cases.original("digits class"), **wrong)
