"""Selecting samples by what is known of them: bars of a histogram, and the rule that tells a selection from the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..core.quantities import describe
from ..core.taken import a_record, several_examples

BARS = 30
FEW = 12  # different values: each gets a bar of its own
DEPTH = 2  # conditions of a rule
PLAIN = 0.5  # of the selected and those that the rule takes for such, how many must be both, for the rule to be worth telling


class Bars(NamedTuple):
    """A histogram of a column, in which each sample knows its bar.

    Attributes:
        bar: (n,) the number of each sample's bar.
        ends: (b, 2) the smallest and largest value of each bar; NaN for the last one where samples without a value have it.
    """

    bar: np.ndarray
    ends: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(b,) samples in each bar."""
        return np.bincount(self.bar, minlength=len(self.ends))

    def within(self, first: int, last: int) -> np.ndarray:
        """(n,) whether each sample's bar is one of these."""
        return (self.bar >= first) & (self.bar <= last)

    def words(self, first: int, last: int) -> str:
        """What the values of these bars have in common: ``"3 to 8 or none"``."""
        ends = self.ends[first : last + 1]
        known = ends[np.isfinite(ends).all(1)]
        said = []
        if len(known):
            low, high = (f"{end:.3g}" for end in (known[0, 0], known[-1, 1]))
            said = [low if low == high else f"{low} to {high}"]
        return " or ".join(said + ["none"] * (len(known) < len(ends)))


def bars(values: Iterable[float]) -> Bars:
    """The histogram of (n,) values: equal bars, one per value where there are few, and a last one for those without a value."""
    values = np.asarray(list(values), dtype=float)
    known = np.isfinite(values)
    different = np.unique(values[known])
    if len(different) <= FEW:
        ends = np.column_stack([different, different])
        bar = np.searchsorted(different, np.where(known, values, np.inf))
    else:
        edges = np.linspace(different[0], different[-1], BARS + 1)
        ends = np.column_stack([edges[:-1], edges[1:]])
        bar = np.clip(np.searchsorted(edges, np.where(known, values, edges[0]), side="right") - 1, 0, BARS - 1)
        bar = np.where(known, bar, BARS)
    if not known.all():
        ends = np.vstack([ends, [np.nan, np.nan]])
    return Bars(bar.astype(int), ends)


class Condition(NamedTuple):
    """A side of a threshold; ``or_none`` where samples without a value are on it, too.

    An infinite threshold parts those that have a value from those that have none.
    """

    column: str
    above: bool
    threshold: float
    or_none: bool

    def holds(self, samples: pd.DataFrame) -> np.ndarray:
        """(n,) whether each sample is on this side."""
        values = samples[self.column].to_numpy(dtype=float)
        has_value = np.isfinite(values)
        side = values > self.threshold if self.above else values <= self.threshold
        return np.where(has_value, side, self.or_none)

    def __str__(self) -> str:
        if np.isinf(self.threshold):
            title = describe(self.column).title
            return f"no {title}" if self.above else f"{title} is known"
        number = f"{self.threshold:.10g}".replace("-", "−")
        return f"{describe(self.column).title} {'>' if self.above else '≤'} {number}{' or none' * self.or_none}"


class Rule(NamedTuple):
    """What tells a selection from the other samples.

    Attributes:
        conditions: all of them hold for a sample that the rule names; none where nothing can be told.
        hits: selected samples that it names. selected: how many are selected.
        others_named: other samples that it names. others: how many there are.
    """

    conditions: tuple[Condition, ...]
    hits: int
    selected: int
    others_named: int
    others: int

    @property
    def plain(self) -> bool:
        """Whether most of those that are selected, or named, are both."""
        return bool(self.conditions) and self.hits > PLAIN * (self.selected + self.others_named)

    def __str__(self) -> str:
        if not self.selected or not self.others:
            return f"{'all' if self.selected else 'none'} of the samples are selected"
        if not self.plain:
            return f"no rule of {DEPTH} conditions tells the {self.selected} selected from the {self.others} others"
        said = " and ".join(map(str, self.conditions))
        return (
            f"{said}: {self.hits} of the {self.selected} selected, and {self.others_named} of the {self.others} others"
        )


def explain_selection(samples: pd.DataFrame, examples: Iterable[int], columns: Sequence[str] | None = None) -> Rule:
    """The rule of at most two conditions that tells a selection best from the other samples.

    A shallow decision tree that gives both sides the same weight (Breiman et al. 1984, *Classification and Regression Trees*); of
    its leaves the one for which the selected and the named samples agree best. Thresholds are rounded as far as no sample
    changes sides.

    Args:
        samples: a ledger, with ``example``.
        examples: the selected ones.
        columns: what a condition may speak of; None takes all that hold numbers and differ.

    Returns:
        A rule, whose ``str`` is the sentence and whose counts are of the rounded rule.

    Raises:
        ValueError: a column that the ledger does not have.

    >>> imu.explain_selection(run.samples, [3, 13, 22])
    """
    a_record(samples, "explain_selection", pd.DataFrame, "a ledger, such as run.samples", ["example"])
    columns = quantities(samples) if columns is None else columns
    if unknown := [name for name in columns if name not in samples]:
        raise ValueError(f"the ledger has no column {unknown[0]!r}; it has: {', '.join(map(str, samples.columns))}")
    chosen = samples["example"].isin(several_examples(examples, "explain_selection")).to_numpy()
    if not columns or not chosen.any() or chosen.all():
        return _judged((), samples, chosen)
    from sklearn.tree import DecisionTreeClassifier

    values = samples[list(columns)].astype(float).to_numpy()
    tree = DecisionTreeClassifier(max_depth=DEPTH, class_weight="balanced", random_state=0)
    tree.fit(_filled(values), chosen)
    rules = [_judged(path, samples, chosen) for path in _paths(tree.tree_, values, columns)]
    return max(rules, key=lambda rule: (rule.hits / (rule.selected + rule.others_named), -len(rule.conditions)))


def quantities(samples: pd.DataFrame) -> list[str]:
    """The columns of a ledger that hold numbers, or yes and no, and are not the same for all."""
    known = samples.drop(columns="example").select_dtypes(["number", "bool"])
    return [name for name in known if known[name].nunique() > 1]


def _filled(values: np.ndarray) -> np.ndarray:
    """What has no value, such as the time of what was never forgotten, counts as larger than all."""
    known = np.where(np.isfinite(values), values, np.nan)
    high = np.nan_to_num(np.nanmax(known, 0, initial=-np.inf, where=~np.isnan(known)), neginf=0.0)
    low = np.nan_to_num(np.nanmin(known, 0, initial=np.inf, where=~np.isnan(known)), posinf=0.0)
    return np.where(np.isnan(known), high + np.maximum(high - low, 1.0), known)


def _paths(tree, values: np.ndarray, columns: Sequence[str]) -> list[tuple[Condition, ...]]:
    """The conditions on the way to each leaf, and to each node before it."""
    found, waiting = [], [(0, ())]
    while waiting:
        node, path = waiting.pop()
        if path:
            found.append(_simplified(path))
        if tree.children_left[node] < 0:
            continue
        at = tree.feature[node]
        threshold, has_none = _short(values[:, at], tree.threshold[node]), not np.isfinite(values[:, at]).all()
        for child, above in ((tree.children_left[node], False), (tree.children_right[node], True)):
            waiting.append((child, (*path, Condition(columns[at], above, threshold, above and has_none))))
    return found


def _simplified(path: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Of two conditions on the same side of one column the narrower one is left."""
    kept: dict[tuple[str, bool], Condition] = {}
    for each in path:  # the later one is the narrower
        kept[each.column, each.above] = each
    return tuple(kept.values())


def _short(values: np.ndarray, threshold: float) -> float:
    """The number of fewest digits that parts the values as this threshold does."""
    known = values[np.isfinite(values)]
    below, above = known[known <= threshold], known[known > threshold]
    if not len(above):
        return np.inf
    low, high = below.max(initial=-np.inf), above.min()
    for digits in range(1, 17):
        for short in (float(f"{near:.{digits}g}") for near in (threshold, low)):
            if low <= short < high:
                return short
    return float(low if np.isfinite(low) else threshold)


def _judged(path: tuple[Condition, ...], samples: pd.DataFrame, chosen: np.ndarray) -> Rule:
    """The rule with its counts."""
    named = np.ones(len(samples), dtype=bool)
    for each in path:
        named &= each.holds(samples)
    named &= bool(path)
    return Rule(
        path, int((named & chosen).sum()), int(chosen.sum()), int((named & ~chosen).sum()), int((~chosen).sum())
    )
