"""Why some samples resist: what is known of each beforehand, beside how it withstood, and how far the one tells the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from ..core.messages import unknown
from ..core.records import Run
from ..core.registry import estimators as registered
from ..lab.verbs import influence
from .curvature import curvature
from .memorisation import held_out, learning_events
from .neighbours import neighbours
from .resistance import latest, resistance, withstanding

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
        folds, seed: see :func:`imu_lab.studies.memorisation.held_out`.

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
        parts += [learning_events(task, seed), held_out(task, folds, seed)]
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
    random = np.random.default_rng(seed)
    drawn = [_spearman(values[at], goal[at]) for at in random.integers(len(rows), size=(draws, len(rows)))]
    found = pd.DataFrame({"column": names, "correlation": _spearman(values, goal)})
    found["low"], found["high"] = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    given = np.full(len(rows), np.nan) if target.startswith("uniform") else rows["pressure"].to_numpy(dtype=float)
    found["given_pressure"] = _partial(values, goal, given)
    found["samples"] = len(rows)
    return found.sort_values("correlation", key=np.abs, ascending=False, ignore_index=True)


def _spearman(values: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """(c,) rank correlation of each column of (n, c) with (n,); NaN for a column that is all the same."""
    from scipy.stats import rankdata  # half a second to import

    ranks, goals = rankdata(values, axis=0), rankdata(goal)
    ranks, goals = ranks - ranks.mean(0), goals - goals.mean()
    size = np.sqrt((ranks**2).sum(0) * (goals**2).sum())
    return np.divide(goals @ ranks, size, out=np.full(len(size), np.nan), where=size > 0)


def _partial(values: np.ndarray, goal: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(c,) rank correlations with the ranks of ``given`` taken out; NaN for ``given`` itself, or where it is not known."""
    if np.isnan(given).any():
        return np.full(values.shape[1], np.nan)
    direct, with_goal = _spearman(values, goal), _spearman(given[:, None], goal)[0]
    if np.isnan(with_goal):
        return direct  # the same pressure for all: nothing to take out
    across = _spearman(values, given)
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

    rows = _rows(table, target)
    names = why_columns(rows, target)
    values, goal = rows[names].to_numpy(dtype=float), rankdata(rows[target].to_numpy(dtype=float))
    random = np.random.default_rng(seed)
    predicted, lost = _held_out_predictions(values, goal, folds, seed, random)
    score = _spearman(predicted[:, None], goal)[0]
    draws = random.integers(len(goal), size=(500, len(goal)))
    low, high = np.nanpercentile([_spearman(predicted[at, None], goal[at])[0] for at in draws], [2.5, 97.5])
    luck = []
    for _ in range(controls):
        mixed = random.permutation(goal)
        luck.append(_spearman(_held_out_predictions(values, mixed, folds, seed)[0][:, None], mixed)[0])
    importance = pd.DataFrame({"column": names, "importance": score - lost})
    importance = importance.sort_values("importance", ascending=False, ignore_index=True)
    dependence = _dependence(values, goal, names, seed)
    return Prediction(
        float(score),
        float(low),
        float(high),
        float(np.mean(luck)),
        float(np.max(luck)),
        len(goal),
        folds,
        importance,
        dependence,
    )


def _forest(seed: int) -> object:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(TREES, min_samples_leaf=3, max_features=0.5, random_state=seed)


def _held_out_predictions(
    values: np.ndarray, goal: np.ndarray, folds: int, seed: int, random: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) predictions of each sample by a forest that did not see it; (c,) the score with each column shuffled."""
    from sklearn.model_selection import KFold

    predicted = np.empty(len(goal))
    mixed = np.empty((len(goal), values.shape[1]))
    for fitted, out in KFold(folds, shuffle=True, random_state=seed).split(values):
        forest = _forest(seed).fit(values[fitted], goal[fitted])
        predicted[out] = forest.predict(values[out])
        for column in range(values.shape[1] if random is not None else 0):
            other = values[out].copy()
            other[:, column] = random.permutation(other[:, column])
            mixed[out, column] = forest.predict(other)
    return predicted, _spearman(mixed, goal) if random is not None else np.empty(0)


def _dependence(values: np.ndarray, goal: np.ndarray, names: list[str], seed: int) -> pd.DataFrame:
    """Mean prediction with one column set to each of its deciles, all others as they are (Friedman 2001)."""
    forest = _forest(seed).fit(values, goal)
    rows = []
    for column, name in enumerate(names):
        for value in np.unique(np.quantile(values[:, column], np.linspace(0.05, 0.95, 7))):
            other = values.copy()
            other[:, column] = value
            rows.append((name, float(value), float(forest.predict(other).mean())))
    return pd.DataFrame(rows, columns=["column", "value", "predicted"])
