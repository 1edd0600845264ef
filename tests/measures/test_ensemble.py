"""Several retrained models as one reference: means over them, the noise floor, and one model as it always was."""

from __future__ import annotations

import copy
from itertools import permutations

import cases
import numpy as np
import pytest
import sequences
import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.measures.reference import Reference
from imu_lab.tasks import checkpoints


@pytest.fixture(scope="module")
def three() -> imu.References:
    """Three retrained models of the blobs."""
    return imu.references(cases.task("toy"), seeds=(4, 0, 2))


@pytest.fixture(scope="module")
def run(three: imu.References) -> Run:
    """A run beside them."""
    return imu.unlearn(cases.task("toy"), cases.original("toy"), steps=3, reference=three)


def kl_by_hand(reference: nn.Module, model: nn.Module, split: str) -> float:
    """KL(reference ‖ model) as torch has it."""
    with torch.no_grad():
        inputs = cases.task("toy").split(split).batch().inputs
        made, expected = (each(inputs).double().log_softmax(-1) for each in (model, reference))
    return nn.functional.kl_div(made, expected, log_target=True, reduction="batchmean").item()


def test_each_model_is_the_one_that_is_trained_from_its_seed(three: imu.References) -> None:
    for seed, model in zip(three.seeds, three.models):
        trained = imu.train(cases.task("toy"), "retain", seed=seed)
        assert cases.same(cases.frozen(trained), model)
    assert three.seeds == (4, 0, 2) and len(three) == 3


def test_the_noise_floor_is_the_mean_over_ordered_pairs(three: imu.References) -> None:
    table = three.distances
    assert list(table) == ["split", "reference", "model", "distance"]
    pairs = list(permutations(range(3), 2))
    for split, rows in table.groupby("split", sort=False):
        expected = [kl_by_hand(three.models[one], three.models[other], split) for one, other in pairs]
        assert list(zip(rows["reference"], rows["model"])) == list(permutations(three.seeds, 2))
        assert cases.close(rows["distance"].to_numpy(), expected, within=1e-4)
        assert three.noise_floor[split] == pytest.approx(np.mean(expected), rel=1e-4)
    assert table["distance"].gt(0).all()
    assert repr(three).startswith("References(3 retrained models, seeds 4, 0, 2, noise floor forget ")
    assert "noise floor" in three._repr_html_()


def test_a_distance_is_the_mean_over_the_references_and_the_floor_stands_in_the_references_place(
    three: imu.References, run: Run
) -> None:
    assert run.settings["follow"] == [{"metric": "kl-retrained", "settings": {}}], "it is what they are there for"
    for split, floor in run.noise_floor("kl_retrained").items():
        expected = np.mean([kl_by_hand(reference, run.model, split) for reference in three.models])
        assert run.value(split, "kl_retrained") == pytest.approx(expected, rel=1e-4)
        assert floor == pytest.approx(three.noise_floor[split], rel=1e-5)
    assert run.noise_floor("accuracy") == {}
    known = run.reference.set_index(["split", "metric"])["value"]
    each = [cases.task("toy").evaluate(model, "test")["accuracy"] for model in three.models]
    assert known["test", "accuracy"] == pytest.approx(np.mean(each))
    confidences = [Reference(cases.task("toy"), model).confidence for model in three.models]
    assert cases.close(run.samples["confidence_retrained"].to_numpy(), np.mean(confidences, 0), within=1e-6)


def test_one_of_several_is_the_model_alone() -> None:
    task, original, model = cases.task("toy"), cases.original("toy"), cases.retrained("toy")
    alone, one = (
        imu.unlearn(task, original, steps=3, reference=each, follow=["kl-retrained", "agreement"])
        for each in (model, imu.references(task, seeds=[0]))
    )
    assert one.curve.equals(alone.curve) and one.reference.equals(alone.reference) and one.samples.equals(alone.samples)
    assert one.settings["compared_with"] == {"seeds": [0], **alone.settings["compared_with"]}
    assert one.noise_floor("kl_retrained") == alone.noise_floor("kl_retrained") == {}
    assert not len(imu.references(task, seeds=[0]).distances)


def test_the_goal_is_the_mean_of_the_references() -> None:
    task = sequences.tiny()
    references = imu.references(task, models=[sequences.models()[1], imu.train(task, "retain", seed=1)])
    losses = [task.evaluate(model, "forget")["loss"] for model in references.models]
    run = imu.unlearn(task, sequences.models()[0], steps=80, reference=references, stop_at="retrained")
    assert run.events["stopped_at"] is not None
    assert run.value("forget", "loss", run.events["stopped_at"] - 1) < np.mean(losses) <= run.value("forget", "loss")


def test_a_saved_run_knows_its_references_and_is_made_again_with_them(
    run: Run, three: imu.References, tmp_path
) -> None:
    loaded = imu.load_run(run.save(tmp_path / "run.imu"))
    assert loaded.settings["compared_with"] == {"seeds": [4, 0, 2], "digests": list(three.digests)}
    assert loaded.noise_floor("kl_retrained") == run.noise_floor("kl_retrained")
    other = imu.again(loaded, steps=2)
    assert other.settings["compared_with"] == run.settings["compared_with"] and other.reference.equals(run.reference)
    assert imu.again(run, reference=three).curve.equals(run.curve)


def test_every_metric_is_a_mean_over_the_references(three: imu.References) -> None:
    seen = []

    class Bias:
        """The difference of a mean logit."""

        name, needs_reference = "bias", True

        def __call__(self, task: imu.tasks.Task, model: nn.Module, reference: Reference) -> dict:
            """{split: {metric: value}}."""
            seen.append(reference)
            examples = task.split("test")
            mine = model(examples.batch().inputs).detach()
            return {"test": {"bias": (mine - reference.outputs("test", examples.ids)).mean().item()}}

    from dataclasses import dataclass

    own = dataclass(frozen=True)(Bias)()
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, reference=three, follow=[own])
    assert all(isinstance(each, Reference) for each in seen)
    alone = [
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, reference=model, follow=[own]).value(
            "test", "bias"
        )
        for model in three.models
    ]
    assert run.value("test", "bias") == pytest.approx(np.mean(alone), abs=1e-6)
    assert run.reference.set_index(["split", "metric"])["value"]["test", "bias"] == pytest.approx(0, abs=1e-6)


def test_progress_is_announced_and_a_second_call_trains_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    told: list[tuple[int, int, str]] = []

    def until_the_second(made: int, total: int, words: str) -> None:
        told.append((made, total, words))
        if words == "model 2 of 3" and made:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imu.references(cases.task("toy"), seeds=range(3), progress=until_the_second)
    assert list(dict.fromkeys(words for *_, words in told)) == ["model 1 of 3", "model 2 of 3"]
    started = []
    fresh = checkpoints.Training
    monkeypatch.setattr(checkpoints, "Training", lambda *how: started.append(how[-1]) or fresh(*how))
    imu.references(cases.task("toy"), seeds=range(3))
    assert started == [1, 2], "the first was there already"
    imu.references(cases.task("toy"), seeds=range(3))
    assert started == [1, 2]


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"seeds": 3}, TypeError, r"seeds is several seeds, such as range\(5\); got 3"),
        ({"seeds": ()}, ValueError, r"one or more different seeds; got \[\]"),
        ({"seeds": (1, 2, 1)}, ValueError, r"one or more different seeds; got \[1, 2, 1\]"),
        ({"seeds": (-1,)}, ValueError, "a seed is a whole number from 0, got -1"),
        ({"models": [nn.Linear(2, 3)], "seeds": (1, 2)}, ValueError, "one for each of 1 models"),
        ({"models": []}, ValueError, "one or more different seeds"),
    ],
)
def test_what_cannot_be_references_is_said(how: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        imu.references(cases.task("toy"), **how)


def test_equal_models_tell_of_no_noise() -> None:
    model = cases.retrained("toy")
    with pytest.raises(ValueError, match="the retrained models of seeds 0 and 1 are the same"):
        imu.references(cases.task("toy"), models=[model, copy.deepcopy(model)])


def test_references_of_another_request_and_changed_ones_are_refused(three: imu.References) -> None:
    with pytest.raises(ValueError, match="retrained without .* and this task forgets .* others"):
        imu.unlearn(sequences.tiny(), sequences.models()[0], steps=1, reference=three)
    flipped = imu.tasks.Planted(cases.task("toy"), "flipped")
    with pytest.raises(ValueError, match="these references were made for other data than this task has"):
        imu.unlearn(flipped, cases.original("toy"), steps=1, reference=three)
    changed = imu.references(cases.task("toy"), seeds=(4, 0))
    with torch.no_grad():
        next(changed.models[1].parameters()).add_(1)
    with pytest.raises(ValueError, match="the references of seeds '0' were changed after they were made"):
        imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, reference=changed)
    with pytest.raises(AttributeError):
        three.seeds = (1,)  # type: ignore[misc]
