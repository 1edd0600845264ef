"""Requests by a filter or by likeness: which samples they name, and which they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import copied
from imu_lab.features import view
from imu_lab.tasks import Classification


def ids(task: object) -> list[int]:
    return task.split("forget").ids.tolist()


def test_a_filter_on_labels_names_those_samples() -> None:
    task = cases.task("digits class")
    labels = np.array(task.labels(task.split("train").ids))
    found = imu.forget_where(task, "label in ['3', '5'] and example < 700")
    assert ids(found) == np.flatnonzero(np.isin(labels, ["3", "5"]) & (np.arange(len(labels)) < 700)).tolist()
    assert ids(imu.forget_where(task, lambda rows: (rows["label"] == "8") & (rows["example"] % 2 == 0))) == [
        k for k in np.flatnonzero(labels == "8").tolist() if k % 2 == 0
    ]
    assert found.recipe == task.recipe and found.data_key == task.data_key
    assert f"to forget: {len(ids(found))} of 1,437 training samples" in found.about


def test_losses_of_a_model_are_columns_of_all_training_samples() -> None:
    task, model = cases.task("own data"), cases.original("own data")
    batch = task.split("train").batch()
    with torch.no_grad():
        losses = nn.functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
    least = losses.median().item()
    some = (losses > least).nonzero().flatten().tolist()[:12]
    assert ids(imu.forget_where(task, f"loss > {least!r} and example <= {some[-1]}", model=model)) == some
    with torch.no_grad():
        wrong = (model(batch.inputs).argmax(1) != batch.targets).nonzero().flatten().tolist()[:12]
    assert ids(imu.forget_where(task, f"margin < 0 and example <= {wrong[-1]}", model=model)) == wrong


def test_a_ledger_speaks_of_its_own_samples_and_its_columns_are_joined_by_the_sample() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, steps=2)
    ledger = run.samples.sample(frac=1, random_state=0)  # in any order
    hard = run.samples.loc[run.samples["loss_after"] > run.samples["loss_after"].median(), "example"]
    for table in (run, ledger):
        found = imu.forget_where(
            task, f"loss_after > {float(run.samples['loss_after'].median())!r} and label == '3'", table
        )
        assert ids(found) == sorted(hard)
    scores = imu.influence(task, model)
    most = scores.frame.nsmallest(7, "influence")["example"]
    assert ids(imu.forget_where(task, f"influence <= {float(np.sort(scores.values)[6])!r}", scores)) == sorted(most)
    weights = imu.intensity(scores)
    heavy = weights.frame.query("weight > 0.01")["example"].tolist()
    assert heavy and ids(imu.forget_where(task, "weight > 0.01", weights)) == heavy


def test_of_many_so_many_are_drawn_by_a_seed() -> None:
    task = cases.task("digits class")
    drawn = [ids(imu.forget_where(task, "label == '1'", at_most=20, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and {len(each) for each in drawn} == {20}
    assert {*task.labels(drawn[0]), *task.labels(drawn[2])} == {"1"}
    assert len(ids(imu.forget_where(task, "label == '1' and example < 30", at_most=50))) < 20


def test_files_and_the_second_level_are_columns(tmp_path: Path) -> None:
    from PIL import Image

    for part, count in (("train", 3), ("test", 1)):
        for above, below in (("pet", "cat"), ("pet", "dog"), ("cattle", "cow")):
            (tmp_path / part / above / below).mkdir(parents=True)
            for k in range(count):
                shade = 20 * k + 10 * len(above) + ord(below[0])
                Image.new("RGB", (8, 8), (shade, k, len(part))).save(tmp_path / part / above / below / f"{k}.png")
    task = Classification(str(tmp_path), forget_fraction=0.2, level="superclass")
    dogs = imu.forget_where(task, "subclass == 'dog'")
    assert len(ids(dogs)) == 3 and dogs.columns(ids(dogs)) == {"subclass": ["dog"] * 3}
    assert set(dogs.labels(ids(dogs))) == {"pet"} and dogs.emptied == ()
    files = imu.forget_where(task, "file.str.endswith('1.png')")
    assert {Path(name).name for name in files.files(ids(files))} == {"1.png"} and len(ids(files)) == 3


def test_language_too_is_asked_by_its_labels() -> None:
    task = cases.task("language")
    author = task.labels(task.split("forget").ids)[0]
    found = imu.forget_where(task, lambda rows: rows["label"] == author)
    assert set(found.labels(found.split("forget").ids)) == {author} and len(found.split("retain"))


@pytest.mark.parametrize(("where", "said"), [
    ("label == 'cat'", "finds none of 1,437 samples; label is '0', '1'"),
    ("example > 5000", "finds none.*example goes from 0 to 1436"),
    ("example >= 0", "finds all 1,437 training samples; something must be left to keep"),
    ("loss > 1", "cannot be read .*the columns are example, label$"),
    ("label in ['1'", "cannot be read"),
    ("label", "must be true or false for each of 1,437 samples; it gave object"),
    ("1 > 0", r"must be true or false .* shape \(\)"),
    (lambda rows: rows["example"] / 0 > rows["lbl"], "cannot be read .*the columns are example, label"),
    (lambda rows: [True], r"it gave bool of shape \(1,\)"),
])  # fmt: skip
def test_conditions_that_name_nobody_or_everybody_are_refused_in_words(where: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imu.forget_where(cases.task("digits class"), where)


def test_tables_that_do_not_tell_one_thing_of_each_sample_are_refused() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, steps=2)
    with pytest.raises(ValueError, match="several rows for sample .*choose one for each"):
        imu.forget_where(task, "loss > 1", run.trajectory)
    with pytest.raises(imu.UnknownName, match="unknown column that tells the sample: 'example'.* Known: Example"):
        imu.forget_where(task, "loss > 1", run.samples.rename(columns={"example": "Example"}))
    with pytest.raises(ValueError, match="speaks of sample 9999, which is not in the training set"):
        imu.forget_where(task, "x > 1", pd.DataFrame({"example": [1, 9999], "x": [2, 2]}))
    with pytest.raises(TypeError, match="a DataFrame with a column 'example'; got a list"):
        imu.forget_where(task, "x > 1", [1, 2])
    with pytest.raises(ValueError, match="forgets no single samples"):
        imu.forget_where(cases.task("person"), "example < 3")


def test_the_samples_most_like_one_have_the_largest_cosines() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    viewed, _ = view(task, model)
    rows = viewed.split("train").batch().inputs
    cosines = torch.stack([torch.nn.functional.cosine_similarity(rows[17], row, dim=0) for row in rows])
    found = ids(imu.forget_like(task, model, 17, 30))
    assert 17 in found and len(found) == 30
    rest = torch.ones(len(rows), dtype=torch.bool)
    rest[found] = False
    assert cosines[found].min() >= cosines[rest].max() - 1e-6
    other = Classification("digits", forget_fraction=0.1, recipe=task.recipe)
    assert ids(imu.forget_like(other, model, 17, 30)) == found, "the task's own request plays no part"
    assert ids(imu.forget_like(task, model, 17, 1)) == [17]


def test_likeness_needs_no_linear_readout_and_works_on_sequences() -> None:
    task = cases.own_data(readout="all")
    found = ids(imu.forget_like(task, cases.conv_net(), 4, 9))
    assert 4 in found and len(found) == 9
    language = cases.task("language")
    assert len(imu.forget_like(language, cases.original("language"), 0, 3).split("forget")) == 3


@pytest.mark.parametrize(("example", "count", "said"), [
    (1437, 3, "example 1437 is not in the training set, which has 0 to 1436"),
    (-1, 3, "example -1 is not"),
    (True, 3, "example True is not"),
    (2.0, 3, "example 2.0 is not"),
    (0, 1437, "count=1437 leaves none of the 1,437 training samples"),
    (0, 0, "count must be a whole number >= 1"),
])  # fmt: skip
def test_a_likeness_to_nobody_or_of_everybody_is_refused(example: object, count: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imu.forget_like(cases.task("digits class"), cases.original("digits class"), example, count)


def test_a_request_that_empties_a_class_says_so() -> None:
    task = cases.task("digits class")
    with pytest.warns(UserWarning, match="every training sample of class '1', '4'.*stay in the test split") as told:
        emptied = imu.forget_where(task, "label in ['1', '4'] or example < 10")
    assert told[0].filename == __file__ and emptied.emptied == ("1", "4")
    assert "which leaves none of class '1', '4'" in emptied.about and "class '3'" in task.about
    assert imu.forget_where(task, "label == '1'", at_most=10).emptied == ()


def test_truth_values_in_another_order_belong_to_their_rows() -> None:
    task = cases.task("digits class")
    score = np.random.default_rng(0).permutation(len(task.split("train"))).astype(float)
    table = pd.DataFrame({"example": task.split("train").ids.numpy(), "score": score})
    found = imu.forget_where(
        task, lambda rows: rows.sort_values("score", ascending=False).groupby("label").cumcount() < 3, table
    )
    labels = np.array([str(label) for label in task.labels(table["example"])])
    wanted = [
        at for label in np.unique(labels) for at in sorted(np.flatnonzero(labels == label), key=lambda k: -score[k])[:3]
    ]
    assert ids(found) == sorted(table["example"].to_numpy()[wanted].tolist())


def test_a_loss_that_two_tell_is_asked_about() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    run = imu.unlearn(task, model, steps=2)
    table = run.trajectory[run.trajectory["step"] == 2]
    with pytest.raises(ValueError, match="both the table and model= tell .*'loss'.*leave one of them out"):
        imu.forget_where(task, "loss > 2", table, model=model)


def test_what_a_table_does_not_know_of_a_sample_fulfils_no_condition() -> None:
    task = cases.task("digits class")
    column = pd.array([3, None, 9, 1], dtype="Int64")
    table = pd.DataFrame({"example": [5, 6, 7, 8], "count": column, "known": column > 2})
    assert ids(imu.forget_where(task, "count > 2", table)) == [5, 7] == ids(imu.forget_where(task, "known", table))
    assert ids(imu.forget_where(task, lambda rows: rows["count"] < 9, table)) == [5, 8]


@pytest.mark.parametrize("ask", [
    lambda task, model: imu.forget_like(task, model, 5),
    lambda task, model: imu.forget_where(task, "loss > 1", model=model),
    lambda task, model: imu.influence(task, model),
    lambda task, model: imu.unlearn(task, model, steps=1),
])  # fmt: skip
def test_a_model_of_other_inputs_is_told_what_the_task_has(ask: Callable) -> None:
    with pytest.raises(
        ValueError, match=r"this Linear cannot answer the task's examples, each \(1, 8, 8\): mat1 and mat2"
    ):
        ask(cases.task("digits class"), torch.nn.Linear(3, 10))


def test_nothing_is_like_a_sample_of_which_a_model_makes_nan() -> None:
    task, model = cases.task("digits class"), copied(cases.original("digits class"))
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    count = len(task.split("train"))
    with pytest.raises(ValueError, match=f"{count:,} of {count:,} samples is not finite"):
        imu.forget_like(task, model, 5)
