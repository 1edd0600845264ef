"""Fresh heads on frozen features: hand-computed prototypes, scikit-learn's probe, and which edits they see through."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import sequences
import torch

import imu_lab as imu
from imu_lab.studies.head_only import Seen, _prototypes, fresh_probe, seen_by
from imu_lab.tasks.protocol import Task

MEASURES = ["own head", "linear probe", "prototypes"]


def seen(rows: list[list[float]], truth: list[int]) -> Seen:
    """Features by hand."""
    return Seen(np.array(rows), np.array(truth), np.zeros(len(rows), dtype=int))


@pytest.fixture(scope="module")
def digit() -> Task:
    """A digit is to be forgotten."""
    return cases.task("digits class")


def test_prototypes_by_hand() -> None:
    train = seen([[0, 0], [2, 0], [10, 10], [10, 12], [100, 100]], [4, 4, 7, 7, 9])
    test = seen([[1, 3], [9, 9], [60, 60], [50, 50]], [4, 7, 9, 7])  # means (1, 0), (10, 11), (100, 100)
    assert _prototypes(train, test, 10, 0).tolist() == [4, 7, 9, 7]
    one = {tuple(_prototypes(train, seen([[0.9, 0.0]], [4]), 1, seed)) for seed in range(9)}
    assert one == {(4,)}, "either of its pictures is nearer than any of another class"


def test_the_probe_learns_from_the_training_pictures_alone() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(60) % 3
    train = Seen(random.normal(size=(60, 4)) + 6 * np.eye(4)[truth], truth, truth)
    test = Seen(1e3 * train.features[:9], truth[:9], truth[:9])
    assert fresh_probe(train, test).tolist() == truth[:9].tolist()
    shuffled = train._replace(truth=np.roll(truth, 1))
    assert fresh_probe(shuffled, train).tolist() == np.roll(truth, 1).tolist()


@pytest.mark.full
def test_an_edit_of_the_readout_leaves_every_fresh_head_as_it_was(digit: Task) -> None:
    original, retrained = cases.original("digits class"), cases.retrained("digits class")
    run = imu.unlearn(digit, original, steps=300, stop_at=0.05)
    table = imu.head_only(run, reference=retrained).set_index(["measure", "split"])
    assert list(table.index) == [(measure, split) for measure in MEASURES for split in ("test-forget", "test")]
    assert (
        table.loc[("own head", "test-forget"), "original"]
        > 0.8
        > 0.2
        > table.loc[("own head", "test-forget"), run.label]
    )
    assert (table[run.label] == table["original"])[2:].all(), "to the last digit: the features are the same"
    for split in ("test-forget", "test"):
        for who, model in {"original": original, run.label: run.model, "goal": retrained}.items():
            assert table.loc[("own head", split), who] == pytest.approx(digit.evaluate(model, split)["accuracy"])
    probe = fresh_probe(*(seen_by(digit, retrained, digit.split(name)) for name in ("train", "test-forget")))
    truth = digit.split("test-forget").batch().targets.numpy()
    assert table.loc[("linear probe", "test-forget"), "goal"] == np.mean(probe == truth)
    assert table["unit"].eq("share correct").all() and table["good"].str.contains("goal").all()


@pytest.mark.full
def test_a_deeper_readout_moves_what_a_fresh_head_sees(digit: Task) -> None:
    deep = imu.tasks.Classification("digits", forget_class=3, recipe=cases.QUICK, readout="all")
    original, reference = cases.original("digits class"), cases.retrained("digits class")
    run = imu.unlearn(deep, original, steps=25, step_norm=0.3)
    flat = imu.unlearn(digit, original, steps=25, step_norm=0.3)
    before, after, head = (
        seen_by(digit, model, digit.split("test-forget")).features for model in (original, run.model, flat.model)
    )
    assert np.array_equal(before, head) and np.abs(after - before).max() > 0.1 * np.abs(before).max()
    table = imu.head_only([flat, run], reference=reference).set_index(["measure", "split"])
    names = [name for name in table if name.startswith("imu")]
    assert table.loc[("linear probe", "test"), names[0]] == table.loc[("linear probe", "test"), "original"]
    assert table.loc[("prototypes", "test"), names[1]] != table.loc[("prototypes", "test"), "original"]


@pytest.mark.slow
def test_of_single_samples_heads_learn_the_others() -> None:
    task = cases.task("digits fraction")
    models = {"nothing": cases.original("digits fraction")}
    references = imu.references(task, seeds=(0, 1))
    table = imu.head_only(models, task=task, original=models["nothing"], reference=references, per_class=3)
    assert table["split"].unique().tolist() == ["forget", "test"]
    assert (table["nothing"] == table["original"]).all()
    assert (table["goal_low"] <= table["goal"]).all() and (table["goal"] <= table["goal_high"]).all()
    assert "3 training pictures" in table["formula"].iloc[-1]
    each = [
        imu.head_only(models, task=task, original=models["nothing"], reference=one)["goal"] for one in references.models
    ]
    assert cases.close(table["goal"][:4].to_numpy(), np.mean(each, 0)[:4], within=1e-9)


@pytest.mark.full
def test_runs_from_several_originals_each_have_a_column(digit: Task) -> None:
    mine, reference = [cases.original("digits class"), digit.make_model(1).eval()], cases.retrained("digits class")
    runs = [imu.unlearn(digit, model, steps=2) for model in mine]
    table = imu.head_only(runs, reference=reference).set_index(["measure", "split"])
    assert {f"{runs[0].label} #1", f"{runs[0].label} #2"} <= set(table)
    each = [imu.head_only(run, reference=reference).set_index(["measure", "split"])["original"] for run in runs]
    assert cases.close(table["original"].to_numpy(), np.mean(each, 0), within=1e-12)


def test_a_class_that_no_head_can_learn_is_no_success() -> None:
    task = cases.own_data(
        forget_indices=[at for at, label in enumerate(cases.images(60, 0, torch.float32)[1]) if label == 1]
    )
    model = task.make_model(0)
    with pytest.raises(ValueError, match="which has no sample of class '?1'?: they could never name it"):
        imu.head_only({"a": model}, task=task, original=model, reference=model)


def test_what_cannot_be_asked_is_said(digit: Task) -> None:
    original = sequences.models()[0]
    with pytest.raises(ValueError, match="one class per example; .* several predictions each"):
        imu.head_only({"a": original}, task=sequences.tiny(), original=original, reference=original)
    mine = {"a": cases.original("digits class")}
    with pytest.raises(ValueError, match="models by name need task= and original="):
        imu.head_only(mine, reference=mine["a"])
    with pytest.raises(ValueError, match="no model to compare with"):
        imu.head_only(mine, task=digit, original=mine["a"], reference=None)
    with pytest.raises(ValueError, match="per_class is a number of pictures from 1, got 0"):
        imu.head_only(mine, task=digit, original=mine["a"], reference=mine["a"], per_class=0)
    with pytest.raises(ValueError, match="a column 'goal' of its own"):
        imu.head_only({"goal": mine["a"]}, task=digit, original=mine["a"], reference=mine["a"])
    with pytest.raises(ValueError, match="there are no runs"):
        imu.head_only([], reference=mine["a"])
    inputs, targets = torch.randn(30, 4), torch.randn(30)
    model = torch.nn.Linear(4, 1)
    numbers = imu.tasks.Classification.from_data(
        model, (inputs, targets), (inputs + 1, targets), forget_indices=[0, 1],
        loss=lambda made, wanted: (made[:, 0] - wanted) ** 2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="the targets are no classes|no probabilities"):
        imu.head_only({"a": model}, task=numbers, original=model, reference=model)


@pytest.mark.filterwarnings("ignore:this run has no retrained model")
def test_where_all_unseen_samples_are_of_the_class_the_others_are_left_out() -> None:
    inputs, labels = (each.numpy() for each in cases.images(30, 1))
    task = imu.tasks.Classification.from_data(
        cases.conv_net(), cases.images(60, 0), (inputs[labels == 1], labels[labels == 1]), forget_class=1
    )
    run = imu.unlearn(task, cases.conv_net(), steps=1, lr=0.1)
    table = imu.audit(run, only="fresh-heads")
    assert len(table) and set(table["split"]) == {"test-forget"}
