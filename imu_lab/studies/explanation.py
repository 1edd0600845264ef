"""Why some samples resist: what is known of each beforehand, beside how it withstood, and how far the one tells the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from ..core.messages import unknown
from ..core.records import Run
from ..core.registry import estimators as registered
from ..lab.verbs import influence
from .beforehand import curvature, held_out_confidence, learning_events, neighbours
from .resistance import latest, resistance, withstanding
from .statistics import confidence_interval, one_row, spearman

CHEAP = ("fisher-diagonal", "gradient-cosine", "self-influence", "el2n")
TRAINING = ("training_events", "first_learned", "held_out_confidence", "label_suspicion", "memorisation")
NEAR = ("nearest_distance", "retain_distance", "retain_share", "class_overlap", "duplicate", "near_duplicate")
BEFORE = ("pressure", "confidence_before", "margin_before", "gradient_norm", "curvature")
TREES = 60


def explain_resistance(
    run: Run,
    original: nn.Module | None = None,
    *,
    estimators: Iterable[str] | str = CHEAP,
    training: bool = True,
    uniform: Run | bool | None = None,
    folds: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per forget sample: how it withstood, and all that was known of it before.

    Args:
        run: with its task.
        original: the model before; None takes it from the run.
        estimators: whose influence to tell, each in a column ``influence_<name>``; the defaults cost milliseconds,
            ``"all"`` takes every registered one, the random control too.
        training: whether to train: once more for the learning events, and once per fold for the held-out columns.
        uniform: the same run under uniform weights, or True to make it; see :func:`imu_lab.resistance`.
        folds, seed: see :func:`imu_lab.studies.beforehand.held_out_confidence`.

    Returns:
        The columns of :func:`imu_lab.resistance` and those of :func:`why_columns`, and the ids of the neighbours.
    """
    task, original = run.known_task(), run.model_at(0) if original is None else original
    table = resistance(run, uniform=uniform)
    for name in ("confidence_before", "margin_before"):
        table[name] = run.samples[name].to_numpy()
    for name in _named(estimators):
        scores = influence(task, original, name)
        table[f"influence_{name}"] = scores.values
        if "gradient_norm" in scores.context:
            table["gradient_norm"] = scores.context["gradient_norm"].to_numpy()
    parts = [curvature(task, original), neighbours(task, original)]
    if training:
        parts += [learning_events(task, seed), held_out_confidence(task, folds, seed)]
    for part in parts:
        table = table.merge(part, on="example", how="left", validate="one_to_one")
    if training:
        table["memorisation"] = table["confidence_before"] - table["held_out_confidence"]
    return table


def _named(estimators: Iterable[str] | str) -> list[str]:
    if isinstance(estimators, str):
        return list(registered) if estimators == "all" else [estimators]
    return list(estimators)


def why_columns(table: pd.DataFrame, target: str = "rank") -> list[str]:
    """The columns that may explain: numbers known before the run, that are not all the same.

    And the pressure of the run, but not of one under uniform pressure, where everybody got the same.
    """
    own = [name for name in BEFORE if name != "pressure" or not target.startswith("uniform")]
    wanted = [*own, *[name for name in table if name.startswith("influence_")], *TRAINING, *NEAR]
    return [name for name in wanted if name in table and table[name].nunique() > 1 and table[name].notna().all()]


def _rows(table: pd.DataFrame, target: str) -> pd.DataFrame:
    """The rows to explain: those with something to resist, so not without pressure, nor wrong from the start."""
    if target not in table:
        raise unknown("column to explain", target, [name for name in table if name.endswith(("rank", "auc", "forget"))])
    known = table.assign(**{target: latest(table, target)})  # who was never forgotten withstood longest
    rows = known[withstanding(table, target) & known[target].notna()]
    if len(rows) < 10:
        raise ValueError(
            f"{len(rows)} samples had something to withstand (pressed, right before) and have a {target!r}; an explanation "
            'needs at least 10. Where samples are wrong from the start, ask of "confidence_auc"'
        )
    return rows


def reasons(table: pd.DataFrame, target: str = "rank", *, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Spearman correlation of every why-column with resistance, the strongest first.

    Samples without pressure are left out (unless the target is resistance under uniform pressure), and those that were
    wrong before the first update.

    Args:
        table: what :func:`explain_resistance` gave.
        target: what to explain; ``"uniform_rank"`` is not confounded by the run's own pressure.
        draws, seed: of the bootstrap over samples.

    Returns:
        ``column, correlation, low, high`` (95 %), ``given_pressure`` (the partial correlation with the ranks of pressure
        taken out of both; empty under uniform pressure, and where the pressure is not known), ``samples``.
    """
    rows = _rows(table, target)
    names = why_columns(rows, target)
    values = rows[names].to_numpy(dtype=float)
    goal = rows[target].to_numpy(dtype=float)
    found = pd.DataFrame({"column": names, "correlation": spearman(values.T, goal)})
    found["low"], found["high"] = confidence_interval(spearman, values.T, goal[None], draws=draws, seed=seed)
    given = np.full(len(rows), np.nan) if target.startswith("uniform") else rows["pressure"].to_numpy(dtype=float)
    found["given_pressure"] = _partial(values, goal, given)
    found["samples"] = len(rows)
    return found.sort_values("correlation", key=np.abs, ascending=False, ignore_index=True)


def _partial(values: np.ndarray, goal: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(c,) rank correlations with the ranks of ``given`` taken out; NaN for ``given`` itself, or where it is not known."""
    if np.isnan(given).any():
        return np.full(values.shape[1], np.nan)
    direct, with_goal = spearman(values.T, goal), spearman(given, goal)
    if np.isnan(with_goal):
        return direct  # the same pressure for all: nothing to take out
    across = spearman(values.T, given)
    left = np.sqrt(np.maximum((1 - across**2) * (1 - with_goal**2), 0))
    return np.divide(direct - across * with_goal, left, out=np.full(len(left), np.nan), where=left > 1e-6)


class Prediction(NamedTuple):
    """How well the why-columns tell resistance in samples that the model was not fitted on.

    Attributes:
        score: Spearman correlation of held-out predictions with the truth. low, high: 95 % interval over samples.
        control: the same with shuffled targets, the mean of several; its level is what luck alone reaches.
        control_high: the highest of them.
        samples, folds: of the cross-validation.
        importance: ``column, importance``: what the score loses when that column is shuffled in held-out samples.
        dependence: ``column, value, predicted``: partial dependence, with each column's own values on the way.
    """

    score: float
    low: float
    high: float
    control: float
    control_high: float
    samples: int
    folds: int
    importance: pd.DataFrame
    dependence: pd.DataFrame

    def __repr__(self) -> str:
        return (
            f"Prediction(held-out Spearman {self.score:.2f}, {self.low:.2f} to {self.high:.2f}; with shuffled targets "
            f"{self.control:.2f}, at most {self.control_high:.2f}; {self.samples} samples)"
        )

    def _repr_html_(self) -> str:
        return one_row(self)


def predict_resistance(
    table: pd.DataFrame, target: str = "rank", *, folds: int = 5, controls: int = 8, seed: int = 0
) -> Prediction:
    """A small forest that predicts resistance from the why-columns, scored only on samples it was not fitted on.

    Args:
        table, target: see :func:`reasons`.
        folds: of the cross-validation.
        controls: how many times to repeat everything with shuffled targets.
        seed: of folds, trees and shuffles.
    """
    from scipy.stats import rankdata  # half a second to import
    from sklearn.model_selection import cross_val_predict

    rows = _rows(table, target)
    names = why_columns(rows, target)
    values, goal = rows[names].to_numpy(dtype=float), rankdata(rows[target].to_numpy(dtype=float))
    forest, split = _forest(seed), _split(folds, seed)
    predicted = cross_val_predict(forest, values, goal, cv=split)
    low, high = confidence_interval(spearman, predicted, goal, draws=500, seed=seed)
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(goal) for _ in range(controls)]
    luck = [spearman(cross_val_predict(forest, values, each, cv=split), each) for each in shuffled]
    importance = pd.DataFrame({"column": names, "importance": _importances(values, goal, folds, seed)})
    return Prediction(
        score=float(spearman(predicted, goal)),
        low=float(low),
        high=float(high),
        control=float(np.mean(luck)),
        control_high=float(np.max(luck)),
        samples=len(goal),
        folds=folds,
        importance=importance.sort_values("importance", ascending=False, ignore_index=True),
        dependence=_dependence(values, goal, names, seed),
    )


def _forest(seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(TREES, min_samples_leaf=3, max_features=0.5, random_state=seed)


def _split(folds: int, seed: int) -> Any:
    from sklearn.model_selection import KFold

    return KFold(folds, shuffle=True, random_state=seed)


def _importances(values: np.ndarray, goal: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(c,) how much of its rank correlation a forest loses, in samples that it was not fitted on, without each column."""
    from sklearn.inspection import permutation_importance

    lost = []
    for fitted, out in _split(folds, seed).split(values):
        forest = _forest(seed).fit(values[fitted], goal[fitted])
        found = permutation_importance(forest, values[out], goal[out], scoring=_score, n_repeats=1, random_state=seed)
        lost.append(found.importances_mean)
    return np.mean(lost, axis=0)


def _score(forest: Any, values: np.ndarray, goal: np.ndarray) -> float:
    """Spearman's correlation of predictions with the truth; 0 for predictions that are all the same."""
    return float(np.nan_to_num(spearman(forest.predict(values), goal)))


def _dependence(values: np.ndarray, goal: np.ndarray, names: list[str], seed: int) -> pd.DataFrame:
    """Partial dependence at up to seven quantiles of each column (Friedman 2001)."""
    from sklearn.inspection import partial_dependence

    forest, parts = _forest(seed).fit(values, goal), []
    for column, name in enumerate(names):
        grid = np.unique(np.quantile(values[:, column], np.linspace(0.05, 0.95, 7)))
        found = partial_dependence(forest, values, [column], custom_values={column: grid}, kind="average")
        parts.append(pd.DataFrame({"column": name, "value": grid, "predicted": found["average"][0]}))
    return pd.concat(parts, ignore_index=True)
