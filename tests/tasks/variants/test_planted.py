"""Tampered forget samples, and estimates that they cannot bend."""

from __future__ import annotations

from typing import Any

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu

KINDS = ["outliers", "flipped", "duplicates", "adversarial"]


def planted(kind: str, name: str = "digits class", **settings: Any) -> imu.tasks.Planted:
    """A planted task; adversarial ones against its original."""
    against = {"against": cases.original(name)} if kind == "adversarial" else {}
    return imu.tasks.Planted(cases.task(name), kind, **{"share": 0.2, **against, **settings})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["digits class", "toy", "own data"])
def test_only_the_chosen_forget_samples_change(kind: str, name: str) -> None:
    task, clean = planted(kind, name), cases.task(name)
    for split in ("train", "forget", "retain", "test"):
        before, after = clean.split(split), task.split(split)
        assert torch.equal(before.ids, after.ids)
        one, other = before.batch(), after.batch()
        moved = (one.inputs != other.inputs).flatten(1).any(1) | (one.targets != other.targets)
        chosen = torch.isin(before.ids, task.planted) & (before.source == "train")
        assert not moved[~chosen].any() and moved.any() == chosen.any()
        assert torch.equal(other.inputs[3:5], after.batch(slice(3, 5)).inputs)
        assert torch.equal(other.targets[[4, 2]], after.batch(torch.tensor([4, 2])).targets)
    assert task.is_planted.sum() == len(task.planted) == max(1, round(0.2 * len(clean.split("forget"))))


def test_what_each_kind_plants() -> None:
    clean = cases.task("digits class").split("forget").batch()

    def rows(kind: str, **settings: Any) -> tuple[imu.tasks.Batch, np.ndarray]:
        task = planted(kind, **settings)
        return task.split("forget").batch(), task.is_planted

    flipped, mine = rows("flipped")
    assert (flipped.targets != clean.targets).numpy().tolist() == mine.tolist()
    assert torch.equal(flipped.inputs, clean.inputs)
    copies, mine = rows("duplicates")
    assert (copies.inputs[mine] == copies.inputs[mine][0]).all()
    assert (copies.inputs[~mine] == copies.inputs[mine][0]).flatten(1).all(1).any(), "of a sample that is in the set"
    spread = clean.inputs.std().item()
    noisy, mine = rows("outliers", strength=2.0)
    assert (noisy.inputs - clean.inputs)[mine].std().item() == pytest.approx(2 * spread, rel=0.1)
    for steps in (1, 8):
        attacked, mine = rows("adversarial", strength=0.3, steps=steps)
        assert (attacked.inputs - clean.inputs).abs().max() <= 0.3 * spread * 1.0001


@pytest.mark.full
def test_the_attack_raises_the_loss_and_more_steps_raise_it_more() -> None:
    model = cases.original("digits class")
    tasks = [cases.task("digits class")] + [planted("adversarial", strength=0.3, share=1.0, steps=s) for s in (1, 8)]
    with torch.no_grad():
        losses = [task.example_loss(model, task.split("forget").batch()).mean().item() for task in tasks]
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_task_goes_through_the_whole_pipeline(kind: str) -> None:
    task, model = planted(kind), cases.original("digits class")
    scores = imu.influence(task, model)
    assert cases.close(scores.values, imu.influence(task, model, cache=False).values, within=1e-3)
    run = imu.unlearn(task, model, imu.intensity(scores), steps=3)
    direct = imu.unlearn(task, model, imu.intensity(scores), steps=3, cache=False)
    assert run.value("forget", "accuracy") == direct.value("forget", "accuracy")
    batch = task.split("forget").batch()
    with torch.no_grad():
        right = (model(batch.inputs).argmax(1) == batch.targets).double().mean().item()
    assert task.evaluate(model, "forget")["accuracy"] == run.value("forget", "accuracy", 0) == pytest.approx(right)
    before = [each.samples["loss_before"] for each in (run, imu.unlearn(task.task, model, steps=1))]
    moved = [cases.relative(one, other) > 1e-4 for one, other in zip(*before)]
    assert moved == task.is_planted.tolist(), "samples are measured as they are planted"


@pytest.mark.full
def test_its_identity_is_that_of_its_data() -> None:
    assert planted("adversarial") == planted("adversarial") and hash(planted("outliers")) == hash(planted("outliers"))
    keys = {planted("outliers").data_key, planted("outliers", seed=1).data_key, cases.task("digits class").data_key,
            planted("flipped").data_key, planted("adversarial").data_key}  # fmt: skip
    assert len(keys) == 5
    against = imu.train(cases.task("digits class"), seed=1)
    assert planted("adversarial", against=against) != planted("adversarial")
    trained = imu.train(planted("flipped", "toy"))
    assert not torch.equal(trained[0].weight, cases.original("toy")[0].weight)


def test_bad_input_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match="unknown value for `kind` of Planted: 'noise'.*Known: outliers, flipped, duplicates, adversarial",
    ):
        planted("noise")
    with pytest.raises(ValueError, match="adversarial examples need the model that they are made for: pass against="):
        imu.tasks.Planted(cases.task("toy"), "adversarial")
    with pytest.raises(ValueError, match=r"Planted needs share in \(0, 1\], got 0"):
        planted("flipped", share=0)
    with pytest.raises(TypeError, match="planting needs real-valued tensor inputs"):
        imu.tasks.Planted(cases.Tokens(), "outliers").split("forget").batch()
    with pytest.raises(ValueError, match="a share of 1 leaves no forget sample to duplicate"):
        planted("duplicates", share=1.0).split("forget").batch()


def kept(task: imu.tasks.Planted, estimator: str, **settings: Any) -> tuple[float, float]:
    """How far honest samples keep their order, and the planted ones' share of the weight."""
    from scipy.stats import spearmanr

    model, mine = cases.original("digits class"), task.is_planted
    clean = imu.influence(task.task, model, estimator, **settings).values
    scores = imu.influence(task, model, estimator, **settings)
    weight = imu.intensity(scores, "linear").values[mine].sum()
    return spearmanr(scores.values[~mine], clean[~mine]).statistic, weight


def test_trimming_withstands_flipped_labels() -> None:
    task = planted("flipped", share=0.1)
    plain, guarded = kept(task, "fisher-diagonal"), kept(task, "fisher-trimmed", trim=0.15)
    assert guarded[0] > 0.95 > plain[0] + 0.2 and guarded[1] < 0.1 < 0.8 < plain[1]


@pytest.mark.parametrize("kind", ["outliers", "adversarial"])
def test_capping_keeps_strange_inputs_from_taking_the_weight(kind: str) -> None:
    task = planted(kind, share=0.1, **({"strength": 0.3} if kind == "adversarial" else {}))
    plain, guarded = kept(task, "fisher-diagonal"), kept(task, "fisher-leverage-capped")
    assert guarded[1] < 0.5 * plain[1] and guarded[0] > 0.8


OFF = [
    ("fisher-trimmed", {"trim": 0.0}),
    ("fisher-median-of-means", {"blocks": 1}),
    ("fisher-leverage-capped", {"cap": 1e9}),
]


@pytest.mark.parametrize(("name", "settings"), OFF)
def test_a_guard_that_is_off_is_the_plain_estimate(name: str, settings: dict) -> None:
    task, model = cases.in_double("digits fraction")
    plain = imu.influence(task, model).values
    assert cases.close(imu.influence(task, model, name, **settings).values, plain, within=1e-9)
    other = imu.influence(task, model, name, target="test", **settings).values
    assert cases.close(other, imu.influence(task, model, target="test").values, within=1e-9)
