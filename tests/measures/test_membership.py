"""Membership by threshold: hand-computed scores, scikit-learn's curve, and public code that is wrong and must differ."""

from __future__ import annotations

from pathlib import Path

import cases
import numpy as np
import pytest
import sequences
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

import imu_lab as imu
from imu_lab.measures.membership import (
    auc,
    log_odds,
    prediction_scores,
    sample_scores,
    sides,
    threshold,
    true_positives,
)

P = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4]], dtype=torch.float64)
TRUTH = torch.tensor([0, 0, 2])


def test_scores_by_hand() -> None:
    found = {name: values.numpy() for name, values in prediction_scores(P.log(), TRUTH).items()}
    own = np.array([0.7, 0.05, 0.4])
    modified = [
        -0.3 * np.log(0.7) - 0.2 * np.log(0.8) - 0.1 * np.log(0.9),
        -0.95 * np.log(0.05) - 0.9 * np.log(0.1) - 0.05 * np.log(0.95),
        -0.6 * np.log(0.4) - 2 * 0.3 * np.log(0.7),
    ]
    assert cases.close(found["loss"], -np.log(own), 1e-12) and cases.close(found["confidence"], own, 1e-12)
    assert cases.close(found["entropy"], -(P * P.log()).sum(1), 1e-12)
    assert cases.close(found["modified_entropy"], modified, 1e-12)
    assert cases.close(found["log_odds"], np.log(own / (1 - own)), 1e-12)
    assert found["right"].tolist() == [1, 0, 1]


def test_modified_entropy_is_none_of_what_is_published_wrongly() -> None:
    """Copies in SalUn, RUM and IMU take log p_k for the other classes, or the columns of all labels for each sample."""
    log_p, found = P.log(), prediction_scores(P.log(), TRUTH)["modified_entropy"]
    rows = torch.arange(3)
    own, own_log = P[rows, TRUTH], log_p[rows, TRUTH]
    others = torch.ones_like(P).scatter(1, TRUTH[:, None], 0.0)
    with_log_p = -(1 - own) * own_log - (others * P * log_p).sum(1)
    reverse, modified = 1 - P, P.clone()
    modified[:, TRUTH] = reverse[:, TRUTH]  # every column that is anybody's label
    log_reverse = torch.log(reverse)
    log_reverse[:, TRUTH] = log_p[:, TRUTH]
    all_columns = -(modified * log_reverse).sum(1)
    for wrong in (with_log_p, all_columns):
        assert (wrong - found).abs().min() > 1e-3


def test_modified_entropy_falls_from_infinity_to_nothing() -> None:
    shares = torch.linspace(1e-9, 1 - 1e-9, 2001, dtype=torch.float64)
    logits = torch.stack([torch.log(shares), torch.log(1 - shares)], 1)
    values = prediction_scores(logits, torch.zeros(len(shares), dtype=torch.long))["modified_entropy"]
    assert (values.diff() < 0).all() and values[0] > 20 and 0 <= values[-1] < 1e-7
    ends = prediction_scores(torch.tensor([[500.0, 0.0], [-500.0, 0.0]]), torch.zeros(2, dtype=torch.long))
    assert ends["modified_entropy"].isfinite().all() and ends["modified_entropy"][0] < 1e-9
    assert ends["modified_entropy"][1] > 100 and ends["log_odds"].tolist() == [500.0, -500.0]


def test_no_two_samples_are_made_alike_however_far_a_model_went() -> None:
    """Of logits g and 0 with the second true, p_y = σ(−g): ℓ = log(1 + eᵍ), and the modified entropy is 2 (1 − p_y) ℓ."""
    gaps = torch.tensor([-300.0, -60.0, -38.0, 30.0, 38.0, 60.0, 80.0, 300.0, 6000.0], dtype=torch.float64)
    found = prediction_scores(torch.stack([gaps, 0 * gaps], 1), torch.ones(len(gaps), dtype=torch.long))
    losses, ones = np.logaddexp(0, gaps.numpy()), np.ones(len(gaps))
    modified = 2 * np.exp(-np.logaddexp(0, -gaps.numpy())) * losses
    assert cases.close(found["loss"].numpy() / losses, ones, within=1e-12)  # each by its own size
    assert cases.close(found["modified_entropy"].numpy() / modified, ones, within=1e-12)
    assert cases.close(found["confidence"].numpy(), np.exp(-losses), within=1e-12)
    assert (found["loss"].diff() > 0).all() and (found["modified_entropy"].diff() > 0).all()


def test_a_class_that_is_ruled_out_leaves_the_scores_numbers() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 0.0]])
    for truth in (0, 1, 2):
        assert all(
            values.isfinite().all()
            for name, values in prediction_scores(logits, torch.tensor([truth])).items()
            if name != "log_odds"
        )


def test_log_odds_subtract_all_others_and_not_the_largest() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
    expected = 3 - np.log(2 * np.e + 1)
    assert cases.close(log_odds(logits, torch.tensor([0])), [expected], 1e-6)
    assert abs(expected - 2.0) > 0.5, "the margin that subtracts the largest other is another number"


def test_area_and_true_positives_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for count, more, digits in ((50, 40, 9), (13, 300, 1), (200, 100, 0), (1, 1, 3)):
        members, others = random.normal(0.5, size=count).round(digits), random.normal(size=more).round(digits)
        truth, scores = np.repeat([1, 0], [count, more]), np.concatenate([members, others])
        assert auc(members, others) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        for share in (0.001, 0.01, 0.1):
            false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
            assert true_positives(members, others, share=share) == pytest.approx(true[false <= share].max(), abs=1e-12)


def test_the_threshold_is_never_at_the_nearest_rate_above() -> None:
    """RULI takes the false-positive rate nearest to 1 %: of 150 samples that is 2, which is 1.3 %."""
    others, members = np.arange(150.0), np.array([148.5, 147.5, 200.0, 0.0])
    assert threshold(others) == 148.0 and true_positives(members, others) == 0.5
    assert np.mean(others > threshold(others)) <= 0.01 < np.mean(others >= threshold(others))


def test_a_row_of_resamplings_is_each_of_them() -> None:
    random = np.random.default_rng(1)
    members, others = random.integers(0, 5, (7, 20)).astype(float), random.integers(0, 5, (7, 30)).astype(float)
    for statistic in (auc, true_positives):
        each = [statistic(one, other) for one, other in zip(members, others)]
        assert cases.close(statistic(members, others), each, 1e-12)
        assert cases.close(statistic(members.T, others.T, axis=0), each, 1e-12)


def test_of_several_predictions_scores_are_the_mean() -> None:
    task, model = sequences.tiny(), sequences.models()[0]
    examples = task.split("forget")
    found, batch = sample_scores(task, model, examples), examples.batch()
    with torch.no_grad():
        each = prediction_scores(model(batch.inputs), batch.targets["tokens"][:, 1:])
        losses = task.example_loss(model, batch)
    for name, values in each.items():
        assert cases.close(found[name], values.mean(1), 1e-5)
    assert cases.close(found["loss"], losses, 1e-5)


def test_one_logit_is_two_classes() -> None:
    inputs, targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    model = torch.nn.Linear(3, 1)
    task = imu.tasks.Classification.from_data(model, (inputs, targets), (inputs + 0.1, targets), forget_indices=[0, 1])
    found = sample_scores(task, model, task.split("train"))
    p = torch.sigmoid(model(inputs)[:, 0]).detach().double()
    assert cases.close(found["confidence"], torch.where(targets == 1, p, 1 - p), 1e-6)


def test_a_class_is_compared_with_its_own_unseen_pictures() -> None:
    found = sides(cases.task("digits class"), cases.original("digits class"))
    assert found.split == "test-forget" and not found.left_out
    assert set(cases.task("digits class").test_labels(found.others.ids)) == {"3"}


def test_single_samples_are_compared_with_unseen_ones_of_their_classes() -> None:
    task = cases.task("digits indices")
    found = sides(task, cases.original("digits indices"))
    classes = set(task.labels(task.split("forget").ids))
    assert found.split == "test" and set(task.test_labels(found.others.ids)) == classes and len(classes) < 10
    assert len(found.members) == 4


def without_unseen(classes: set[int], forget: list[int]) -> tuple[imu.tasks.Classification, torch.nn.Module]:
    """A task without unseen samples of some classes."""
    inputs, targets = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    kept = torch.tensor([int(each) not in classes for each in targets])
    model = torch.nn.Linear(4, 3)
    pairs = (inputs, targets), (inputs[kept] + 0.1, targets[kept])
    return imu.tasks.Classification.from_data(model, *pairs, forget_indices=forget), model


def test_classes_without_unseen_samples_are_refused_or_left_out() -> None:
    with pytest.raises(ValueError, match="'test' split has none of class '1'; give the task held-out samples"):
        sides(*without_unseen({1}, [1, 4, 7]))
    with pytest.raises(ValueError, match="none of class '0', '1'"):
        sides(*without_unseen({0, 1}, [0, 1]))
    found = sides(*without_unseen({1}, [0, 1, 4]))
    assert found.members.ids.tolist() == [0] and "2 of class '1'" in found.left_out


def test_a_task_that_names_no_labels_is_asked_which_answers_are_true() -> None:
    """The blobs that are kept are nobody to compare a forgotten blob with."""
    with pytest.raises(ValueError, match="none of class '0'"):
        sides(cases.task("toy"), cases.original("toy"))


def test_sequences_are_compared_with_unseen_ones_of_their_source() -> None:
    task = sequences.tiny()
    found = sides(task, sequences.models()[0])
    assert found.split == "test-forget" and len(found.others) == len(task.split("test-forget")) > 0


def of_two_levels(
    root: Path, unseen: tuple[str, ...], **request: str
) -> tuple[imu.tasks.Classification, torch.nn.Module]:
    """Small pictures of cats and dogs, which are animals, and of cars and cups, of which some were kept apart."""
    random = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 3)):
        for upper, lower in (("animal", "cat"), ("animal", "dog"), ("thing", "car"), ("thing", "cup")):
            if part == "train" or lower in unseen:
                (folder := root / part / upper / lower).mkdir(parents=True)
                for number in range(count):
                    Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    task = imu.tasks.Classification(str(root), **request)
    return task, task.make_model(0).eval()


def test_of_a_superclass_the_classes_without_unseen_samples_are_left_out(tmp_path: Path) -> None:
    """Dogs that were trained on and cats that were not differ in more than in having been trained on."""
    task, model = of_two_levels(tmp_path, ("cat", "car", "cup"), forget_superclass="animal")
    found = sides(task, model)
    assert found.split == "test-forget" and "4 of class 'dog'" in found.left_out
    assert set(task.labels(found.members.ids)) == {"cat"} == set(task.test_labels(found.others.ids))


def test_a_subclass_without_unseen_samples_is_not_compared_with_its_siblings(tmp_path: Path) -> None:
    task, model = of_two_levels(tmp_path, ("cat", "car", "cup"), forget_subclass="dog")
    with pytest.raises(ValueError, match="'test-forget' split, which would hold them, is empty"):
        sides(task, model)
    whole, model = of_two_levels(tmp_path / "whole", ("cat", "dog", "car"), forget_subclass="dog")
    found = sides(whole, model)
    assert (len(found.members), len(found.others), found.split, found.left_out) == (4, 3, "test-forget", "")


def test_where_targets_are_no_classes_that_is_said_and_not_that_no_class_is_shared() -> None:
    numbers = torch.linspace(0, 1, 8)
    task = imu.tasks.Classification.from_data(
        torch.nn.Linear(2, 1), (torch.rand(8, 2), numbers), (torch.rand(8, 2), numbers + 0.01), forget_indices=[0, 1],
        loss=lambda made, wanted: (made[:, 0] - wanted) ** 2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="the targets are no classes"):
        sides(task, imu.train(task))
