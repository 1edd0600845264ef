"""How the truth ratios of models are distributed, and how far each distribution is from the retrained model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..tasks.protocol import Task, prepared
from .language import Apart, apart, check_pairs
from .reference import Reference

PAIRS = ["model", "example", "author", "truth_ratio", "share"]
DISTANCES = ["model", "ks_distance", "forget_quality", "farthest"]
RETRAINED = "retrained"


@dataclass(frozen=True, eq=False)
class TruthRatios:
    """The truth ratios of several models beside those of the retrained one: how much likelier wrong answers are than right.

    Attributes:
        pairs: ``model, example, author, truth_ratio, share``, each model's in rising order. ``share`` is the part of the
            model's pairs that have this ratio or a lower one: the curve of the distribution.
        distances: ``model, ks_distance, forget_quality, farthest``: the largest distance of the two curves (of several
            retrained models the mean), −log10 p of the Kolmogorov-Smirnov test, and the ratio at which they are that far
            apart, for the first retrained model.
        retrained: the names of the retrained models among them.
        noise_floor: the mean distance of two retrained models; NaN for one alone.
    """

    pairs: pd.DataFrame
    distances: pd.DataFrame
    retrained: tuple[str, ...]
    noise_floor: float

    def __repr__(self) -> str:
        each = ", ".join(f"{row.model} {row.ks_distance:.3f}" for row in self.distances.itertuples())
        floor = f", noise floor {self.noise_floor:.3f}" if np.isfinite(self.noise_floor) else ""
        return f"TruthRatios(distance to the retrained model: {each or 'no model'}{floor})"


def truth_ratios(
    task: Task,
    models: Mapping[str, nn.Module],
    reference: Any,
    *,
    split: str = "forget",
    definition: str = "open-unlearning",
) -> TruthRatios:
    """The truth ratios of some models on the pairs of a split that have wrong answers, beside the retrained model's.

    >>> imu.plot_truth_ratio(imu.truth_ratios(task, {"original": original, "now": run.model}, retrained))

    Args:
        task: a :class:`~imu_lab.tasks.Language`.
        models: whole models by what to call them.
        reference: the retrained model, or several of them (:func:`imu_lab.references`).
        split: whose pairs.
        definition: whose truth ratio (see :class:`~imu_lab.measures.language.TruthRatio`).

    Raises:
        TypeError: the task has no pairs, or the models have no names.
        ValueError: no pair of the split has wrong answers.
    """
    check_pairs("truth ratios need", task, models)
    examples = task.split(f"{split}-perturbed")
    if not len(examples):
        raise ValueError(f"no pair of {split!r} has wrong answers, without which there is no truth ratio")
    members = Reference.of(task, reference).members
    names = [RETRAINED] if len(members) == 1 else [f"{RETRAINED}, {number}" for number in range(1, len(members) + 1)]
    if taken := set(models) & set(names):
        raise ValueError(f"{min(taken)!r} is what the reference is called; call the model otherwise")
    some = getattr(task.corpus, examples.source)
    about = pd.DataFrame({"example": examples.ids.numpy()})
    about["author"] = [task.corpus.name(some[at].author) or some[at].group for at in about["example"]]

    def of(model: nn.Module) -> pd.DataFrame:
        found = task.truth_ratios(prepared(task, model), split, task.split, definition)
        return about.assign(truth_ratio=found.numpy())

    retrained = {name: of(member.model) for name, member in zip(names, members)}
    return beside({name: of(model) for name, model in models.items()}, retrained)


def beside(models: Mapping[str, pd.DataFrame], retrained: Mapping[str, pd.DataFrame]) -> TruthRatios:
    """Tables ``example, author, truth_ratio`` by model, put beside those of the retrained ones."""
    both = {**models, **retrained}
    curves = [_curve(name, table) for name, table in both.items()]
    rows = []
    for name in models if retrained else ():
        each = [_apart(both[name], other) for other in retrained.values()]
        distance, quality = (float(np.mean([getattr(one, what) for one in each])) for what in ("distance", "quality"))
        rows.append((name, distance, quality, each[0].farthest))
    floors = [_apart(one, other).distance for one, other in permutations(retrained.values(), 2)]
    pairs = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=PAIRS)
    floor = float(np.mean(floors)) if floors else float("nan")
    return TruthRatios(pairs[PAIRS], pd.DataFrame(rows, columns=DISTANCES), tuple(retrained), floor)


def _curve(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The pairs of one model whose ratio is known, in rising order, with the share at or below each."""
    known = table.dropna(subset="truth_ratio").sort_values("truth_ratio", kind="stable")
    share = known["truth_ratio"].rank(method="max") / max(1, len(known))
    return known.assign(model=name, share=share)


def _apart(one: pd.DataFrame, other: pd.DataFrame) -> Apart:
    return apart(*(torch.tensor(table["truth_ratio"].to_numpy(dtype=float)) for table in (one, other)))
