"""Several retrained models as one reference: the distance to them is a mean, and theirs to each other is the noise floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core.messages import kind_of, listed, unheard, warn
from ..core.running import checked_seed, copied, fingerprint, tensors_of
from ..tasks.announced import Row, announced
from ..tasks.checkpoints import is_known, train
from ..tasks.checks import checked_task
from ..tasks.protocol import Task, offered, own_data_key, prepared
from ..tasks.sources.functions import own_code
from ..unlearning.recorder import SplitMetrics
from .distance import KLRetrained
from .reference import Reference, measured, refuse_original


@dataclass(frozen=True, eq=False, repr=False)
class References:
    """Retrained models of one task that differ by their seed alone; wherever ``reference=`` takes a model, it takes these.

    One retrained model is one draw of what training without the forget set may give. The distance of a model to several is
    the mean of its distances to each; how far two of them are from each other is the *noise floor*, below which a distance
    says nothing. :func:`imu_lab.references` makes one.

    Attributes:
        task: what they were retrained for.
        members: the models with their outputs, in the order of ``seeds``.
        seeds: of each model's training.
    """

    task: Any
    members: tuple[Reference, ...]
    seeds: tuple[int, ...]
    _measured: dict[tuple[Any, ...], SplitMetrics] = field(default_factory=dict, init=False)

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The retrained models, in eval mode."""
        return tuple(member.model for member in self.members)

    @property
    def digests(self) -> tuple[str, ...]:
        """Of each model's tensors."""
        return tuple(member.digest for member in self.members)

    @cached_property
    def distances(self) -> pd.DataFrame:
        """``split, reference, model, distance``: KL(reference ‖ model) in nats per prediction, every ordered pair of seeds.

        Empty for fewer than two models, and where a task's outputs are no probabilities.
        """
        rows = []
        pairs = permutations(zip(self.seeds, self.members), 2) if offered(self.task).probabilities else ()
        for (seed, reference), (other, model) in pairs:
            found = KLRetrained()(self.task, model.model, reference)
            rows += [(split, seed, other, values["kl_retrained"]) for split, values in found.items()]
        return pd.DataFrame(rows, columns=["split", "reference", "model", "distance"])

    @property
    def noise_floor(self) -> pd.Series:
        """The mean distance of two of them by split, both directions, in nats per prediction."""
        return self.distances.groupby("split", sort=False)["distance"].mean()

    def measured(self, metrics: tuple[Any, ...]) -> SplitMetrics:
        """{split: {metric: value}} the mean over the models, each beside all others: a distance is then the noise floor."""
        key = (metrics, own_code(map(type, metrics)))
        if key not in self._measured:
            each = [
                measured(self.task, member.model, metrics, self.without(position))
                for position, member in enumerate(self.members)
            ]
            self._measured[key] = {
                split: {name: float(np.mean([one[split][name] for one in each])) for name in values}
                for split, values in each[0].items()
            }
        return self._measured[key]

    @cached_property
    def confidence(self) -> np.ndarray:
        """(n,) the models' mean confidence in each forget sample's label."""
        return np.mean([member.confidence for member in self.members], axis=0)

    def without(self, position: int) -> References:
        """All but one; a single one has no others, and stands for itself."""
        others = [place for place in range(len(self)) if place != position] or [position]
        members, seeds = (tuple(values[place] for place in others) for values in (self.members, self.seeds))
        return replace(self, members=members, seeds=seeds)

    def check(self, task: Task) -> None:
        """Make sure that these are references of this task, as they were made.

        Raises:
            ValueError: they were retrained without other samples or on other data, or a model was changed since.
        """
        mine, other = self.task.split("forget"), task.split("forget")
        if mine.source != other.source or not torch.equal(mine.ids, other.ids):
            raise ValueError(
                f"these references were retrained without {len(mine)} samples of {mine.source!r}, and this task forgets "
                f"{len(other)} others; make them for it: imu.references(task)"
            )
        keys = {own_data_key(self.task), own_data_key(task)} - {None}
        if len(keys) > 1:
            raise ValueError(
                "these references were made for other data than this task has, though as many samples are to be forgotten; make "
                "them for it: imu.references(task)"
            )
        changed = [
            seed for seed, one in zip(self.seeds, self.members) if fingerprint(*tensors_of(one.model)) != one.digest
        ]
        if changed:
            raise ValueError(
                f"the references of seeds {listed(list(map(str, changed)))} were changed after they were made; make them "
                "again: imu.references(task)"
            )

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        models = f"{len(self)} retrained model{'s' * (len(self) > 1)}, seeds {', '.join(map(str, self.seeds))}"
        floor = ", ".join(f"{split} {value:.3g}" for split, value in self.noise_floor.items())
        return f"References({models}" + (f", noise floor {floor} nats)" if floor else ")")

    def _repr_html_(self) -> str:
        floor = self.distances.groupby("split", sort=False)["distance"].agg(["mean", "min", "max"]).reset_index()
        words = "The noise floor: KL(reference ‖ model) of two of them in nats per prediction, both directions"
        return f"<div><p>{self!r}</p>{floor.to_html(index=False, border=0, float_format='{:.4g}'.format)}<p>{words}</p></div>"


SEEDS = range(5)


def references(
    task: Task,
    seeds: Iterable[int] = SEEDS,
    *,
    models: Sequence[nn.Module] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> References:
    """Several retrained models, trained once each and then found on disk, as one reference.

    >>> references = imu.references(task)
    >>> run = imu.unlearn(task, original, reference=references, stop_at="retrained")
    >>> imu.compare(run)

    A call that was interrupted goes on where it was.

    Args:
        task: what was forgotten; each model is trained on its retain set by its own recipe.
        seeds: of the trainings, all different.
        models: retrained models of your own, one per seed, in place of a training; ``seeds`` are then their names, by default
            0, 1, 2, ...
        progress: called with (updates made, updates in all, ``"model 2 of 5"``); None shows a bar for work longer than
            two seconds.

    Raises:
        TypeError: ``seeds`` is one number, or ``models`` one model.
        ValueError: there is no seed, a model is the original, one stands there twice, or two models are the same.
    """
    task, (seeds, models) = checked_task(task), _asked(seeds, models)
    missing = sum(not is_known(task, "retain", seed) for seed in seeds) if models is None else 0
    members = []
    with unheard() as heard, announced(missing, "seeds= says how many, models= takes your own") as row:
        for number, seed in enumerate(seeds, 1):
            words = f"model {number} of {len(seeds)}"
            model = _trained(task, seed, words, progress, row) if models is None else models[number - 1]
            members.append(Reference(task, copied(prepared(task, model)).eval()))
            if models is not None:
                refuse_original(members[-1:], _original(task, seed), "models=")
    for words in heard[:1]:  # the others say the same of other seeds
        warn(words)
    made = References(task, tuple(members), tuple(seeds))
    _refuse_equals(made)
    return made


def _asked(seeds: Any, models: Any) -> tuple[list[int], list[nn.Module] | None]:
    """The seeds of some retrained models, and the models where they are given.

    Raises:
        TypeError, ValueError: as :func:`references`.
    """
    if not isinstance(seeds, Iterable):
        raise TypeError(f"seeds is several seeds, such as range(5); got {seeds!r}")
    if models is not None:
        if isinstance(models, nn.Module) or not isinstance(models, Iterable):
            raise TypeError(f"models is several models, such as [model]; got {kind_of(models)}")
        models = list(models)
        if not all(isinstance(model, nn.Module) for model in models):
            raise TypeError(f"models is several models, such as [model]; got {kind_of(models)}")
        seeds = range(len(models)) if seeds is SEEDS else seeds
    seeds = [checked_seed(seed) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds) or models is not None and len(models) != len(seeds):
        raise ValueError(
            f"references need one or more different seeds{'' if models is None else f', one for each of {len(models)} models'}; "
            f"got {seeds}"
        )
    return seeds, models


def _refuse_equals(made: References) -> None:
    """Raise ValueError where two retrained models are the same."""
    for one, other in permutations(range(len(made)), 2):
        if made.digests[one] == made.digests[other]:
            raise ValueError(
                f"the retrained models of seeds {made.seeds[one]} and {made.seeds[other]} are the same, so that they tell of no "
                "noise: the seed changes nothing in how this task makes its models"
            )


def _original(task: Task, seed: int) -> nn.Module | None:
    """The original, where it is at hand: a user's own, or one that was trained before."""
    return train(task, seed=seed) if is_known(task, "train", seed) else None


def _trained(
    task: Task, seed: int, words: str, progress: Callable[[int, int, str], None] | None, row: Row
) -> nn.Module:
    if progress is None:
        return row.train(task, "retain", seed)
    progress(0, 1, words)
    return train(task, "retain", seed=seed, progress=lambda made, total: progress(made, total, words))
