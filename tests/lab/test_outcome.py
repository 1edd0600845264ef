"""A verb warns once of what a run did; work of the library's own does not; a panel shows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import cases
import pytest
import torch

import imu_lab as imu
from imu_lab.core.messages import unheard, warn

TOO_FAR, NOTHING = {"lr": 1.0, "steps": 60}, {"lr": 1e-6, "steps": 30}


def told(work: Callable[[], Any]) -> list[warnings.WarningMessage]:
    """What was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    return caught


def unlearned(**how: Any) -> Any:
    """The toy, unlearned so."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), **how)


def test_a_run_that_collapses_warns_once_at_the_line_that_asked_for_it() -> None:
    (said,) = told(lambda: unlearned(**TOO_FAR))
    assert issubclass(said.category, UserWarning) and said.filename == __file__
    with unheard():
        run = unlearned(**TOO_FAR)
    assert f"collapsed at update {run.events['collapsed_at']}" in str(said.message) and "stop_at='forgotten'" in str(
        said.message
    )
    retain = run.series("retain", "accuracy")
    commonest = 0.5  # of two blobs that are kept
    at = run.events["collapsed_at"]
    tests, lost = run.series("test", "accuracy"), {}
    for name, line in (("retain", retain), ("test", tests)):
        lost[name] = line[line <= commonest + 0.25 * (line[0] - commonest)].index[0]
    assert at == min(lost.values())
    assert (
        run.events["utility_limit"] <= at and run.events["goal_at"] == run.series("forget", "accuracy").eq(0).idxmax()
    )


def test_a_run_in_which_nothing_happens_says_so() -> None:
    (said,) = told(lambda: unlearned(**NOTHING))
    assert "the run forgot nothing in 30 updates: 40 of 40 samples were right before" in str(said.message)
    with unheard():
        run = unlearned(**NOTHING)
    assert run.events["forgotten"] == 0 and "nothing was forgotten" in repr(run)


def test_a_goal_at_which_no_sample_needs_to_be_wrong_is_no_failure() -> None:
    start = unlearned(steps=0).value("forget", "loss")
    runs: list[imu.Run] = []
    how = {"lr": 1e-6, "steps": 200, "step_norm": 1e-3, "stop_at": ("loss", ">=", 1.01 * start)}
    assert not told(lambda: runs.append(unlearned(**how)))
    (run,) = runs
    assert run.events["stopped_at"] >= 5 and run.events["forgotten"] == 0 and "nothing was forgotten" not in repr(run)


@pytest.mark.parametrize(
    ("stop_at", "words"),
    [
        (5, "with accuracy 1 on the forget set; accuracy is a share, of which 0.05 is 5 %"),
        (("test accuracy", ">=", 0.5), "on the test set; give a goal that is still ahead"),
        (("loss", ">=", 0.0), "on the forget set; give a goal that is still ahead"),
    ],
)
def test_a_goal_that_is_met_before_the_first_update_is_no_silent_end(stop_at: Any, words: str) -> None:
    (said,) = told(lambda: unlearned(steps=20, lr=0.1, stop_at=stop_at))
    assert f"the run made no update: stop_at={stop_at!r} was met before the first" in str(said.message)
    assert words in str(said.message)
    assert not told(lambda: unlearned(steps=0, stop_at=stop_at)), "nothing was to be done"


def test_a_fork_from_where_the_goal_was_reached_says_that_it_made_no_update() -> None:
    run = unlearned(steps=60, lr=0.3, stop_at="forgotten")
    assert not told(lambda: imu.fork(run, run.events["stopped_at"], steps=0))
    (said,) = told(lambda: imu.fork(run, run.events["stopped_at"]))
    assert "the run made no update: stop_at='forgotten' was met before the first, with accuracy 0 on" in str(
        said.message
    )


def test_of_samples_that_a_retrained_model_knows_its_loss_is_named() -> None:
    task = imu.tasks.Toy(forget_blob=2)
    reference = imu.train(task, "train", seed=1)
    (said,) = told(lambda: imu.unlearn(task, imu.train(task), steps=9, stop_at="retrained", reference=reference))
    assert '("loss", ">=", "retrained") says more' in str(said.message)


def test_a_method_that_ends_is_told_of_its_settings_and_not_of_fewer_steps() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    (said,) = told(lambda: imu.unlearn(task, model, method="ssd", alpha=0.1, strength=0.01, steps=30))
    words = str(said.message)
    assert "collapsed" in words or "utility limit" in words
    assert "steps" not in words and "alpha=0.1, strength=0.01" in words and "help(imu.methods['ssd'])" in words


def test_a_run_that_reaches_its_goal_is_silent_and_counts_what_was_forgotten() -> None:
    runs = []
    assert not told(lambda: runs.append(unlearned(lr=0.3, steps=60, stop_at="forgotten")))
    assert runs[0].events["forgotten"] == 40 and runs[0].events["goal_at"] == runs[0].events["stopped_at"]


def test_several_seeds_are_told_of_in_one_warning() -> None:
    (said,) = told(lambda: unlearned(**TOO_FAR, seeds=range(3)))
    assert str(said.message).startswith("3 of 3 runs went wrong, the first so: the run collapsed")


def test_work_of_the_librarys_own_does_not_warn() -> None:
    task = cases.task("toy")
    arms = {"a": {}, "b": {"rule": "uniform"}}
    assert not told(lambda: imu.trial(task, arms, at_forget=0.0, seeds=range(1), steps=60, lr=1.0))
    with unheard():
        run = unlearned(**TOO_FAR)
    assert not told(lambda: imu.resistance(run, uniform=True))
    assert not told(lambda: imu.ablate_pressure(run, run.samples["example"].tolist()[:2]))


def test_messages_are_collected_within_and_told_without() -> None:
    with unheard() as said:
        with unheard() as inner:
            warn("one")
        warn("two")
    assert (said, inner) == (["two"], ["one"])
    with pytest.warns(UserWarning, match="three"):
        warn("three")


def test_a_fork_says_what_became_of_the_whole_run() -> None:
    with unheard():
        run = unlearned(lr=0.3, steps=30)
        early = run.events["goal_at"]
        fork = imu.fork(run, early + 2, lr=1.0, steps=30)
    assert fork.events["goal_at"] == early and fork.events["forgotten"] == 40
    assert fork.events["collapsed_at"] is None or fork.events["collapsed_at"] > early + 2


def test_what_rises_collapses_at_ten_times_and_a_nat_more() -> None:
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    values = points.sum(1, keepdim=True)
    model = torch.nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(1.0), model.bias.zero_()
    square = lambda made, wanted: (made - wanted).square().flatten(1).sum(1)  # noqa: E731
    task = imu.tasks.Classification.from_data(
        model, (points, values), (points + 0.1, values), loss=square, forget_indices=range(6)
    )
    with unheard() as said:
        run = imu.unlearn(task, model, lr=1.0, steps=40)
    losses = run.series("test", "loss")
    first = next((step for step, now in losses.items() if now > max(10 * losses[0], losses[0] + 1)), None)
    kept = run.series("retain", "loss")
    other = next((step for step, now in kept.items() if now > max(10 * kept[0], kept[0] + 1)), None)
    found = [step for step in (first, other) if step is not None]
    assert run.events["collapsed_at"] == (min(found) if found else None) is not None
    assert any("collapsed" in words or "diverged" in words for words in said)


def test_a_forks_events_and_warnings_count_from_the_original() -> None:
    plain = {"momentum": 0.0, "batch_size": 999, "steps": 40}
    with unheard():
        run = unlearned(lr=1.0, **plain)
    limit, collapse = run.events["utility_limit"], run.events["collapsed_at"]
    kept: list[imu.Run] = []
    for at in (limit - 1, limit, collapse, collapse + 2):  # with nothing changed, a fork is the run
        (said,) = told(lambda at=at: kept.append(imu.fork(run, at)))
        assert (kept[-1].events["utility_limit"], kept[-1].events["collapsed_at"]) == (limit, collapse)
        assert said.filename == __file__ and f"went from {run.value('retain', 'accuracy', 0):.3g} to" in str(
            said.message
        )
    with unheard():
        calm = unlearned(lr=0.3, stop_at="forgotten", **plain)
    at = calm.events["stopped_at"]
    how = {"stop_at": None, "steps": 30, "lr": 1e-6}
    assert not told(lambda: kept.append(imu.fork(calm, at, **how))), "it had forgotten before it was forked"
    with unheard() as said:
        imu.again(calm, start=at, **how)
    assert "forgot nothing" in said[0]
