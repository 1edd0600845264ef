"""Ranking people: by hand, against a loop that follows the definition, and what is refused."""

from __future__ import annotations

import cases
import pytest
import torch
from torch import Tensor

from imu_lab.tasks import ranking
from imu_lab.tasks.ranking import Seen


def at(*degrees: float) -> Tensor:
    """Unit embeddings in the plane at these angles, of different lengths, which the cosine does not see."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * (1 + torch.arange(len(degrees), dtype=torch.float64)[:, None])


def seen(embeddings: Tensor, persons: list[int], cameras: list[int]) -> Seen:
    return Seen(embeddings, torch.tensor(persons), torch.tensor(cameras))


QUERY = seen(at(0, 0), [5, 6], [1, 2])
#              nearest first:  own camera, right, wrong, junk, right, wrong: a passer-by
GALLERY = seen(at(1, 2, 3, 4, 5, 6), [5, 5, 6, -1, 5, 0], [1, 2, 1, 1, 3, 2])


def test_by_hand() -> None:
    ranked = ranking.rank(QUERY, GALLERY)
    assert ranked.order.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert ranked.right.int().tolist() == [[0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]]
    assert ranked.counted.int().tolist() == [[0, 1, 1, 0, 1, 1], [1, 1, 1, 0, 1, 1]]
    # Query 0 counts right, wrong, right, wrong: (1/1 + 2/3) / 2. Query 1 finds its one picture third.
    assert cases.close(ranked.average_precision.tolist(), [5 / 6, 1 / 3])
    assert ranked.first_right.tolist() == [1, 3]
    assert ranking.cmc(ranked.first_right, 4).tolist() == [0.5, 0.5, 1.0, 1.0]
    found = ranking.scores(QUERY, GALLERY)
    assert cases.close(found, {"map": (5 / 6 + 1 / 3) / 2, "rank1": 0.5, "rank5": 1.0}, within=1e-12)


def brute_force(query: Seen, gallery: Seen, depth: int) -> tuple[list[float], list[float]]:
    """Average precisions and the matching curve, one query and one gallery picture at a time."""
    precisions, found = [], [0] * depth
    for embedding, person, camera in zip(*query):
        cosines = [float(torch.cosine_similarity(embedding, other, dim=0)) for other in gallery.embeddings]
        order = sorted(range(len(cosines)), key=lambda position: -cosines[position])
        counted = [
            position
            for position in order
            if gallery.persons[position] != -1
            and not (gallery.persons[position] == person and gallery.cameras[position] == camera)
        ]
        ranks = [rank for rank, position in enumerate(counted, 1) if gallery.persons[position] == person]
        precisions.append(sum(number / rank for number, rank in enumerate(ranks, 1)) / len(ranks))
        for k in range(depth):
            found[k] += ranks[0] <= k + 1
    return precisions, [number / len(query.persons) for number in found]


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(5))
def test_equals_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(seed)

    def drawn(count: int) -> Seen:
        persons, cameras = (torch.randint(low, 4, (count,), generator=generator) for low in (-1, 0))
        return Seen(torch.randn(count, 6, generator=generator, dtype=torch.float64), persons, cameras)

    gallery = drawn(60)
    query = Seen(*(column[gallery.persons > 0] for column in gallery))  # everyone asks for themselves too
    precisions, curve = brute_force(query, gallery, 10)
    ranked = ranking.rank(query, gallery)
    assert cases.close(ranked.average_precision.tolist(), precisions, within=1e-12)
    assert cases.close(ranking.cmc(ranked.first_right, 10).tolist(), curve, within=1e-12)
    monkeypatch.setattr(ranking, "ROOM", 7 * 60)
    few = list(ranking.rankings(query, gallery))
    assert {len(each.order) for each in few[:-1]} == {7} and len(few) == -(-len(query.persons) // 7)
    assert all(torch.equal(torch.cat(parts), whole) for parts, whole in zip(zip(*few), ranked))
    wanted = {"map": sum(precisions) / len(precisions), "rank1": curve[0], "rank5": curve[4]}
    assert cases.close(ranking.scores(query, gallery), wanted, within=1e-12)


def test_a_passer_by_is_wrong_and_junk_is_nothing() -> None:
    query = seen(at(0), [5], [1])
    right = ([5], [2])
    assert ranking.rank(query, seen(at(1, 2), [0, *right[0]], [2, *right[1]])).average_precision.item() == 0.5
    assert ranking.rank(query, seen(at(1, 2), [-1, *right[0]], [2, *right[1]])).average_precision.item() == 1.0


def test_of_pictures_alike_the_wrong_come_first_and_else_keep_their_order() -> None:
    same = seen(torch.ones(4, 2), [6, 5, 6, 5], [2, 2, 3, 4])
    assert ranking.rank(seen(torch.ones(1, 2), [5], [1]), same).order.tolist() == [[0, 2, 1, 3]]


@pytest.mark.parametrize("persons, cameras", [([6, 6], [2, 3]), ([5, 6], [1, 2])], ids=["nobody", "same camera only"])
def test_a_query_without_a_match_is_named(persons: list[int], cameras: list[int]) -> None:
    query = seen(at(0, 0), [6, 5], [1, 1])
    with pytest.raises(ValueError, match="1 of 2 queries have no match; the first, at position 1, shows person 5"):
        ranking.rank(query, seen(at(1, 2), persons, cameras))
    with pytest.raises(ValueError, match="at position 1, shows person 5"):
        ranking.rankings(query, seen(at(1, 2), persons, cameras))  # at once, not when the first is asked for


def test_scores_are_remembered_by_content_not_by_identity() -> None:
    embeddings = at(1, 2, 3, 4, 5, 6)
    before = ranking.scores(QUERY, Seen(embeddings, *GALLERY[1:]))
    embeddings.copy_(embeddings.flip(0))
    after = ranking.scores(QUERY, Seen(embeddings, *GALLERY[1:]))
    assert after != before
    before["map"] = -1.0  # a caller's own copy
    assert ranking.scores(QUERY, Seen(embeddings.flip(0), *GALLERY[1:]))["map"] > 0
    assert len(ranking._remembered) <= ranking.REMEMBERED


def test_the_batch_hard_loss_by_hand_and_by_a_loop() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]], dtype=torch.float64)
    persons = torch.tensor([1, 1, 2, 3])  # the last two have nobody of their own
    # The first: 0.3 + 3 - 1; the second: 0.3 + 3 - sqrt(10).
    assert ranking.batch_hard(points, persons, 0.3).item() == pytest.approx((2.3 + 3.3 - 10**0.5) / 2, rel=1e-9)
    assert ranking.batch_hard(points, torch.arange(4), 0.3).item() == 0
    assert ranking.batch_hard(points, torch.zeros(4).long(), 0.3).item() == 0
    chance = torch.Generator().manual_seed(0)
    points, persons = torch.randn(24, 5, generator=chance).double(), torch.randint(0, 6, (24,), generator=chance)
    found = []
    for k in range(24):
        apart = [(points[k] - other).norm().item() for other in points]
        same = [apart[j] for j in range(24) if persons[j] == persons[k] and j != k]
        others = [apart[j] for j in range(24) if persons[j] != persons[k]]
        found += [max(0.0, 0.3 + max(same) - min(others))] if same and others else []
    assert ranking.batch_hard(points, persons, 0.3).item() == pytest.approx(sum(found) / len(found), rel=1e-6)
    moving = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ranking.batch_hard(moving, persons, 0.3), moving)
    assert slope.isfinite().all() and slope.any()
    moving = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)  # all alike, where a root has no slope
    assert torch.autograd.grad(ranking.batch_hard(moving, torch.tensor([1, 1, 2, 2]), 0.3), moving)[0].isfinite().all()


def test_pictures_of_a_person_stand_side_by_side() -> None:
    persons = torch.arange(60) % 7  # eight or nine pictures each
    orders = [ranking.grouped_order(persons, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    assert torch.equal(orders[0].sort().values, torch.arange(60))
    changes = int((persons[orders[0]].diff() != 0).sum())
    assert changes <= 7 * 3 - 1 < int((persons[torch.randperm(60, generator=torch.Generator())].diff() != 0).sum())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("whose", ["query", "gallery"])
def test_embeddings_that_are_not_finite_rank_nobody(value: float, whose: str) -> None:
    """Sorted, they would stand in some order all the same, and a broken model would find people."""
    sides = {"query": QUERY, "gallery": GALLERY}
    broken = sides[whose].embeddings.clone()
    broken[0] = value
    sides[whose] = sides[whose]._replace(embeddings=broken)
    found = ranking.scores(**sides)
    assert set(found) == {"map", "rank1", "rank5"} and all(each != each for each in found.values())
    with pytest.raises(ValueError, match="1 embeddings are not finite"):
        ranking.rankings(**sides)


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["no embedding", "one embedding for all"])
def test_a_model_that_tells_nobody_apart_finds_nobody_in_any_order(value: float) -> None:
    persons, cameras = torch.arange(60) // 6, torch.arange(60) % 3
    seen = ranking.Seen(torch.full((60, 4), value), persons, cameras)
    # Of 60 pictures 2 are the query's camera's and 4 are right, at the last places of the 58.
    least = sum(k / (54 + k) for k in (1, 2, 3, 4)) / 4
    for seed in range(3):
        mixed = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
        found = ranking.scores(seen.take(mixed), seen.take(mixed))
        assert found == {"map": pytest.approx(least, rel=1e-12), "rank1": 0.0, "rank5": 0.0}


def test_a_tie_costs_what_is_right_and_moves_nothing_else() -> None:
    gallery = ranking.Seen(
        torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1], [1, 1]]), torch.tensor([0, 0, 1, 0, 1]), torch.arange(5)
    )
    query = ranking.Seen(
        torch.tensor([[0.0, 1]]), torch.tensor([0]), torch.tensor([3])
    )  # as alike: right, wrong, not counted
    found = ranking.rank(query, gallery)
    assert found.order.tolist() == [[2, 3, 1, 4, 0]] and found.first_right.tolist() == [2]
    assert found.average_precision.item() == pytest.approx((1 / 2 + 2 / 4) / 2)
