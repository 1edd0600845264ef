"""The prediction matrix and the distance of two of them, by hand."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import sequences
from sklearn.metrics import confusion_matrix

from imu_lab.measures.predictions import answer_distance, answered, matrix, prediction_matrix


def test_the_matrix_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, given = random.integers(0, 4, 50), random.integers(0, 4, 50)
    assert np.array_equal(matrix(truth, given, 4), confusion_matrix(truth, given, labels=range(4)))


def test_the_distance_by_hand() -> None:
    one = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 0]])
    other = np.array([[8, 0, 2], [1, 0, 9], [0, 0, 0]])
    assert answer_distance(one, other) == pytest.approx((0.2 * 10 + 0.5 * 10) / 20)
    assert answer_distance(one, one) == 0 and answer_distance(np.diag([3, 4]), np.diag([3, 4])[::-1]) == 1
    few = np.array([[1, 0], [0, 99]])
    assert answer_distance(few, np.array([[0, 1], [0, 99]])) == pytest.approx(0.01), "a class counts by its samples"


def test_a_task_names_its_answers() -> None:
    task, model = cases.task("digits class"), cases.original("digits class")
    found = prediction_matrix(task, model, task.split("test-forget"))
    assert list(found.columns) == list(task.classes) and found.to_numpy().sum() == len(task.split("test-forget"))
    right = task.evaluate(model, "test-forget")["accuracy"]
    assert found.loc["3", "3"] / found.loc["3"].sum() == pytest.approx(right)


def test_every_token_counts() -> None:
    task, model = sequences.tiny(), sequences.models()[0]
    truth, given = answered(task, model, task.split("forget"))
    tokens = task.split("forget").batch().targets["tokens"][:, 1:]
    assert sorted(truth) == sorted(tokens.flatten().tolist()) and len(given) == tokens.numel()
