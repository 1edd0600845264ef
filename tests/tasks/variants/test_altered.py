"""A task with some forget samples relabelled or doubled: those, and nothing else."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch

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
