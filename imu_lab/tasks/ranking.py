"""Finding a person again: rank a gallery by likeness to each query and score the ranking, by Market-1501's protocol.

Right is a picture of the same person from *another* camera. The same person from the same camera is too easy and is
ignored, as is junk; everything else is wrong. Source: Zheng et al. 2015, "Scalable person re-identification: a
benchmark" (ICCV).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.running import digest

ROOM = 2**22  # pairs of a query and a gallery picture that are ranked at once: 200 MB, whatever the gallery
REMEMBERED = 8  # answers


class Seen(NamedTuple):
    """Pictures as retrieval sees them.

    Attributes:
        embeddings: (n, d).
        persons: (n,) int64.
        cameras: (n,) int64.
    """

    embeddings: Tensor
    persons: Tensor
    cameras: Tensor

    def take(self, rows: Tensor) -> Seen:
        """The pictures at these positions."""
        return Seen(*(column[rows] for column in self))


class Ranking(NamedTuple):
    """The gallery as each query sees it, the most alike first.

    Attributes:
        order: (q, g) int64, positions in the gallery.
        right: (q, g) bool, the same person from another camera.
        counted: (q, g) bool; False for the same person from the same camera and for junk.
    """

    order: Tensor
    right: Tensor
    counted: Tensor

    @property
    def average_precision(self) -> Tensor:
        """(q,) the mean, over a query's right answers, of the share of right answers down to that rank."""
        hits, counted = self.right.cumsum(1).double(), self.counted.cumsum(1).clamp_min(1)
        return (hits / counted * self.right).sum(1) / self.right.sum(1)

    @property
    def first_right(self) -> Tensor:
        """(q,) int64, the rank of the first right answer among those counted, from 1."""
        place = self.right.int().argmax(1, keepdim=True)  # argmax gives the first of equals
        return self.counted.cumsum(1).gather(1, place).squeeze(1)


def rank(query: Seen, gallery: Seen, junk: int = -1) -> Ranking:
    """Rank the gallery for each query by the cosine between embeddings; of equally alike pictures the wrong come first.

    A tie is no knowledge, and in the order of the data a model that gives all pictures one embedding would find some people.

    Args:
        query, gallery: may hold the same pictures: a query's own picture is one from the same camera.
        junk: the person number of pictures that nobody counts.

    Raises:
        ValueError: a query without any right answer in the gallery, named.
    """
    _check_matches(query, gallery)
    return _ranked(_unit(query), _unit(gallery), junk)


def rankings(query: Seen, gallery: Seen, junk: int = -1) -> Iterator[Ranking]:
    """:func:`rank` of a few queries at a time, in their order, so that a gallery of any size fits into memory.

    Raises:
        ValueError: see :func:`rank`, or embeddings that are not finite; before anything is ranked.
    """
    _check_matches(query, gallery)
    if strange := int((~torch.cat([query.embeddings, gallery.embeddings]).isfinite().all(1)).sum()):
        raise ValueError(
            f"{strange} embeddings are not finite, so that no ranking by them says anything; the model's training diverged"
        )
    asked, known = _unit(query), _unit(gallery)
    few = max(1, ROOM // max(1, len(gallery.persons)))
    return (_ranked(asked.take(rows), known, junk) for rows in torch.arange(len(query.persons)).split(few))


def _unit(seen: Seen) -> Seen:
    return seen._replace(embeddings=torch.nn.functional.normalize(seen.embeddings, dim=1))


def _ranked(query: Seen, gallery: Seen, junk: int) -> Ranking:
    likeness, order = (query.embeddings @ gallery.embeddings.T).sort(dim=1, descending=True, stable=True)
    same = query.persons[:, None] == gallery.persons[order]
    elsewhere = query.cameras[:, None] != gallery.cameras[order]
    found = Ranking(order, same & elsewhere, ~(same & ~elsewhere) & (gallery.persons[order] != junk))
    if not (likeness[:, 1:] == likeness[:, :-1]).any():
        return found
    wrong_first = found.right.int().argsort(dim=1, stable=True)
    again = wrong_first.gather(1, likeness.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True))
    return Ranking(*(column.gather(1, again) for column in found))


def _check_matches(query: Seen, gallery: Seen) -> None:
    alone = _without_match(query, gallery)
    if len(alone):
        first = int(alone[0])
        raise ValueError(
            f"{len(alone)} of {len(query.persons)} queries have no match; the first, at position {first}, shows person "
            f"{int(query.persons[first])} from camera {int(query.cameras[first])}, and no other camera's picture in "
            "the gallery shows that person: leave the query out, or add such a picture"
        )


def _without_match(query: Seen, gallery: Seen) -> Tensor:
    """Positions of the queries whose person no other camera shows in the gallery."""
    taken = torch.stack([gallery.persons, gallery.cameras], 1).unique(dim=0)  # (pairs, 2)
    same = query.persons[:, None] == taken[:, 0]
    return (~(same & (query.cameras[:, None] != taken[:, 1])).any(1)).nonzero().flatten()


def cmc(first_right: Tensor, depth: int) -> Tensor:
    """(depth,) the cumulative matching curve: the share of queries with a right answer among their first k."""
    ranks = torch.arange(1, depth + 1, device=first_right.device)
    return (first_right[:, None] <= ranks).double().mean(0)


def scores(query: Seen, gallery: Seen) -> dict[str, float]:
    """``map``, ``rank1`` and ``rank5`` of a gallery ranked for some queries; NaN where embeddings are not finite.

    The last few answers are remembered by content: while only a classifier moves, embeddings stay what they are.
    """
    key = digest(*query, *gallery)
    if key not in _remembered:
        _remembered[key] = _scores(query, gallery)
        while len(_remembered) > REMEMBERED:
            _remembered.pop(next(iter(_remembered)))
    return dict(_remembered[key])


_remembered: dict[str, dict[str, float]] = {}


def _scores(query: Seen, gallery: Seen) -> dict[str, float]:
    if not (query.embeddings.isfinite().all() and gallery.embeddings.isfinite().all()):
        return dict.fromkeys(("map", "rank1", "rank5"), float("nan"))  # in any order, which says nothing of a model
    seen = [(each.average_precision, each.first_right) for each in rankings(query, gallery)]
    precision, first = (torch.cat(parts) for parts in zip(*seen))
    shares = cmc(first, 5)
    return {"map": precision.mean().item(), "rank1": shares[0].item(), "rank5": shares[4].item()}


def batch_hard(embeddings: Tensor, persons: Tensor, margin: float) -> Tensor:
    """The triplet loss of a batch: the mean over pictures of max(0, margin + farthest of the same − nearest other person).

    Distances are Euclidean. Pictures without a second one of the person, or without anybody else, in the batch have none; of a
    batch in which no picture has one the loss is 0.

    Source: Hermans, Beyer, Leibe 2017, "In defense of the triplet loss" (arXiv 1703.07737), hard margin.
    """
    squares = embeddings.square().sum(1)
    apart = (squares[:, None] + squares - 2 * embeddings @ embeddings.T).clamp_min(1e-12).sqrt()  # (n, n)
    same = persons[:, None] == persons
    itself = torch.eye(len(persons), dtype=torch.bool, device=persons.device)
    farthest = apart.masked_fill(~same | itself, -torch.inf).amax(1)
    nearest = apart.masked_fill(same, torch.inf).amin(1)
    usable = (same & ~itself).any(1) & (~same).any(1)
    each = torch.relu(margin + farthest - nearest)[usable]
    return each.mean() if len(each) else embeddings.sum() * 0


def grouped_order(persons: Tensor, together: int, generator: torch.Generator) -> Tensor:
    """(n,) all positions once, so many pictures of a person side by side (fewer where there are no more), groups at random."""
    shuffled = torch.randperm(len(persons), generator=generator)
    by_person = shuffled[persons[shuffled].argsort(stable=True)]
    groups = [
        few for mine in by_person.split(persons.unique(return_counts=True)[1].tolist()) for few in mine.split(together)
    ]
    return torch.cat([groups[at] for at in torch.randperm(len(groups), generator=generator).tolist()])
