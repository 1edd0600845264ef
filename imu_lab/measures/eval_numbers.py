"""The numbers of an evaluation file, computed again from the losses and scores of its pairs, beside those that it tells.

A file's own numbers are not believed where they can be computed: rows without a value shift the indices of all rows behind
them, and a forget quality that could not be computed once stays null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..tasks.pair_scores import EPSILON, folded, truth_ratios, truthful
from ..tasks.sources.pairs import PER_AUTHOR
from . import memorisation
from .eval_files import EvalFile
from .language import SCORES, same_distribution

WITHIN = 1e-5  # relative: a file's numbers are rounded to 32 bits somewhere
MEANS = (
    "loss", "probability", "probability_normalised", "exact", "rouge", "exact_memorisation", "extraction_strength",
    "loss_paraphrased", "probability_paraphrased",
)  # fmt: skip
UTILITY = {"retain": "probability", "well-known": "probability_normalised", "general": "probability_normalised"}
# Where there are no other words; and one answer is to choose of several.
RIGHT = {"well-known": "loss", "general": "loss"}
GOALS = ("forget_quality", "privleak")  # that need the retrained model
AUTHORS = ("forget", "retain", "holdout")  # the splits in which each author has as many rows as in TOFU
CURVE = ["step", "split", "metric", "value"]
DIFFERENCES = ["file", "step", "split", "metric", "index", "told", "computed", "why"]


class Computed:
    """One file's numbers, computed from the losses and scores of its pairs, beside those that it tells."""

    def __init__(self, file: EvalFile, goal: Computed | None = None) -> None:
        self.file, self.goal = file, goal
        splits = list(dict.fromkeys(split for split, _ in file.rows))
        self.parts = {split: self._pairs(split) for split in splits}
        self.pairs = pd.concat(self.parts.values(), ignore_index=True)

    def _several(self, split: str, metric: str) -> Tensor:
        """(n, m) the values of the wrong answers to the pairs of a split; NaN where one has fewer."""
        rows = [self.file.rows[split, index].get(metric, []) for index in self.file.indices(split)]
        filled = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
        for at, values in enumerate(rows):
            filled[at, : len(values)] = values
        return torch.from_numpy(filled)

    def _pairs(self, split: str) -> pd.DataFrame:
        """The pairs of a split; one value for each."""
        file, indices = self.file, self.file.indices(split)
        metrics = dict.fromkeys(name for index in indices for name in file.rows[split, index] if "_wrong" not in name)
        columns = {name: [_mean(file.rows[split, index].get(name)) for index in indices] for name in metrics}
        authors = [f"author {index // PER_AUTHOR} of {split}" if split in AUTHORS else split for index in indices]
        table = pd.DataFrame({"step": file.step, "split": split, "index": indices, "author": authors} | columns)
        said = [file.texts.get((split, index)) for index in indices]
        if any(said) and not file.old:  # the first code's generations begin with words of the prompt
            table["exact"] = [_exact(texts) for texts in said]
        right, wrong = RIGHT.get(split, "loss_paraphrased"), self._several(split, "loss_wrong")
        if wrong.shape[1] and right in table:
            whole = self._known(split, "loss_wrong")  # a mean over those that are known would be of other answers
            table["truth_ratio"] = np.where(whole, truth_ratios(_tensor(table[right]), wrong).numpy(), np.nan)
        options = self._several(split, "probability_wrong")
        if split in RIGHT and options.shape[1] and "probability" in table:
            shares = table["probability"] / (table["probability"] + options.nansum(1).numpy() + EPSILON)
            table["probability_normalised"] = shares.where(self._known(split, "probability_wrong"))
        return table

    def _known(self, split: str, metric: str) -> np.ndarray:
        """(n,) whether the values of all wrong answers to each pair of a split are known."""
        return np.array([not np.isnan(_mean(self.file.rows[split, at].get(metric))) for at in self.file.indices(split)])

    @cached_property
    def values(self) -> dict[tuple[str, str], float]:
        """{(split, metric): value} of all that can be computed."""
        known = {
            (split, name): float(np.nanmean(table[name]))
            for split, table in self.parts.items()
            for name in MEANS
            if name in table and table[name].notna().any()
        }
        for split, table in self.parts.items():
            if "truth_ratio" in table and table["truth_ratio"].notna().any():
                fold = folded if split == "forget" else truthful
                known[split, "truth_ratio"] = fold(self.ratios(split)).nanmean().item()
        nine = [
            known.get((split, name)) for split, first in UTILITY.items() for name in (first, "rouge", "truth_ratio")
        ]
        if None not in nine:
            known["retain", "model_utility"] = memorisation.harmonic_mean(nine)
        for name in SCORES:
            both = [self._scores(split, f"mia_{name}" if name == "loss" else name) for split in ("forget", "holdout")]
            if all(len(scores) for scores in both):
                known["forget", f"auc_{name}"] = memorisation.membership_auc(*both)
        return known | self._against_goal(known)

    def _against_goal(self, known: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
        """What compares with the retrained model."""
        if self.goal is None:
            return {}
        quality, distance = same_distribution(self.ratios("forget"), self.goal.ratios("forget"))
        made = {("forget", "forget_quality"): quality, ("forget", "ks_distance"): distance}
        areas = [each.get(("forget", "auc_min_k")) for each in (known, self.goal.values)]
        if None not in areas:
            made["forget", "privleak"] = memorisation.privacy_leakage(*areas)
        return made

    def ratios(self, split: str) -> Tensor:
        """(n,) truth ratios of a split's pairs."""
        return _tensor(self.parts[split]["truth_ratio"])

    def _scores(self, split: str, name: str) -> Tensor:
        table = self.parts.get(split)
        return torch.empty(0) if table is None or name not in table else _tensor(table[name].dropna())

    def curve(self) -> pd.DataFrame:
        """``step, split, metric, value``: all that can be computed, and of the rest what the file tells."""
        told = {key: _as_here(key, value) for key, value in self.file.told.items() if value is not None}
        known = self.values | {key: value for key, value in told.items() if key not in self.values}
        return framed(((self.file.step, *key, value) for key, value in known.items()), CURVE)

    def differences(self) -> pd.DataFrame:
        """Where the file's own numbers are others."""
        rows, values = [], self.values
        for key, told in self.file.told.items():
            quality = key[1] == "forget_quality"
            if told is None and (key in values or key[1] in GOALS):
                computed = values.get(key, np.nan)
                why = "null in the file" + ("" if key in values else ": give reference= to compute it")
                rows.append((*key, None, np.nan, 10**-computed if quality else computed, why))
            elif told is not None and key in values and not _close(_as_here(key, told), values[key]):
                rows.append((*key, None, told, 10 ** -values[key] if quality else values[key], "another aggregate"))
        for split, table in self.parts.items():
            rows += self._of_rows(split, table, "truth_ratio")
            rows += self._of_rows(split, table, "probability_normalised")
        return framed(((self.file.path, self.file.step, *row) for row in rows), DIFFERENCES)

    def _of_rows(self, split: str, table: pd.DataFrame, name: str) -> list[tuple[Any, ...]]:
        """The rows of a split of which the file has another value, or one where there is none."""
        told = [_mean(self.file.rows[split, index].get(name)) for index in table["index"]]
        right = RIGHT.get(split, "loss_paraphrased")
        if name not in table or right not in table or np.isnan(told).all():
            return []
        expected = computed = table[name].to_numpy(float)
        if self.file.old and name == "truth_ratio":  # which was divided without 1e-10
            expected = computed * (1 + EPSILON * np.exp(table[right].to_numpy(float)))
        known, given = expected[~np.isnan(expected)], np.array(told)[~np.isnan(told)]
        shifted = len(known) == len(given) < len(expected) and all(map(_close, given, known))
        return [
            (split, name, index, here, value, "rows are shifted in the file" if shifted else "another value")
            for index, here, want, value in zip(table["index"], told, expected, computed)
            if not (np.isnan(here) and np.isnan(want)) and not _close(here, want)
        ]


def _tensor(column: pd.Series) -> Tensor:
    return torch.tensor(column.to_numpy(copy=True))  # pandas's own array cannot be written to


def _mean(values: list[float] | None) -> float:
    """Of several answers the mean, as open-unlearning takes it; NaN where there is none, or one is not known."""
    return sum(values) / len(values) if values else math.nan


def _exact(texts: Mapping[str, str] | None) -> float:
    if texts is None or not {"generation", "ground_truth"} <= texts.keys():
        return np.nan
    return float(texts["generation"].strip() == texts["ground_truth"].strip())


def _as_here(key: tuple[str, str], told: float) -> float:
    """A file's aggregate in the library's unit: the forget quality is −log10 p here."""
    return -float(np.log10(max(told, np.finfo(float).tiny))) + 0.0 if key[1] == "forget_quality" else told


def _close(told: float, computed: float) -> bool:
    return math.isclose(told, computed, rel_tol=WITHIN, abs_tol=1e-9)


def framed(rows: Iterable[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    """Rows under these names, also where there are none."""
    return pd.DataFrame(list(rows), columns=columns)
