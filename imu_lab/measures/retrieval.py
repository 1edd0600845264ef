"""Which persons a model finds: the answers to each query, the matching curve, and a map of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.knobs import check_count
from ..tasks import ranking
from ..tasks.around import innermost
from ..tasks.protocol import Task, offered

RIGHT, WRONG, IGNORED = "right", "wrong", "same camera"


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The gallery as one model ranks it for each query.

    Attributes:
        queries: ``query, example, person, camera, average_precision, first_right``; one row per query picture.
        answers: ``query, place, rank, example, person, camera, mark``, the first places of each ranking. ``mark`` is
            ``"right"`` (the same person from another camera), ``"wrong"`` (somebody else) or ``"same camera"`` (the
            same person from the query's camera, or junk: too easy, so not counted and without a rank).
        curve: ``rank, share``: the cumulative matching curve, the share of queries with a right answer by that rank.
        label: the model's name in a legend.
        sources: where ``example`` counts in, for the pictures of queries and of answers.
        task: the task, for its pictures.
    """

    queries: pd.DataFrame
    answers: pd.DataFrame
    curve: pd.DataFrame
    label: str
    sources: tuple[str, str] = ("test", "test")
    task: Any = field(default=None, repr=False)

    @property
    def map(self) -> float:
        """Mean average precision."""
        return float(self.queries["average_precision"].mean())

    def __repr__(self) -> str:
        rank1 = self.curve["share"].iloc[0]
        return f"Retrieval({self.label!r}, {len(self.queries)} queries, mAP {self.map:.3f}, rank-1 {rank1:.3f})"


def retrieve(
    task: Task, model: nn.Module, split: str = "test-forget", *, label: str = "model", depth: int = 20
) -> Retrieval:
    """Look for each picture of a split among all held-out pictures, by Market-1501's protocol.

    Args:
        task: a :class:`~imu_lab.tasks.ReID` task.
        model: whose embeddings are compared.
        split: ``"test-forget"``, ``"test"`` or, where the data have them, ``"standard"``.
        label: the model's name in figures.
        depth: how many places of each ranking to keep.

    Raises:
        TypeError: the task has nothing to retrieve.
        ValueError: a query without a match, a split that was trained on or that is none to look for, embeddings that are not
            finite, or a depth that is no whole number from 1.
    """
    _check_people(task, "retrieval")
    depth = check_count("depth", depth, 1)
    asked, rankings = task.split(split), task.ranked(model, split)  # which refuses a split that was trained on
    sources = (asked.source, "test" if asked.source == "test" else "standard-gallery")
    some, gallery = (task.pictured(source) for source in sources)
    itself = asked.ids.numpy() if sources[0] == sources[1] else None
    found, answers, done = [], [], 0
    for ranked in rankings:
        mine = slice(done, done := done + len(ranked.order))
        found.append((ranked.average_precision, ranked.first_right))
        answers.append(_answers(ranked, gallery, None if itself is None else itself[mine], depth, mine.start))
    precision, first = (torch.cat(parts) for parts in zip(*found))
    queries = pd.DataFrame(
        {
            "query": np.arange(len(asked)),
            "example": asked.ids.numpy(),
            "person": some.persons[asked.ids.numpy()],
            "camera": some.cameras[asked.ids.numpy()],
            "average_precision": precision.numpy(),
            "first_right": first.numpy(),
        }
    )
    shares = ranking.cmc(first, depth)
    curve = pd.DataFrame({"rank": np.arange(1, depth + 1), "share": shares.numpy()})
    return Retrieval(queries, pd.concat(answers, ignore_index=True), curve, label, sources, task)


def _check_people(task: Task, who: str) -> None:
    if offered(task).ranked is None:
        kind = type(innermost(task)).__name__
        raise TypeError(f"{who} needs a task with people to find, such as imu.tasks.ReID; got {kind}")


def _answers(
    ranked: ranking.Ranking, gallery: Any, itself: np.ndarray | None, depth: int, start: int = 0
) -> pd.DataFrame:
    """The first ``depth`` places of every ranking, the query's own picture left out; queries count from ``start``."""
    order, right, counted = (column.numpy() for column in ranked)
    ranks = counted.cumsum(1)
    rows = []
    for query in range(len(order)):
        shown = order[query] != (-1 if itself is None else itself[query])
        places = np.flatnonzero(shown)[:depth]
        examples, valid = order[query, places], counted[query, places]
        rows.append(
            pd.DataFrame(
                {
                    "query": start + query,
                    "place": np.arange(1, len(places) + 1),
                    "rank": np.where(valid, ranks[query, places], np.nan),
                    "example": examples,
                    "person": gallery.persons[examples],
                    "camera": gallery.cameras[examples],
                    "mark": np.where(right[query, places], RIGHT, np.where(valid, WRONG, IGNORED)),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Held-out pictures in the plane, at the same scale and turn for every model.

    Attributes:
        points: ``model, x, y, example, person, camera, role``; ``role`` is ``"forgotten"``, ``"alike"`` (a person whom
            the first model finds most like a forgotten one) or ``"other"``.
        task: the task, for its pictures.
    """

    points: pd.DataFrame
    task: Any = field(default=None, repr=False)

    def __repr__(self) -> str:
        models = list(dict.fromkeys(self.points["model"]))
        return f"EmbeddingMap({', '.join(models)}; {len(self.points) // max(1, len(models))} pictures)"


def embedding_map(task: Task, models: Mapping[str, nn.Module], *, alike: int = 3) -> EmbeddingMap:
    """Where held-out pictures lie among each other, for several models.

    The plane is the one in which the first model keeps the forgotten persons and those most like them furthest apart:
    the first two principal directions of their mean unit embeddings. Another model's embeddings are first turned (an
    orthogonal Procrustes rotation, which changes no distance) onto the first's, so that places can be compared.

    Args:
        task: a :class:`~imu_lab.tasks.ReID` task.
        models: by name; the first one sets the plane.
        alike: how many persons to point out beside the forgotten ones.

    Raises:
        TypeError: the task has nobody to find.
        ValueError: no models.
    """
    _check_people(task, "an embedding map")
    if not models:
        raise ValueError('name at least one model, such as {"original": original}')
    known = {name: task.embeddings(model, "gallery") for name, model in models.items()}
    first = next(iter(known.values()))
    persons, cameras = first.persons.numpy(), first.cameras.numpy()
    units = {name: torch.nn.functional.normalize(seen.embeddings, dim=1).double() for name, seen in known.items()}
    base = next(iter(units.values()))
    near = _most_alike(base, first.persons, task.forget_persons, alike)
    centre = base.mean(0)
    plane = _plane(torch.stack([base[first.persons == person].mean(0) for person in (*task.forget_persons, *near)]))
    asked = np.isin(persons, task.forget_persons)
    role = np.where(asked, "forgotten", np.where(np.isin(persons, near), "alike", "other"))
    about = {"example": np.arange(len(persons)), "person": persons, "camera": cameras, "role": role}
    parts = []
    for name, unit in units.items():
        x, y = (_turned(unit, base) - centre) @ plane[:, 0], (_turned(unit, base) - centre) @ plane[:, 1]
        parts.append(pd.DataFrame({"model": name, "x": x.numpy(), "y": y.numpy(), **about}))
    return EmbeddingMap(pd.concat(parts, ignore_index=True), task)


def _most_alike(units: Tensor, persons: Tensor, forgotten: tuple[int, ...], count: int) -> list[int]:
    """The persons whose mean embedding is nearest to a forgotten one's."""
    everybody = persons.unique()
    means = torch.stack([units[persons == person].mean(0) for person in everybody])
    means = torch.nn.functional.normalize(means, dim=1)
    mine = torch.isin(everybody, torch.tensor(forgotten))
    closeness = (means @ means[mine].T).amax(1).masked_fill(mine, -torch.inf)
    return everybody[closeness.argsort(descending=True)[: min(count, int((~mine).sum()))]].tolist()


def _plane(points: Tensor) -> Tensor:
    """(d, 2) the two directions in which a few points (p, d) differ most."""
    return torch.linalg.svd(points - points.mean(0), full_matrices=False)[2][:2].T


def _turned(points: Tensor, onto: Tensor) -> Tensor:
    """(n, d) points, centred, rotated onto others of the same pictures (Schönemann 1966), and moved to their centre."""
    centred, target = points - points.mean(0), onto - onto.mean(0)
    left, _, right = torch.linalg.svd(centred.T @ target)
    return centred @ left @ right + onto.mean(0)
