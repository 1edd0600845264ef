"""Who else is damaged: against a loop over samples, for every kind of step, and for each label alone."""

from __future__ import annotations

from functools import cache

import cases
import numpy as np
import pytest
from languages import models, tiny
from torch import nn

import imu_lab as imu


def run(**settings: object) -> imu.Run:
    how = {"steps": 3, "record_every": 3, "follow": ()} | settings
    return imu.unlearn(tiny(forget_authors=(0, 1)), models()[0], **how)


@cache
def retrained() -> nn.Module:
    """A model that was never told of the two."""
    return imu.train(tiny(forget_authors=(0, 1)), "retain")


def by_hand(task: object, model: object, author: str) -> float:
    """The mean loss of an author's training pairs, one at a time."""
    rows = [at for at in range(len(task.corpus.train)) if task.labels([at]) == [author]]
    losses = []
    for at in rows:
        batch = task.split("train").take(np.array([at])).batch()
        losses.append(task.example_loss(model, batch).item())
    return float(np.mean(losses))


@pytest.mark.few(1)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_is_the_change_of_each_authors_loss(optimizer: str) -> None:
    made = run(optimizer=optimizer, lr=0.05, step_norm=None)
    table = imu.leakage(made, retrained())
    ours = table[table["pressed"] == "all together"].set_index("label")
    assert set(ours.index) == set(made.task.labels(range(len(made.task.corpus.train))))
    assert ours["forgotten"].sum() == 2 and ours["samples"].sum() == len(made.task.corpus.train)
    for author in ours.index:
        before, after = (by_hand(made.task, model, author) for model in (models()[0], made.model))
        assert cases.close(
            ours.loc[author, ["loss_before", "loss_after"]].to_numpy(float), [before, after], within=1e-4
        )
        assert ours.loc[author, "loss_change"] == pytest.approx(after - before, abs=1e-4)
    goal = table[table["pressed"] == "retrained"].set_index("label")
    author = ours.index[0]
    assert goal.loc[author, "loss_after"] == pytest.approx(by_hand(made.task, retrained(), author), rel=1e-4)
    assert goal.loc[author, "loss_before"] == ours.loc[author, "loss_before"]


@pytest.mark.full
def test_each_author_alone_is_a_run_for_that_author() -> None:
    made = run()
    table = imu.leakage(made, alone=True)
    names = made.task.labels(made.task.split("forget").ids)
    assert list(dict.fromkeys(table["pressed"])) == ["all together", *dict.fromkeys(names)]
    other = [at for at, name in zip(made.samples["example"], names) if name != names[0]]
    goal = table[(table["pressed"] == "all together") & (table["label"] == names[0])]["loss_after"].item()
    alone = imu.what_if(made, keep=other, steps=3, record_every=3, stop_at=("loss", ">=", goal), follow=())
    mine = table[table["pressed"] == names[0]].set_index("label")
    assert mine.loc[names[0], "loss_after"] >= goal * (1 - 1e-4) or alone.events["steps"] == 3
    assert mine.loc[names[0], "loss_after"] == pytest.approx(by_hand(made.task, alone.model, names[0]), rel=1e-4)
    assert mine["forgotten"].sum() == 2, "the request of the run decides what counts as forgotten"


def test_runs_for_one_alone_ask_the_model_nothing_about_who_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked, evaluate = run(), [], imu.tasks.Language.evaluate
    monkeypatch.setattr(
        imu.tasks.Language,
        "evaluate",
        lambda task, model, split, **how: (asked.append(split), evaluate(task, model, split, **how))[1],
    )
    assert imu.leakage(made, alone=True)["pressed"].nunique() == 3
    assert set(asked) == {"forget"}


def test_any_task_with_labels_and_none_without() -> None:
    digits = cases.task("digits fraction")
    made = imu.unlearn(digits, cases.original("digits fraction"), steps=2)
    table = imu.leakage(made)
    assert set(table["label"]) == set("0123456789") and table["forgotten"].any() and not table["forgotten"].all()
    kept = table[~table["forgotten"]]
    change = (kept["loss_change"] * kept["samples"]).sum() / kept["samples"].sum()
    assert change == pytest.approx(
        made.value("retain", "loss") - made.value("retain", "loss", 0), abs=1e-5
    ) or np.isnan(made.value("retain", "loss"))
    with pytest.raises(ValueError, match="no labels"):
        imu.leakage(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1))
    with pytest.raises(TypeError, match="leakage"):
        imu.leakage(table)


def test_a_step_that_was_not_kept() -> None:
    with pytest.raises(ValueError, match="update 2"):
        imu.leakage(run(), step=2)
