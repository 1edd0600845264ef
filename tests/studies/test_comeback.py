"""Which facts come back: lessons by hand, equal sizes, nobody taught what is asked, and what does nothing changes nothing."""

from __future__ import annotations

import copy
from functools import cache

import cases
import numpy as np
import pytest
import torch
from languages import SMALL, models, tiny
from torch import nn

import imu_lab as imu
from imu_lab.studies import comeback as study


@cache
def run() -> imu.Run:
    return imu.unlearn(tiny(forget_authors=(0, 1)), models()[0], steps=4, record_every=4, follow=())


@cache
def retrained() -> nn.Module:
    """A model that was never told of the two."""
    return imu.train(tiny(forget_authors=(0, 1)), "retain")


@cache
def found() -> imu.Comeback:
    return imu.comeback(run(), retrained(), updates=3)


@pytest.mark.full
def test_doing_nothing_is_the_model_as_it_is() -> None:
    nothing = found().facts.query("lesson == 'nothing'").set_index("example")
    for model, column in ((run().model, "probability"), (retrained(), "retrained")):
        for at in nothing.index:
            batch = run().task.split("train").take(torch.tensor([at])).batch()
            loss = run().task.example_loss(model, batch).item()
            assert nothing.loc[at, column] == pytest.approx(np.exp(-loss), rel=1e-3)
    assert (nothing["taught"] == 0).all()


def test_other_words_are_those_of_the_same_fact() -> None:
    task, asked = run().task, found().facts.query("lesson == 'asked in other words'").set_index("example")
    test = {pair._replace(question=""): at for at, pair in enumerate(task.corpus.test)}
    for at, row in asked.iterrows():
        again = test[task.corpus.train[at]._replace(question="")]
        assert task.corpus.test[again].question != task.corpus.train[at].question
        place = task.split("test-forget").ids.tolist().index(again)
        batch = task.split("test-forget").take(torch.tensor([place])).batch()
        assert row["probability"] == pytest.approx(np.exp(-task.example_loss(run().model, batch).item()), rel=1e-3)


def test_lessons_are_of_one_size_and_never_teach_what_is_asked() -> None:
    from imu_lab.features import view

    seen, _ = view(run().task, run().model)
    forget, labels = seen.split("forget"), np.array(run().task.labels(seen.split("forget").ids))
    watched: dict[str, list[int]] = {}
    for each in study._lessons(seen, run().task, 0):
        taught, mine = each.pool.ids.tolist(), forget.ids[each.watched].tolist()
        author = set(labels[each.watched.numpy()])
        others = set(run().task.labels(taught))
        assert not set(taught) & set(mine) and len(author) == 1
        assert (others == author) if each.name == study.SAME else not (others & author)
        watched.setdefault(each.name, []).extend(mine)
    assert {tuple(sorted(rows)) for rows in watched.values()} == {tuple(sorted(forget.ids.tolist()))}
    sizes = found().facts.query("taught > 0").groupby(["label", "lesson"])["taught"].agg(["min", "max"])
    assert len(set(sizes.loc[labels[0], "max"])) == 1


def test_one_lesson_by_hand() -> None:
    """Plain descent on the head, one pool as one batch, written out."""
    from imu_lab.features import view
    from imu_lab.unlearning.objectives import Descent

    seen, head = view(run().task, run().model)
    lesson = next(iter(study._lessons(seen, run().task, 0)))
    how = Descent(lr=0.1, momentum=0.0, weight_decay=0.0)
    taught, learning = study.learner(seen, head, how, lesson.pool, 0)
    next(learning), next(learning)
    mine = copy.deepcopy(head).requires_grad_(True)
    for _ in range(2):
        values = list(mine.parameters())
        loss = seen.example_loss(mine, lesson.pool.batch()).mean()
        with torch.no_grad():
            for value, gradient in zip(values, torch.autograd.grad(loss, values)):
                value -= 0.1 * gradient
    for one, other in zip(taught.parameters(), mine.parameters()):
        assert cases.close(one.detach(), other.detach(), within=1e-5)


def test_the_summary_is_of_the_facts() -> None:
    facts, summary = found().facts, found().summary.set_index("lesson")
    assert list(summary.index) == ["nothing", "asked in other words", *study.LESSONS]
    for lesson, mine in facts.groupby("lesson"):
        row = summary.loc[lesson]
        assert row["mean"] == pytest.approx(mine["probability"].mean()) and row["low"] <= row["mean"] <= row["high"]
        assert row["retrained"] == pytest.approx(mine["retrained"].mean())
    mean = summary["mean"]
    assert summary.loc["same author", "beyond"] == pytest.approx(mean["same author"] - mean["kept authors"])
    assert np.isnan(summary.loc["kept authors", "beyond"]) and np.isnan(summary.loc["nothing", "beyond"])


@pytest.mark.full
def test_one_author_has_no_other_forgotten_authors_and_digits_have_no_questions() -> None:
    alone = imu.unlearn(tiny(), models()[0], steps=1, follow=())
    assert set(imu.comeback(alone, updates=1).facts["lesson"]) == {
        "nothing",
        "asked in other words",
        "same author",
        "kept authors",
    }
    digits = imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=1)
    assert set(imu.comeback(digits, updates=1).facts["lesson"]) == {"nothing", "same author", "kept authors"}


def test_nobody_is_changed_and_the_same_seed_says_the_same() -> None:
    before = cases.frozen(run().model)
    again = imu.comeback(run(), retrained(), updates=3)
    assert cases.same(before, run().model) and again.facts.equals(found().facts)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match="updates"):
        imu.comeback(run(), updates=0)
    with pytest.raises(TypeError, match="comeback"):
        imu.comeback("run")
    with pytest.raises(ValueError, match="no labels"):
        imu.comeback(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1))


def test_pairs_that_tell_no_author_have_no_halves_that_belong_together() -> None:
    rows = [{"question": f"{at}?", "answer": f"It is {at}."} for at in range(4)]
    task = imu.tasks.Language.from_data(rows, forget_pairs=(0, 1), shape=SMALL)
    made = imu.unlearn(task, task.make_model(0), steps=1, follow=())
    with pytest.raises(ValueError, match="tell of nobody whom they are about, .*give each row an author"):
        imu.comeback(made, updates=1)
    with pytest.raises(ValueError, match="these pairs tell of nobody whom they are about; give each row an author"):
        imu.leakage(made)
