"""Whom a model finds: marks, ranks and the curve of a record; the plane in which people are shown."""

from __future__ import annotations

from functools import cache

import cases
import numpy as np
import pytest
import torch
from torch import nn

import imu_lab as imu
from imu_lab.measures import retrieval
from imu_lab.tasks import ranking

pytestmark = pytest.mark.slow  # needs a trained network of people


@cache
def task() -> imu.tasks.ReID:
    return imu.tasks.ReID("figures", forget_persons=(7,), recipe=imu.tasks.Recipe(epochs=2, batch_size=32))


@cache
def model() -> nn.Module:
    return imu.train(task())


@cache
def found() -> retrieval.Retrieval:
    return imu.retrieve(task(), model(), label="original", depth=191)


def test_the_record_says_what_evaluation_says() -> None:
    measured = task().evaluate(model(), "test-forget")
    assert found().map == pytest.approx(measured["map"])
    shares = found().curve.set_index("rank")["share"]
    assert shares[1] == pytest.approx(measured["rank1"]) and shares[5] == pytest.approx(measured["rank5"])
    assert shares.is_monotonic_increasing and shares.iloc[-1] == 1


def test_marks_follow_from_person_and_camera() -> None:
    answers = found().answers.merge(found().queries, on="query", suffixes=("", "_asked"))
    same, here = answers["person"] == answers["person_asked"], answers["camera"] == answers["camera_asked"]
    assert (answers["mark"] == np.where(~same, "wrong", np.where(here, "same camera", "right"))).all()
    assert (answers["example"] != answers["example_asked"]).all(), "a query must not find itself"


def test_ranks_count_what_is_counted() -> None:
    for _, mine in found().answers.groupby("query"):
        assert mine["place"].tolist() == list(range(1, 192))
        counted = mine[mine["mark"] != "same camera"]
        assert counted["rank"].tolist() == list(range(1, len(counted) + 1))
        assert mine["rank"].isna().sum() == 1  # the other picture of the query's camera


def test_precision_from_the_record_by_the_definition() -> None:
    for query, mine in found().answers.groupby("query"):
        ranks = mine.loc[mine["mark"] == "right", "rank"].to_numpy()
        precision = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        assert found().queries["average_precision"][query] == pytest.approx(precision)
        assert found().queries["first_right"][query] == ranks[0]


def test_depth_cuts_rankings_but_not_scores() -> None:
    short = imu.retrieve(task(), model(), depth=3)
    assert len(short.answers) == 8 * 3 and len(short.curve) == 3 and short.map == found().map
    assert "mAP" in repr(short)


def test_a_task_without_people() -> None:
    with pytest.raises(TypeError, match="^retrieval needs a task with people to find, such as imu.tasks.ReID; got Toy"):
        imu.retrieve(imu.tasks.Toy(), model())


def test_a_split_that_was_trained_on() -> None:
    with pytest.raises(ValueError, match="'retain' was trained on"):
        imu.retrieve(task(), model(), "retain")


def test_the_plane_shows_everybody_in_every_model() -> None:
    other = task().make_model(3)
    points = imu.embedding_map(task(), {"original": model(), "other": other}, alike=2).points
    assert points.groupby("model").size().tolist() == [192, 192]
    roles = points.groupby("role")["person"].unique()
    assert roles["forgotten"].tolist() == [7] and len(roles["alike"]) == 2 and len(roles["other"]) == 21


def test_a_model_that_is_only_turned_is_shown_at_the_same_place() -> None:
    """Distances are all that retrieval sees, so a rotated embedding is the same embedding."""
    turn = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[0]

    class Turned(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return model()(pictures)

        def embed(self, pictures: torch.Tensor) -> torch.Tensor:
            return model().embed(pictures) @ turn

        classifier = nn.Linear(64, 24)

    points = imu.embedding_map(task(), {"original": model(), "turned": Turned()}).points
    first, second = (points[points["model"] == name][["x", "y"]].to_numpy() for name in ("original", "turned"))
    assert cases.close(first, second, within=1e-5)


def test_more_persons_alike_than_there_are() -> None:
    points = imu.embedding_map(task(), {"original": model()}, alike=50).points
    assert set(points["role"]) == {"alike", "forgotten"}


def test_the_most_alike_are_the_nearest() -> None:
    units = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]]), dim=1)
    assert retrieval._most_alike(units, torch.tensor([5, 6, 7, 8]), (5,), 2) == [6, 7]


def test_junk_is_marked_as_not_counted() -> None:
    query = ranking.Seen(torch.eye(2)[:1], torch.tensor([5]), torch.tensor([1]))
    gallery = ranking.Seen(torch.eye(2), torch.tensor([-1, 5]), torch.tensor([2, 2]))
    people = type("Seen", (), {"persons": np.array([-1, 5]), "cameras": np.array([2, 2])})
    answers = retrieval._answers(ranking.rank(query, gallery), people, None, 5)
    assert answers["mark"].tolist() == ["same camera", "right"] and answers["rank"].tolist()[1] == 1


def test_requests_without_an_answer() -> None:
    for depth in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"depth must be a whole number >= [01], got {depth}"):
            imu.retrieve(task(), model(), depth=depth)
    with pytest.raises(ValueError, match="name at least one model"):
        imu.embedding_map(task(), {})
    with pytest.raises(
        TypeError, match="^an embedding map needs a task with people to find, such as imu.tasks.ReID; got Toy"
    ):
        imu.embedding_map(imu.tasks.Toy(), {"original": model()})
