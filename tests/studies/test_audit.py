"""Every audit in one table: what stands in it, that nothing depends on order or numbering, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import sequences
import torch
from figures import records
from torch import nn

import imu_lab as imu
from imu_lab.core.messages import DoesNotApply
from imu_lab.core.records import Run
from imu_lab.core.running import copied
from imu_lab.measures.membership import auc
from imu_lab.measures.reference import Reference
from imu_lab.studies import audit as module
from imu_lab.studies.audited import Audited
from imu_lab.studies.head_only import Seen, fresh_probe


@pytest.fixture(scope="module")
def digit() -> Run:
    """A digit was forgotten, beside its retrained model."""
    task, original, retrained = (make("digits class") for make in (cases.task, cases.original, cases.retrained))
    return imu.unlearn(task, original, steps=20, step_norm=0.3, reference=retrained)


FEW = 50  # draws behind an interval: enough where nothing but its order is looked at


def by_name(table):
    """The rows by name and split."""
    return table.set_index(["name", "split"])


def test_membership_is_that_of_the_scores_table(digit: Run) -> None:
    table, samples = imu.audit(digit, "membership"), imu.membership(digit)
    assert len(table) == 8 and list(table)[:8] == module.COLUMNS[:8]
    assert samples["model"].unique().tolist() == ["run", "original", "retrained"]
    for model, column in (("run", "value"), ("original", "original"), ("retrained", "goal")):
        mine = samples[samples["model"] == model]
        for score, sign in (("loss", -1), ("confidence", 1), ("entropy", -1), ("modified_entropy", -1)):
            expected = auc(*(sign * mine.loc[mine["member"] == side, score].to_numpy() for side in (True, False)))
            row = by_name(table).loc[(f"AUC by {score.replace('_', ' ')}", "forget against test-forget")]
            assert row[column] == pytest.approx(expected, abs=1e-12)
    areas = table[table["unit"] == "probability"]
    assert (areas["low"] <= areas["value"]).all() and (areas["value"] <= areas["high"]).all()
    assert (table["high"] - table["low"]).between(0, 0.6).all() and table["formula"].str.contains("score").all()


@pytest.mark.full
def test_the_retrained_model_is_found_again(digit: Run, tmp_path) -> None:
    first = imu.audit(digit, "membership")
    loaded = imu.load_run(digit.save(tmp_path / "run"))
    assert loaded.beside is None
    assert imu.audit(loaded, "membership").equals(first)
    again = imu.again(digit, seed=digit.settings["seed"])
    assert imu.audit(again, "membership").equals(first)


@pytest.mark.full
def test_of_several_retrained_models_the_goal_is_the_mean() -> None:
    task, original = cases.task("digits fraction"), cases.original("digits fraction")
    references = imu.references(task, seeds=(0, 1))
    run = imu.unlearn(task, original, steps=2, reference=references)
    table = imu.audit(run, "membership", draws=FEW)
    each = [imu.audit(run, "membership", reference=one, draws=FEW)["goal"] for one in references.models]
    assert cases.close(table["goal"].to_numpy(), np.mean(each, 0), 1e-12)
    assert table["split"].unique().tolist() == ["forget against test"]


@pytest.mark.full
def test_without_a_retrained_model_goals_are_empty_and_that_is_said() -> None:
    run = imu.unlearn(cases.task("digits class"), cases.original("digits class"), steps=2)
    with pytest.warns(UserWarning, match="no retrained model beside it: goals are empty"):
        table = imu.audit(run, draws=FEW)
    assert table["goal"].isna().all() and (table["note"] != "").all()
    assert table.loc[table["audit"] == "membership", "value"].notna().all()


def test_what_cannot_be_audited_is_said(digit: Run, tmp_path) -> None:
    with pytest.raises(TypeError, match="audit takes a run of imu.unlearn; got a list of Run"):
        imu.audit([digit])
    with pytest.raises(imu.UnknownName, match="unknown audit: 'membrship'. Did you mean 'membership'"):
        imu.audit(digit, "membrship")
    with pytest.raises(ValueError, match="has the original itself"):
        imu.audit(digit, reference=cases.original("digits class"))
    with pytest.raises(ValueError, match=r"does not know its task; load it with imu.load_run\(path, task=...\)"):
        imu.audit(replace(digit, task=None))
    with pytest.raises(ValueError, match="kept no weights"):
        imu.audit(replace(digit, snapshots=None))
    with pytest.raises(TypeError, match="reference is a retrained model or imu.references"):
        imu.audit(digit, reference="retrained")


def test_sequences_are_audited_by_the_mean_over_their_tokens() -> None:
    original, retrained = sequences.models()
    run = imu.unlearn(sequences.tiny(), original, steps=3, reference=retrained)
    table = imu.audit(run, "membership")
    assert table["value"].notna().all() and table["split"].str.endswith("test-forget").all()


NAMES = ("red", "green", "blue")


def blobs(order: list[int], rename: list[int], wanted: tuple[int, ...] = (1,)):
    """A small task, its three models and a run's record; samples in some order, classes under other numbers."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(90) % 3
    inputs = torch.randn(90, 5, generator=generator) + 1.5 * torch.nn.functional.one_hot(targets, 5)
    unseen, answers = inputs[:45] + 0.3 * torch.randn(45, 5, generator=generator), targets[:45]
    number = torch.tensor(rename)
    place = {old: new for new, old in enumerate(order)}
    forget = [place[at] for at in range(90) if targets[at] in wanted and at < 60]
    classes = [NAMES[rename.index(at)] for at in range(3)]
    models = {name: network(seed, rename) for seed, name in enumerate(("original", "run", "retrained"))}
    flipped = torch.arange(44, -1, -1) if order != sorted(order) else torch.arange(45)
    task = imu.tasks.Classification.from_data(
        models["original"],
        (inputs[order], number[targets][order]),
        (unseen[flipped], number[answers][flipped]),
        forget_indices=sorted(forget),
        classes=classes,
    )
    reference = Reference(task, models["retrained"])
    return Audited(task, RUN, models, reference, 200, 0, {})


RUN = records.run({})


def network(seed: int, rename: list[int]) -> torch.nn.Module:
    """A network with some knowledge of the blobs, its outputs under other numbers."""
    generator = torch.Generator().manual_seed(seed)
    body, head = torch.nn.Linear(5, 8), torch.nn.Linear(8, 3)
    with torch.no_grad():
        body.weight.copy_(torch.eye(8, 5) + 0.3 * torch.randn(8, 5, generator=generator))
        weights = 1.5 * torch.eye(3, 8) + 0.3 * torch.randn(3, 8, generator=generator)
        head.weight[torch.tensor(rename)] = weights
        head.bias[torch.tensor(rename)] = -1.0 * seed * torch.tensor([0.0, 1.0, 0.0])  # green was forgotten
        body.bias.zero_()
    return torch.nn.Sequential(body, torch.nn.Tanh(), head).eval()


def test_what_is_drawn_again_of_several_classes_goes_not_by_their_numbers() -> None:
    assert_unchanged("accuracy", wanted=(0, 1, 2))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name == module.SHADOWS)) for name in module.FAMILIES]
)
def test_neither_the_order_of_samples_nor_the_numbers_of_classes_change_an_audit(family: str) -> None:
    assert_unchanged(family)


def assert_unchanged(family: str, wanted: tuple[int, ...] = (1,)) -> None:
    """Assert that an audit says the same of samples in another order, whose classes have other numbers."""
    order, few = np.random.default_rng(5).permutation(90).tolist(), (8,) * (family == module.SHADOWS)
    usual, other = blobs(list(range(90)), [0, 1, 2], wanted), blobs(order, [2, 0, 1], wanted)
    first, second = (
        pd.DataFrame(module.FAMILIES[family](asked, *few)).set_index(["name", "split"]).sort_index()
        for asked in (usual, other)
    )
    assert len(first) and first["value"].notna().all() and first.index.equals(second.index)
    for column in ("value", "low", "high", "goal", "original"):
        assert cases.close(
            second[column].to_numpy(), first[column].to_numpy(), 1e-4, of=1.0 + first["value"].abs().max()
        )
    assert list(first["note"]) == list(second["note"])


@pytest.mark.full
def test_tug_of_war_by_hand(digit: Run) -> None:
    task, models = (
        cases.task("digits class"),
        (digit.model, cases.retrained("digits class"), cases.original("digits class")),
    )
    accuracy = {
        split: [task.evaluate(model, split)["accuracy"] for model in models] for split in ("forget", "retain", "test")
    }
    row = imu.audit(digit, "tug-of-war", draws=FEW).iloc[0]
    assert row["value"] == pytest.approx(np.prod([1 - abs(mine - goal) for mine, goal, _ in accuracy.values()]))
    assert row["original"] == pytest.approx(np.prod([1 - abs(first - goal) for _, goal, first in accuracy.values()]))
    assert row["goal"] == 1 and row["low"] <= row["value"] <= row["high"]


@pytest.mark.full
def test_distances_are_those_that_a_run_records(digit: Run) -> None:
    followed = imu.unlearn(
        cases.task("digits class"), cases.original("digits class"), steps=20, step_norm=0.3,
        reference=cases.retrained("digits class"), follow=["kl-retrained", "js-retrained", "agreement"],
    )  # fmt: skip
    table = by_name(imu.audit(digit, "distance", draws=FEW))
    titles = {
        "kl_retrained": "KL to the retrained model",
        "js_retrained": "Jensen-Shannon divergence to the retrained model",
        "agreement": "agreement with the retrained model",
    }
    for metric, title in titles.items():
        for split in ("forget", "retain", "test", "test-forget"):
            row = table.loc[(title, split)]
            assert row["value"] == pytest.approx(followed.value(split, metric), rel=1e-4, abs=1e-6)
            assert row["original"] == pytest.approx(followed.value(split, metric, 0), rel=1e-4, abs=1e-6)
            assert row["goal"] == (metric == "agreement") and row["low"] <= row["value"] <= row["high"]


@pytest.mark.full
def test_w1_is_on_probabilities_and_never_on_class_numbers(digit: Run) -> None:
    samples = imu.membership(digit)
    rows = by_name(imu.audit(digit, "distance", draws=FEW))
    p = {
        model: samples[(samples["model"] == model) & samples["member"]]["confidence"].to_numpy()
        for model in ("run", "retrained", "original")
    }
    by_hand = np.abs(np.sort(p["run"]) - np.sort(p["retrained"])).mean()
    row = rows.loc[("W1 of the true answer's probability", "forget")]
    assert row["value"] == pytest.approx(by_hand, abs=1e-9) and row["value"] <= 1
    assert row["original"] == pytest.approx(np.abs(np.sort(p["original"]) - np.sort(p["retrained"])).mean(), abs=1e-9)


@pytest.mark.full
def test_of_several_retrained_models_the_goal_of_a_distance_is_the_noise_between_them() -> None:
    task, original = cases.task("digits fraction"), cases.original("digits fraction")
    references = imu.references(task, seeds=(0, 1))
    run = imu.unlearn(task, original, steps=2, reference=references)
    table = by_name(imu.audit(run, ["distance", "rmia"], draws=FEW))
    floor = references.noise_floor
    for split in ("forget", "retain", "test"):
        assert table.loc[("KL to the retrained model", split), "goal"] == pytest.approx(floor[split], rel=1e-5)
    assert table.loc[("AUC by RMIA", "forget against test"), "goal"] == pytest.approx(0.5, abs=0.5)


@pytest.mark.full
def test_accuracies_are_those_of_the_task(digit: Run) -> None:
    task, table = cases.task("digits class"), by_name(imu.audit(digit, "accuracy", draws=FEW))
    for split in ("forget", "retain", "test", "test-forget"):
        assert table.loc[("accuracy", split), "value"] == pytest.approx(task.evaluate(digit.model, split)["accuracy"])
    three = table.loc["accuracy of 3"]
    assert three.loc["seen", "value"] == table.loc[("accuracy", "forget"), "value"]
    assert three.loc["unseen", "original"] == table.loc[("accuracy", "test-forget"), "original"]
    kept = imu.class_accuracy(digit)
    assert kept["samples"].sum() == sum(len(task.split(split)) for split in ("forget", "retain", "test", "test-forget"))
    shares = kept[kept["seen"] & (kept["class"] != "3")]
    weighted = np.average(shares["value"], weights=shares["samples"])
    assert weighted == pytest.approx(task.evaluate(digit.model, "retain")["accuracy"])


@pytest.mark.full
def test_a_head_only_edit_changes_no_layer_before_it(digit: Run) -> None:
    table = by_name(imu.audit(digit, ["probes", "cka", "fresh-heads"], draws=FEW))
    layers = [name for name in table.index if "layer" in name[0] and "10" not in name[0]]
    assert len(layers) == 3 + 2 * 3
    for name in layers:
        assert table.loc[name, "value"] == table.loc[name, "original"]
    assert table.loc[("linear probe", "test-forget"), "value"] == table.loc[("linear probe", "test-forget"), "original"]
    changed = table.loc[("CKA of layer 10", "forget")]
    assert changed["value"] != changed["original"] and changed["goal"] == 1


@pytest.mark.full
def test_every_number_has_its_words(digit: Run) -> None:
    table = imu.audit(digit, draws=FEW)
    applies = table[~table["note"].str.startswith("does not apply")]
    assert set(table["audit"]) == set(module.FAMILIES) - {module.SHADOWS} and len(applies) == len(table)
    assert table["value"].notna().all() and table["original"].notna().all()
    assert table.loc[table["goal"].isna(), "note"].str.contains("two retrained models").all()
    for column in ("unit", "direction", "formula"):
        assert (table[column].str.len() > 3).all()
    assert not table.duplicated(["audit", "name", "split"]).any()
    known = table["low"].notna()
    assert known.all() and (table["low"] <= table["high"]).all()


@pytest.mark.full
def test_what_does_not_apply_to_sequences_is_said() -> None:
    original, retrained = sequences.models()
    run = imu.unlearn(sequences.tiny(), original, steps=3, reference=retrained)
    table = imu.audit(run, draws=FEW)
    missing = table[table["value"].isna()]
    assert missing["audit"].tolist() == ["fresh-heads", "probes"]
    assert missing["note"].str.startswith("does not apply: a fresh head needs one class per example").all()
    with pytest.raises(ValueError, match="several predictions each"):
        imu.audit(run, "probes")


@pytest.mark.slow
def test_everything_applies_to_persons() -> None:
    person = imu.unlearn(cases.task("person"), cases.original("person"), steps=2, reference=cases.retrained("person"))
    assert imu.audit(person, draws=FEW)["value"].notna().all()


@pytest.mark.parametrize("verb", [imu.audit, imu.membership, imu.class_accuracy, imu.prediction_matrix, imu.u_lira])
def test_every_verb_says_what_it_takes(verb, digit: Run) -> None:
    with pytest.raises(TypeError, match=f"{verb.__name__} takes a run of imu.unlearn; got None"):
        verb(None)
    with pytest.raises(ValueError, match=r"does not know its task; load it with imu.load_run\(path, task=...\)"):
        verb(replace(digit, task=None))


@pytest.mark.full
def test_a_loaded_run_without_its_task_is_audited_with_it(digit: Run) -> None:
    alone, task = replace(digit, task=None, beside=None), cases.task("digits class")
    found = imu.audit(alone, "membership", task=task, reference=cases.retrained("digits class"))
    assert found.equals(imu.audit(digit, "membership"))


LOOKS = {
    "audit": lambda run, task: imu.audit(run, "accuracy", task=task),
    "membership": lambda run, task: imu.membership(run, task=task),
    "class_accuracy": lambda run, task: imu.class_accuracy(run, task=task),
    "prediction_matrix": lambda run, task: imu.prediction_matrix(run, task=task),
    "u_lira": lambda run, task: imu.u_lira(run, 8, task=task),
    "side_by_side": lambda run, task: imu.side_by_side(run, run, task=task),
    "head_only": lambda run, task: imu.head_only(run, reference=cases.retrained("digits class"), task=task),
}


@pytest.mark.parametrize("look", LOOKS)
def test_another_task_is_not_taken_for_that_of_a_run(look: str, digit: Run) -> None:
    alone = replace(digit, beside=None)
    with pytest.raises(
        ValueError, match="the run 'imu .*' forgot 146 samples, and the task given forgets 3, of which 0"
    ):
        LOOKS[look](alone, imu.tasks.Classification("digits", forget_indices=[0, 1, 2]))


def test_other_data_are_told_of_where_a_run_is_audited() -> None:
    task, other = (cases.own_data(cases.conv_net(), forget_indices=[0, 4], seed=seed) for seed in (0, 1))
    run = imu.unlearn(task, cases.conv_net(), steps=1, reference=cases.conv_net(1))
    with pytest.warns(UserWarning, match="was made on another task than the one given"):
        imu.audit(run, "accuracy", task=other)


@pytest.mark.full
def test_a_class_without_unseen_pictures_is_said() -> None:
    inputs, targets = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    kept, model = targets != 1, torch.nn.Linear(4, 3)
    task = imu.tasks.Classification.from_data(
        model, (inputs, targets), (inputs[kept] + 0.1, targets[kept]), forget_indices=[1, 4, 7]
    )
    run = imu.unlearn(task, model, steps=1, lr=0.1, reference=task.make_model(1).eval())
    with pytest.raises(ValueError, match="'test' split has none of class '1'; give the task held-out samples of them"):
        imu.audit(run, "membership")
    with pytest.raises(ValueError, match="has none of class '1'"):
        imu.membership(run)
    with pytest.raises(ValueError, match="has none of class '1'"):
        imu.u_lira(run, pairs=8)
    table = imu.audit(run, draws=FEW).set_index("audit")
    for name in ("membership", "rmia"):
        assert np.isnan(table.loc[name, "value"]) and "none of class '1'" in table.loc[name, "note"]
    assert table.loc["accuracy", "value"].notna().all() and not np.isnan(table.loc["tug-of-war", "value"])


@pytest.mark.full
def test_a_fault_is_never_taken_for_what_does_not_apply(digit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(error):
        def rows(asked):
            raise error

        return {"broken": rows, "tug-of-war": module.FAMILIES["tug-of-war"]}

    monkeypatch.setattr(module, "FAMILIES", broken(DoesNotApply("these samples have no colour")))
    table = imu.audit(digit, draws=FEW).set_index("audit")
    assert table.loc["broken", "note"] == "does not apply: these samples have no colour"
    assert table.loc["tug-of-war", "value"] > 0
    monkeypatch.setattr(module, "FAMILIES", broken(ValueError("operands could not be broadcast")))
    with pytest.raises(ValueError, match="could not be broadcast"):
        imu.audit(digit)


def test_a_probe_needs_two_classes() -> None:
    head = Seen(np.ones((4, 2)), np.zeros(4, int), np.zeros(4, int))
    with pytest.raises(DoesNotApply, match="what it would learn from is all of one class"):
        fresh_probe(head, head)


@dataclass(frozen=True)
class Gone(imu.tasks.Toy):
    """What is to be kept is not at hand any more."""

    splits = ("forget", "test")

    def split(self, name: str):
        """The forget set and unseen points alone."""
        if name in ("retain", "train"):
            raise KeyError("those data are gone")
        return super().split(name)


def test_data_that_are_gone_are_not_asked_for_and_that_is_said() -> None:
    run = imu.unlearn(Gone(), cases.original("toy"), steps=2)
    with pytest.warns(UserWarning, match="no retrained model"):
        table = imu.audit(run, draws=FEW).set_index("audit")
    for name in ("fresh-heads", "probes"):
        assert np.isnan(table.loc[name, "value"])
        assert "split, which this task does not give: 'those data are gone'" in table.loc[name, "note"]
    assert set(table.loc[table.index == "accuracy", "split"]) == {"forget", "test", "seen", "unseen"}
    assert "none of class '0'" in table.loc["membership", "note"] and table.loc["relearning", "value"] >= 0
    with pytest.raises(ValueError, match="none of class '0'"):
        imu.u_lira(run, pairs=8)


def test_prediction_matrices_of_each_model(digit: Run) -> None:
    found = {model: imu.prediction_matrix(digit, "test-forget", model) for model in ("run", "original", "retrained")}
    assert all(matrix.loc["3"].sum() == 37 and matrix.drop("3").to_numpy().sum() == 0 for matrix in found.values())
    assert found["retrained"].loc["3", "3"] == 0 < found["original"].loc["3", "3"]
    with pytest.raises(imu.UnknownName, match="unknown model: 'retraind'. Did you mean 'retrained'"):
        imu.prediction_matrix(digit, "test", "retraind")


def own_run(**request: object) -> tuple[Run, Any]:
    """A run on a few points of three classes, and its retrained model."""
    chance = torch.Generator().manual_seed(0)
    labels = [torch.arange(count) % 3 for count in (60, 30)]
    points = [(2 * torch.eye(6)[each] + torch.randn(len(each), 6, generator=chance), each) for each in labels]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    task = imu.tasks.Classification.from_data(network, *points, **request)
    retrained = imu.train(task, "retain")
    return imu.unlearn(task, imu.train(task), steps=2, lr=0.1, reference=retrained), retrained


@pytest.mark.full
def test_a_single_sample_to_forget_is_audited() -> None:
    run, _ = own_run(forget_indices=[4])
    table = imu.audit(run, pairs=8)
    assert set(table["audit"]) == set(module.FAMILIES)
    of = {split: rows for split, rows in table[table["audit"] == "cka"].groupby("split")}
    assert (of["retain"]["value"] > 0).all() and of["forget"][["value", "low", "high"]].isna().all(axis=None)
    assert of["forget"]["note"].str.contains("answers all 1 sample.s. alike").all()
    probe = table[table["audit"] == "probes"].iloc[0]
    assert probe["value"] in (0.0, 1.0) and 0 <= probe["low"] < probe["high"] <= 1


def test_a_model_that_answers_every_sample_alike_has_no_cka_and_that_is_said() -> None:
    run, retrained = own_run(forget_fraction=0.3)
    level = copied(retrained)
    with torch.no_grad():
        level[0].weight.zero_()
    table = imu.audit(run, "cka", reference=level)
    assert table["value"].isna().all() and table["note"].str.contains("no value: one of the two answers all").all()


def test_models_that_cannot_be_put_beside_a_run_are_refused() -> None:
    run, retrained = own_run(forget_fraction=0.3)
    with pytest.raises(ValueError, match="the retrained model has 4 outputs, and the task has 3 answers"):
        imu.audit(run, reference=nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)))
    broken = copied(retrained)
    with torch.no_grad():
        broken[2].bias[1] = torch.nan
    for verb in (imu.audit, imu.membership, imu.class_accuracy):
        with pytest.raises(ValueError, match="loss of the retrained model is NaN for 18 of 18 samples to forget"):
            verb(run, reference=broken)


@pytest.mark.parametrize("asked, error, said", [
    ({"only": 3}, TypeError, "only= names one or several of 'membership', .*got an int"),
    ({"only": []}, ValueError, "only= names no audit; leave it out for all"),
    ({"draws": 0}, ValueError, "draws must be a whole number >= 1, got 0"),
    ({"draws": 2.5}, ValueError, "draws must be a whole number >= 0, got 2.5"),
    ({"seed": None}, ValueError, "a seed is a whole number from 0, got None"),
    ({"seed": -1}, ValueError, "a seed is a whole number from 0, got -1"),
])  # fmt: skip
def test_settings_that_are_none_are_refused(asked: dict, error: type, said: str, digit: Run) -> None:
    with pytest.raises(error, match=said):
        imu.audit(digit, **asked)


def test_an_audit_that_is_named_twice_is_made_once(digit: Run) -> None:
    assert len(imu.audit(digit, ["rmia", "rmia"])) == len(imu.audit(digit, "rmia"))


@pytest.mark.full
def test_a_single_draw_is_no_interval_but_no_fault(digit: Run) -> None:
    assert imu.audit(digit, ["membership", "cka"], draws=1)["value"].notna().all()
