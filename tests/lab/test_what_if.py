"""What-ifs: the named samples are treated otherwise, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.figures.pooling import grouped
from imu_lab.lab.what_if import differences, reweighted, subset


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("digits class"), cases.original("digits class")
    return imu.unlearn(task, original, imu.intensity(imu.influence(task, original)), steps=12)


def test_a_dropped_sample_gets_no_pressure_and_is_still_measured(run: imu.Run) -> None:
    gone = run.samples["example"].iloc[:3].tolist()
    other = imu.what_if(run, drop=gone)
    rows = other.samples.set_index("example").loc[gone]
    assert (rows["pressure"] == 0).all() and not rows["selected"].any() and len(other.samples) == len(run.samples)
    assert other.label.endswith("3 dropped")


def test_a_factor_multiplies_the_share(run: imu.Run) -> None:
    from imu_lab.lab.again import weights_of

    first = int(run.samples["example"].iloc[0])
    before, after = weights_of(run), reweighted(weights_of(run), {first: 5.0})
    ratio = after.values / before.values
    assert ratio[0] / ratio[1] == pytest.approx(5) and after.values.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="no sample is left"):
        imu.what_if(run, drop=run.samples["example"])


def test_factors_of_any_size_leave_shares(run: imu.Run) -> None:
    weights = run.samples.set_index("example")["weight"].nlargest(2)
    after = imu.what_if(run, reweight=dict.fromkeys(weights.index, 1.7e308), steps=1).samples.set_index("example")[
        "weight"
    ]
    assert cases.close(
        after[weights.index].to_numpy(), (weights / weights.sum()).to_numpy()
    ) and after.sum() == pytest.approx(1)


def test_what_would_undo_another_wish_or_leave_nobody_is_told(run: imu.Run) -> None:
    first = int(run.samples["example"].iloc[0])
    for one, other in (
        ("drop", "reweight"),
        ("keep", "drop"),
        ("keep", "flip"),
        ("keep", "double"),
        ("keep", "reweight"),
    ):
        named = {name: {first: 2.0} if name == "reweight" else [first] for name in (one, other)}
        with pytest.raises(ValueError, match=f"{one}= and {other}= both name .*{first}.*would undo the other"):
            imu.what_if(run, **named)
    few = imu.again(run, imu.intensity(imu.influence(run.task, run.model_at(0)), "top-fraction", top=0.02), steps=1)
    with pytest.raises(ValueError, match="no sample is left with any weight; keep fewer"):
        imu.what_if(few, keep=few.samples.loc[few.samples["weight"] > 0, "example"])
    for given in (0, [], ""):
        with pytest.raises(TypeError, match="reweight="):
            imu.what_if(run, reweight=given)


def test_two_what_ifs_are_two_experiments_not_two_seeds(run: imu.Run) -> None:
    first, second = run.samples["example"].iloc[:5].tolist(), run.samples["example"].iloc[5:10].tolist()
    others = [imu.what_if(run, drop=first), imu.what_if(run, drop=second), imu.what_if(run, reweight={first[0]: 10})]
    assert len(grouped(others)) == 3
    assert [run.label.split(", ")[1] for run in others] == ["5 dropped", "5 dropped", "1 × 10"]


@pytest.mark.parametrize("factor", [-5.0, float("nan"), float("inf"), "2", True, None])
def test_a_factor_is_a_number_that_makes_a_weight(run: imu.Run, factor: Any) -> None:
    with pytest.raises(ValueError, match="factor of a weight must be a number >= 0"):
        imu.what_if(run, reweight={run.samples["example"].iloc[0]: factor})


def test_a_fork_and_a_run_without_its_task_say_what_to_do(run: imu.Run) -> None:
    first = run.samples["example"].iloc[:1]
    with pytest.raises(ValueError, match="forked from 'imu · sqrt-clipped' at update 4; call what_if on that run"):
        imu.what_if(imu.fork(run, 4), drop=first)
    with pytest.raises(ValueError, match="call again on that run"):
        imu.again(imu.fork(run, 4), weights=None)
    later = imu.fork(imu.fork(run, 4), 6, steps=2)
    assert later.events["steps"] == 8, "but a fork can be left where it is itself"
    for wish in (dict(drop=first), dict(keep=first)):
        with pytest.raises(ValueError, match="does not know its task"):
            imu.what_if(replace(run, task=None), **wish)


def test_kept_samples_move_to_the_retain_set(run: imu.Run) -> None:
    kept = run.samples["example"].iloc[:10].tolist()
    other = imu.what_if(run, keep=kept)
    assert not set(kept) & set(other.samples["example"]) and len(other.samples) == len(run.samples) - 10
    assert set(kept) <= set(other.task.split("retain").ids.tolist())


def test_flipped_labels_are_the_runner_up_and_the_rest_is_as_it_was(run: imu.Run) -> None:
    mine = run.samples["example"].iloc[:5].tolist()
    before = run.task.split("forget").batch()
    other = imu.what_if(run, flip=mine)
    now = other.task.split("forget").batch()
    with torch.no_grad():
        order = run.model_at(0)(before.inputs).argsort(1, descending=True)[:5]
    assert all(label in pair for label, pair in zip(now.targets[:5].tolist(), order[:, :2].tolist(), strict=True))
    assert (now.targets[:5] != before.targets[:5]).all() and torch.equal(now.targets[5:], before.targets[5:])
    assert torch.equal(now.inputs, before.inputs)
    assert torch.equal(run.task.split("forget").batch().targets, before.targets), "the first run's task is untouched"
    same = ["example", "weight", "selected"]
    # Weights are divided by their sum once more, which rounds as the processor adds.
    assert cases.close(other.samples[same], run.samples[same], within=1e-12) and other.label.endswith("5 relabelled")
    assert other.trajectory.query("step == 0")["loss"].iloc[0] > run.trajectory.query("step == 0")["loss"].iloc[0]
    with pytest.raises(TypeError, match="one label"):
        sequences = imu.unlearn(cases.task("sequence"), cases.original("sequence"), steps=1)
        imu.what_if(sequences, flip=sequences.samples["example"].iloc[:1])


def test_a_doubled_sample_counts_twice_and_keeps_its_looks(run: imu.Run) -> None:
    mine = run.samples["example"].iloc[[7, 2]].tolist()
    other = imu.what_if(run, double=mine, batch_size=1000)
    size, copies = len(run.samples), other.samples.iloc[-2:]
    train = run.task.split("train").ids
    assert copies["example"].tolist() == [int(train.max()) + 1, int(train.max()) + 2]
    assert len(other.samples) == size + 2 == len(set(other.samples["example"]))
    # A processor may add up a row of a batch in another order than its neighbour: the copy's margins are close, not equal.
    told = other.samples[["weight", "label", "margin_before", "margin_after"]].astype({"label": str})
    assert cases.close(told.iloc[-2:].reset_index(drop=True), told.iloc[[7, 2]].reset_index(drop=True), within=1e-5)
    assert other.task.card(copies["example"].iloc[0]) == run.task.card(mine[0])
    assert np.array_equal(other.task.pictures(copies["example"]), run.task.pictures(mine))
    assert other.task.labels([mine[0], copies["example"].iloc[0]]) == run.task.labels([mine[0]] * 2)
    twice = imu.what_if(run, reweight=dict.fromkeys(mine, 2.0), batch_size=1000)  # in one batch, the same loss
    assert cases.close(other.samples["margin_after"].iloc[:size], twice.samples["margin_after"], within=1e-4)
    assert torch.equal(other.task.split("retain").ids, run.task.split("retain").ids)


def test_what_was_doubled_can_be_doubled_again_and_keeps_its_looks(run: imu.Run) -> None:
    first = int(run.samples["example"].iloc[3])
    once = imu.what_if(run, double=[first], steps=2)
    copy = int(once.samples["example"].iloc[-1])
    twice = imu.what_if(once, double=[first, copy], steps=2)
    assert len(twice.samples) == len(run.samples) + 3
    assert set(twice.samples["label"].iloc[-3:]) == {run.samples["label"].iloc[3]}
    assert twice.task.card(int(twice.samples["example"].iloc[-1])) == run.task.card(first)


@pytest.mark.slow
def test_what_cannot_be_asked_of_an_altered_request_says_so(run: imu.Run) -> None:
    first, second = run.samples["example"].iloc[:2]
    for other in (imu.what_if(run, double=[first], steps=1), imu.what_if(run, flip=[first], steps=1)):
        for wish in (dict(keep=[second]), dict(request=[second])):
            with pytest.raises(ValueError, match="call what_if on the run before"):
                imu.what_if(other, **wish)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["person", "language"])
def test_what_cannot_be_there_twice_says_so(name: str) -> None:
    run = imu.unlearn(cases.task(name), cases.original(name), steps=1)
    with pytest.raises(ValueError, match="perfect match of what it copies, or not at all.*reweight"):
        imu.what_if(run, double=run.samples["example"].iloc[:1])


def test_what_ifs_go_together(run: imu.Run) -> None:
    first, second, third = run.samples["example"].iloc[:3]
    other = imu.what_if(run, keep=[first], flip=[second], double=[third], steps=2)
    assert first not in set(other.samples["example"]) and len(other.samples) == len(run.samples)
    assert other.samples["weight"].sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="not in the forget set"):
        imu.what_if(run, flip=[0])


def test_a_new_request_from_any_samples(run: imu.Run) -> None:
    other = imu.what_if(run, request=[5, 6, 7, 900], steps=3)
    assert other.samples["example"].tolist() == [5, 6, 7, 900] and other.events["steps"] == 3
    with pytest.raises(ValueError, match="cannot be combined with drop="):
        imu.what_if(run, request=[5, 6], drop=run.samples["example"].iloc[:1])
    with pytest.raises(ValueError, match="Toy forgets no single samples"):
        imu.what_if(imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1), request=[1])
    with pytest.raises(ValueError, match="not in the forget set, which holds 146"):
        imu.what_if(run, drop=[0])


@dataclass(frozen=True)
class Chosen(imu.tasks.Toy):
    """A user's task that forgets single samples; what they are called is its own affair."""

    unwanted: tuple[int, ...] = (0, 1, 2, 3, 4, 5)

    def split(self, name: str) -> imu.tasks.Examples:
        everything = super().split("train")
        mine = torch.isin(everything.ids, torch.tensor(self.unwanted))
        if name in ("forget", "retain"):
            return everything.take((mine if name == "forget" else ~mine).nonzero().flatten())
        return super().split(name)

    def with_request(self, examples: tuple[int, ...]) -> Chosen:
        return replace(self, unwanted=examples)


def test_a_users_task_that_offers_other_requests_is_asked_for_them() -> None:
    run = imu.unlearn(Chosen(), cases.original("toy"), steps=2)
    assert imu.what_if(run, keep=[2, 4]).samples["example"].tolist() == [0, 1, 3, 5]
    assert imu.what_if(run, request=[9, 7]).samples["example"].tolist() == [7, 9]


def test_a_task_around_a_task_does_not_come_back_without_its_wrapper() -> None:
    task, original = cases.task("digits indices"), cases.original("digits indices")
    run = imu.unlearn(imu.tasks.Planted(task, "outliers", share=0.5), original, steps=1)
    with pytest.raises(ValueError, match="Planted forgets no single samples"):
        imu.what_if(run, request=[1, 2])


def test_differences_are_the_other_run_minus_the_first(run: imu.Run) -> None:
    other = imu.what_if(run, drop=[int(run.samples["example"].iloc[0])])
    table = differences(run, other)
    assert cases.close(table["pressure_change"], table["pressure_other"] - table["pressure"], within=1e-5)
    assert table["margin_after_change"].abs().is_monotonic_decreasing
    assert (differences(run, imu.again(run)).filter(like="change").fillna(0) == 0).all(axis=None)


def test_a_subset_is_the_same_run_through_fewer_samples(run: imu.Run) -> None:
    some = run.samples["example"].iloc[[3, 50, 99]].tolist()
    few = subset(run, some)
    assert few.samples["example"].tolist() == some
    expected = run.trajectory[run.trajectory["example"].isin(some)]
    assert few.trajectory["loss"].tolist() == expected["loss"].tolist()
    assert len(subset(run, run.samples["example"], most=20).trajectory) == 20 * 13


def test_a_what_if_records_and_follows_as_its_run_did() -> None:
    task, original = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, original, steps=6, record_every=3, reference=cases.retrained("digits class"),
                      follow=["kl-retrained"])  # fmt: skip
    some = run.samples["example"].iloc[:3].tolist()
    for asked in ({"drop": some}, {"keep": some}, {"flip": some}):
        other = imu.what_if(run, **asked)
        assert other.steps.tolist() == [0, 3, 6] and other.settings["follow"] == [], "no retrained model was given"
