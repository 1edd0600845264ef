"""The user's verbs together: the pipeline, seeds, what a run holds, saving and loading."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.records import TABLES

TABLE_NAMES = ["curve", "samples", "trajectory", "terms", "reference"]


@pytest.fixture(scope="module")
def weights() -> imu.Intensity:
    """The paper's weights on digits, class 3."""
    return imu.intensity(imu.influence(cases.task("digits class"), cases.original("digits class")))


@pytest.fixture(scope="module")
def run(weights: imu.Intensity) -> imu.Run:
    """A run on digits, class 3."""
    task, model = cases.task("digits class"), cases.original("digits class")
    return imu.unlearn(task, model, weights, steps=8, lr=5e-3, reference=cases.retrained("digits class"))


def test_the_ledger_joins_what_was_known_with_what_happened(run: imu.Run, weights: imu.Intensity) -> None:
    assert run.samples.columns.tolist()[:13] == [
        "example", "label", "influence", "selected", "weight", "pressure", "loss_before", "loss_after",
        "confidence_before", "confidence_after", "margin_before", "margin_after", "time_to_forget",
    ]  # fmt: skip
    assert run.samples["example"].tolist() == cases.task("digits class").split("forget").ids.tolist()
    assert set(run.samples["label"]) == {"3"}
    for name in ("influence", "selected", "weight"):
        assert run.samples[name].tolist() == weights.frame[name].tolist()


def test_the_curve_covers_every_split_from_the_original_on(run: imu.Run) -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    assert set(run.curve["split"]) == {"forget", "retain", "test", "test-forget"}
    for split in task.splits:
        assert run.value(split, "accuracy", 0) == task.evaluate(model, split)["accuracy"]
        assert run.value(split, "accuracy") == task.evaluate(run.model, split)["accuracy"]


def test_the_unlearned_model_differs_in_its_readout_alone(run: imu.Run) -> None:
    before, after = cases.original("digits class").state_dict(), run.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"10.weight", "10.bias"}
    assert not run.model.training and all(value.requires_grad for value in run.model.parameters())
    assert run.model is run.model


def test_a_model_that_its_user_trains_on_is_not_the_run() -> None:
    """Else an audit would be one of another model, and so would each state of the run that is given back."""
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, lr=0.1)
    expected = imu.audit(run, "accuracy", reference=cases.retrained("toy"))
    with torch.no_grad():
        for value in run.model.parameters():
            value.fill_(0.5)
    assert imu.audit(run, "accuracy", reference=cases.retrained("toy")).equals(expected)
    assert all(not (value == 0.5).all() for value in run.model_at(2).parameters())
    assert all((value == 0.5).all() for value in run.model.parameters()), "theirs stays as they left it"


def test_the_settings_reproduce_the_run(run: imu.Run, weights: imu.Intensity) -> None:
    settings = run.settings
    assert settings["weights"]["rule"] == "sqrt-clipped"
    assert settings["weights"]["influence"]["estimator"] == "fisher-diagonal"
    again = imu.unlearn(
        cases.task("digits class"),
        cases.original("digits class"),
        weights,
        settings["method"],
        steps=settings["steps"],
        seed=settings["seed"],
        reference=cases.retrained("digits class"),
        **settings["settings"],
    )
    for name in TABLE_NAMES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name))
    assert torch.equal(again.model[10].weight, run.model[10].weight)


def test_a_task_declares_its_own_defaults() -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1)
    assert (run.settings["settings"]["lr"], run.settings["settings"]["batch_size"]) == (3e-2, 16)
    assert imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, lr=0.5).settings["settings"]["lr"] == 0.5
    assert imu.Session(cases.task("toy"), cases.original("toy")).defaults()["lr"] == 3e-2


def test_seeds_give_a_list_and_each_its_own_order() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    runs = imu.unlearn(task, model, steps=3, seeds=range(3))
    assert [run.settings["seed"] for run in runs] == [0, 1, 2]
    assert len({tuple(run.model[2].bias.tolist()) for run in runs}) == 3
    alone = imu.unlearn(task, model, steps=3, seed=2)
    assert torch.equal(alone.model[2].weight, runs[2].model[2].weight)


def test_a_session_gives_what_the_verbs_give() -> None:
    task, model = cases.task("toy"), cases.original("toy")
    session = imu.Session(task, model, cases.retrained("toy"))
    scores = session.influence()
    assert np.array_equal(scores.values, imu.influence(task, model).values)
    one = session.unlearn(session.intensity(scores), steps=3)
    other = imu.unlearn(task, model, imu.intensity(scores), steps=3, reference=cases.retrained("toy"))
    pd.testing.assert_frame_equal(one.curve, other.curve)
    pd.testing.assert_frame_equal(one.reference, other.reference)


def test_editing_the_model_after_a_run_changes_nothing_in_the_run() -> None:
    task, model = cases.task("toy"), cases.task("toy").make_model(3)
    run = imu.unlearn(task, model, steps=1)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    assert torch.equal(run.model[0].weight, before)


def test_retraining_as_a_method_is_training_on_retain() -> None:
    task = cases.task("toy")
    run = imu.unlearn(task, cases.original("toy"), method="retrain", steps=task.recipe.epochs + 2)
    expected = cases.retrained("toy").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in run.model.state_dict().items())


# Saving and loading.


def test_a_loaded_run_is_the_run(run: imu.Run, tmp_path: Path) -> None:
    again = imu.load_run(run.save(tmp_path / "run.imu"))
    for name in TABLE_NAMES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name))
    assert again.settings == run.settings and again.events == run.events and again.label == run.label
    assert again.task == cases.task("digits class")
    expected = run.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.model.state_dict().items())
    assert not again.model.training


def test_a_loaded_run_can_be_saved_again(run: imu.Run, tmp_path: Path) -> None:
    first = imu.load_run(run.save(tmp_path / "one.imu"))
    second = imu.load_run(first.save(tmp_path / "two.imu"))
    assert torch.equal(second.model[10].weight, run.model[10].weight)


@pytest.mark.parametrize("stop_at", [None, 0.5, ("accuracy", "<=", 0.5), ("loss", ">", np.float32(9.0))])
def test_any_stop_rule_can_be_saved(tmp_path: Path, stop_at: object) -> None:
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, stop_at=stop_at)
    assert imu.load_run(run.save(tmp_path / "a.imu")).settings["method"] == "imu"


def test_a_run_with_numpy_settings_can_be_saved(tmp_path: Path) -> None:
    task = imu.tasks.Classification("digits", forget_class=np.int64(3), recipe=cases.QUICK)
    model = cases.original("digits class")
    run = imu.unlearn(task, model, steps=np.int64(1), seed=np.int64(0), record_every=np.int64(1), lr=np.float32(0.01))
    again = imu.load_run(run.save(tmp_path / "a.imu"))
    assert again.task == task and torch.equal(again.model[10].weight, run.model[10].weight)


def test_a_run_is_never_silently_overwritten(run: imu.Run, tmp_path: Path) -> None:
    path = run.save(tmp_path / "run.imu")
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="run.imu exists already"):
        run.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.imu"]
    run.save(path, overwrite=True)


def test_a_truncated_run_is_refused(run: imu.Run, tmp_path: Path) -> None:
    path = run.save(tmp_path / "run.imu")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(imu.DamagedFile, match="run.imu"):
        imu.load_run(path)


def test_a_run_that_lacks_a_table_is_refused(run: imu.Run, tmp_path: Path) -> None:
    from imu_lab.core import storage

    tables = {name: getattr(run, name) for name in TABLES if name != "terms"}
    storage.write_whole(tmp_path / "a.imu", storage.pack("run", tables, {"settings": {}, "events": {}}))
    with pytest.raises(imu.DamagedFile, match="lacks the tables 'terms'"):
        imu.load_run(tmp_path / "a.imu")


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.imu"):
        imu.load_run(tmp_path / "nothing.imu")


def test_a_run_on_own_data_needs_the_task_or_a_model_for_its_model(tmp_path: Path) -> None:
    task, model = cases.task("own data"), cases.original("own data")
    run = imu.unlearn(task, model, steps=2)
    path = run.save(tmp_path / "own.imu")
    again = imu.load_run(path)
    pd.testing.assert_frame_equal(again.curve, run.curve)
    told = r"cannot be made again.*pass load_run\(path, task=...\) or model=....*=data and a model of a user's own, forget_"
    with pytest.raises(ValueError, match=told):
        again.model
    before = cases.frozen(model)
    for loaded in (imu.load_run(path, model=model), imu.load_run(path, task=task)):
        assert torch.equal(loaded.model.classifier.weight, run.model.classifier.weight)
    assert cases.same(before, model)


def test_a_model_that_cannot_be_reset_can_still_be_loaded(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.layer = nn.Parameter(torch.ones(25)), nn.Linear(25, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(1) * self.scale)

    torch.manual_seed(1)  # an untrained model that happens to be below guessing is spoken of
    task = cases.own_data(Scaled())
    run = imu.unlearn(task, imu.train(task), steps=1)
    again = imu.load_run(run.save(tmp_path / "a.imu"), task=task)
    assert torch.equal(again.model.layer.weight, run.model.layer.weight)


def test_the_task_of_other_samples_or_data_is_not_taken_for_that_of_a_run(tmp_path: Path) -> None:
    def made(shift: float, forget: list[int]) -> imu.tasks.Classification:
        inputs, labels = torch.arange(40.0).view(20, 2) + shift, torch.arange(20) % 2
        model = nn.Linear(2, 2)
        return imu.tasks.Classification.from_data(
            model, (inputs, labels), (inputs + 0.5, labels), forget_indices=forget
        )

    task = made(0.0, [1, 2])
    path = imu.unlearn(task, imu.train(task), steps=1, lr=0.01).save(tmp_path / "run.imu")
    assert imu.load_run(path, task=task).known_task() == task
    with pytest.raises(ValueError, match="forgot 2 samples, and the task given forgets 3, of which 1 are the same"):
        imu.load_run(path, task=made(0.0, [2, 3, 4]))
    with pytest.warns(UserWarning, match="what is computed anew is of the latter"):
        imu.load_run(path, task=made(7.0, [1, 2]))


@pytest.mark.full
def test_a_folder_of_other_classes_or_another_network_is_not_that_of_a_run(tmp_path: Path) -> None:
    """A folder may move; what lies in it, and what its task is, may not."""
    task = cases.task("pictures")
    path = imu.unlearn(task, cases.original("pictures"), steps=1, lr=0.01).save(tmp_path / "run.imu")
    moved = Path(shutil.copytree(task.data, tmp_path / "moved"))
    there = replace(task, data=str(moved))
    assert same_model(imu.load_run(path, task=there).model, imu.load_run(path, task=task).model)
    for part in ("train", "test"):
        (moved / part / "dog").rename(moved / part / "elk")
    with pytest.warns(UserWarning, match="what is computed anew is of the latter"):
        imu.load_run(path, task=replace(task, data=str(moved), forget_class="elk"))
    (moved / "train" / "elk" / "0.png").unlink()
    with pytest.raises(ValueError, match="forgot 6 samples, and the task given forgets 5"):
        imu.load_run(path, task=replace(task, data=str(moved), forget_class="elk"))
    with pytest.warns(UserWarning, match="is of the latter"):
        other = imu.load_run(path, task=replace(task, architecture="small-cnn"))
    with pytest.raises(ValueError, match="do not fit the Sequential .*: another architecture, or other classes"):
        other.model  # noqa: B018  it is made when it is asked for


def test_a_folder_whose_pictures_were_changed_since_is_told_of(tmp_path: Path) -> None:
    """Under the same names, in the same place and as many, so that nothing but their content tells."""
    first = cases.task("pictures")
    task = replace(first, data=str(shutil.copytree(first.data, tmp_path / "pictures")))
    path = imu.unlearn(task, cases.original("pictures"), steps=1, lr=0.01).save(tmp_path / "run.imu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert imu.load_run(path).task == imu.load_run(path, task=replace(task)).task == task
    one, other = sorted(Path(task.data, "train", "dog").iterdir())[:2]
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    for given in (None, replace(task)):
        with pytest.warns(UserWarning, match="was made on other data than .* has now"):
            imu.load_run(path, task=given)


def same_model(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_a_run_without_weights_says_so(run: imu.Run, tmp_path: Path) -> None:
    path = replace(run, pack_weights=bytes).save(tmp_path / "run.imu")
    with pytest.raises(ValueError, match="was saved without its weights, so only its tables can be looked at"):
        imu.load_run(path).model


def test_a_model_of_another_shape_is_refused(run: imu.Run, tmp_path: Path) -> None:
    path = run.save(tmp_path / "run.imu")
    with pytest.raises(ValueError, match="do not fit the Linear that they are to go into: another architecture"):
        imu.load_run(path, model=nn.Linear(3, 3)).model


# The claim of the toolkit, on the data it ships: a class is forgotten and the others are kept.


@pytest.mark.full
def test_a_class_is_forgotten_and_the_others_are_kept() -> None:
    task = imu.tasks.Classification("digits", forget_class=3)
    model = imu.train(task, "train")
    weights = imu.intensity(imu.influence(task, model))
    run = imu.unlearn(task, model, weights, steps=400, stop_at=0.01)
    assert run.value("forget", "accuracy") <= 0.01
    assert run.value("retain", "accuracy") >= run.value("retain", "accuracy", 0) - 0.02
    assert run.samples["time_to_forget"].notna().mean() > 0.98


def test_what_is_known_beside_is_computed_once_and_is_the_readers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from imu_lab.lab import session

    made, known_beside = [], session._known_beside
    monkeypatch.setattr(session, "_known_beside", lambda *about: made.append(1) or known_beside(*about))
    held = session.Session(cases.task("digits class"), cases.original("digits class"))
    first = held.influence(damping=0.5)
    expected = first.context.copy()
    first.context.loc[:, "loss"] = -1.0
    assert held.influence(damping=0.1).context.equals(expected) and len(made) == 1
    # The largest gradient norm is 7.5, the smallest 0.008: what a processor rounds away goes with the largest.
    assert cases.close(held.influence(cache=False).context, expected, within=1e-5) and len(made) == 2


def test_a_run_and_what_led_to_it_can_be_pickled_and_copied(tmp_path: Path) -> None:
    """Also where another run beside the same retrained model was measured by something that cannot be."""

    @dataclass(frozen=True)
    class Local:
        def __call__(self, task: Any, model: Any, reference: Any) -> dict[str, dict[str, float]]:
            return {"forget": {"local": 0.0}}

    task, model = cases.task("digits class"), cases.original("digits class")
    imu.unlearn(task, model, steps=1, reference=cases.retrained("digits class"), follow=[Local()])
    scores = imu.influence(task, model)
    run = imu.unlearn(task, model, imu.intensity(scores), steps=2, reference=cases.retrained("digits class"))
    run.save(tmp_path / "run.imu")
    for given in (scores, run, imu.load_run(tmp_path / "run.imu")):
        for again in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
            assert repr(again) == repr(given)
            if given is not scores:
                assert all(
                    torch.equal(a, b) for a, b in zip(again.model.parameters(), run.model.parameters(), strict=True)
                )


@pytest.mark.parametrize("weights", [[], 0.5, "abc", {"a": 1}, np.ones((40, 2)), -np.ones(40)], ids=str)
@pytest.mark.parametrize("method", ["imu", "joint-ascent"])
def test_what_are_no_weights_is_refused_before_the_first_update(weights: Any, method: str) -> None:
    seen: list[Any] = []
    with pytest.raises(ValueError, match="weights must be 40 finite numbers"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), weights, method, steps=2, watch=seen.append)
    assert not seen


@pytest.mark.parametrize("given, said", [
    ({"follow": 3}, "the name of a registered metric or an instance .* got 3; known: kl-retrained"),
    ({"progress": 5}, "progress= is a function, or None; got 5"), ({"watch": "x"}, "watch= is a function, or None; got 'x'"),
], ids=["follow", "progress", "watch"])  # fmt: skip
def test_who_follows_a_run_is_understood_before_its_first_update(given: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2, **given)


def test_one_metric_to_follow_stands_by_itself() -> None:
    task, original, how = cases.task("toy"), cases.original("toy"), dict(steps=1, lr=0.1)
    other = imu.train(task, "retain", seed=5)
    one, listed = (
        imu.unlearn(task, original, reference=other, follow=each, **how).curve
        for each in (imu.metrics.create("agreement"), ["agreement"])
    )
    assert cases.close(one, listed) and "agreement" in set(one["metric"])


@pytest.mark.parametrize(
    "seeds, said", [([], "seeds= names no seed"), ([0, 1, 0], "has '0' more than once; each seed is one run")]
)
def test_each_of_several_seeds_is_one_run(seeds: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, seeds=seeds)


def test_weights_in_a_model_that_computes_something_else_are_told_of(tmp_path: Path) -> None:
    """Tanh and ReLU have no tensors that could tell them apart."""
    task, original = cases.task("toy"), cases.original("toy")
    path = imu.unlearn(task, original, steps=2, lr=0.5).save(tmp_path / "run.imu")
    other = copy.deepcopy(original)
    other[1] = torch.nn.ReLU()
    with pytest.warns(
        UserWarning, match="fit this Sequential, but its loss on the forget set is .* nats, and the run's was"
    ):
        assert isinstance(imu.load_run(path, task, other).model[1], torch.nn.ReLU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(imu.load_run(path, task, original).model[1], torch.nn.Tanh)
        assert isinstance(imu.load_run(path, task).model[1], torch.nn.Tanh)
