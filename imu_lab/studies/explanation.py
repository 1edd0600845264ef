"""Why some samples resist forgetting: what is known of each beforehand, and how well that predicts its resistance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from ..core.knobs import check_count
from ..core.messages import unknown, warn
from ..core.records import Run
from ..core.registry import estimators as registered
from ..core.taken import a_record
from ..lab.verbs import influence
from ..tasks.announced import announced
from ..tasks.protocol import offered
from .beforehand import curvature, held_out_confidence, learning_events, models_to_train, neighbours
from .resistance import counted, latest, resistance, withstanding
from .statistics import confidence_interval, one_row, spearman
from .suspicion import suspects

CHEAP = ("fisher-diagonal", "gradient-cosine", "self-influence", "el2n")
TRAINING = ("training_events", "first_learned", "held_out_confidence", "label_suspicion", "memorisation")
NEAR = ("nearest_distance", "retain_distance", "retain_share", "class_overlap", "duplicate", "near_duplicate")
BEFORE = ("pressure", "confidence_before", "margin_before", "gradient_norm", "curvature")
TREES = 60
SAMPLES, FORGOTTEN = 10, 5  # fewer to explain, or fewer of them forgotten, and chance decides
OF_FORGETTING = ("rank", "time_to_forget")  # that say nothing where nothing was forgotten


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
    """One row per forget sample: its resistance, and what was known of it beforehand.

    >>> table = imu.explain_resistance(run, uniform=True)
    >>> imu.plot_reasons(imu.reasons(table, "uniform_rank"))

    Args:
        run: with its task.
        original: the model before; None takes it from the run.
        estimators: the influences to add, each as a column ``influence_<name>``; the defaults cost milliseconds, ``"all"``
            takes every registered estimator, the random control too.
        training: whether to train models: one for the learning events, and one per fold for the held-out columns. How many
            and about how long is said first. Without, ``label_suspicion`` is that of held-out heads on the original's
            features (:func:`imu_lab.suspects`).
        uniform: the same run under uniform weights, or True to make it; see :func:`imu_lab.resistance`.
        folds, seed: see :func:`imu_lab.studies.beforehand.held_out_confidence`.

    Returns:
        The columns of :func:`imu_lab.resistance` and those of :func:`why_columns`, and the ids of the neighbours.

    Raises:
        ValueError: too few samples were pressed or forgotten to explain anything (said before anything is trained), or the
            run has no task.
    """
    task, original = run.known_task(), run.model_at(0) if original is None else original
    table = resistance(run, uniform=uniform)
    targets = ["rank", *(["uniform_rank"] if "uniform_rank" in table else [])]
    if all(refusals := [too_few(table, target) for target in targets]):
        raise ValueError(refusals[0])
    about = table.attrs["about"]
    for name in ("confidence_before", "margin_before"):
        table[name] = run.samples[name].to_numpy()
    for name in _named(estimators):
        scores = influence(task, original, name)
        table[f"influence_{name}"] = scores.values
        if "gradient_norm" in scores.context:
            table["gradient_norm"] = scores.context["gradient_norm"].to_numpy()
    parts = [curvature(task, original), neighbours(task, original)]
    if training:
        with announced(models_to_train(task, folds, seed), "training=False leaves them out"):
            parts += [learning_events(task, seed), held_out_confidence(task, folds, seed)]
    elif offered(task).labels is not None and len(offered(task).classes) > 1:
        parts += [suspects(task, original)[["example", "label_suspicion"]]]
    for part in parts:
        table = table.merge(part, on="example", how="left", validate="one_to_one")
    if training:
        table["memorisation"] = table["confidence_before"] - table["held_out_confidence"]
    table.attrs["about"] = about
    return table


def _named(estimators: Iterable[str] | str) -> list[str]:
    if isinstance(estimators, str):
        return list(registered) if estimators == "all" else [estimators]
    return list(estimators)


def why_columns(table: pd.DataFrame, target: str = "rank") -> list[str]:
    """The columns that may explain: numbers known before the run that are not all the same, and the run's pressure.

    Resistance under uniform pressure is not explained by pressure, which was the same for all.
    """
    own = [name for name in BEFORE if name != "pressure" or not target.startswith("uniform")]
    wanted = [*own, *[name for name in table if name.startswith("influence_")], *TRAINING, *NEAR]
    return [name for name in wanted if name in table and table[name].nunique() > 1 and table[name].notna().all()]


def _rows(table: pd.DataFrame, target: str, call: str) -> pd.DataFrame:
    """The rows to explain: samples that were pressed, and right before the first update."""
    if target not in a_record(table, call, pd.DataFrame, "the table of imu.explain_resistance(run)"):
        raise unknown("column to explain", target, [name for name in table if name.endswith(("rank", "auc", "forget"))])
    ranked = table.assign(**{target: latest(table, target)})  # never forgotten: the last rank
    rows = ranked[withstanding(table, target) & ranked[target].notna()]
    if words := too_few(table, target, len(rows)):
        raise ValueError(words)
    if target.endswith("rank") and counted(table, target).forgotten < FORGOTTEN:
        warn(
            f"{counted(table, target)}: the others are ranked by their mean confidence until that limit, so what is explained is "
            "mostly confidence, which the confidence and the margin before explain by themselves"
        )
    return rows


def too_few(table: pd.DataFrame, target: str = "rank", known: int | None = None) -> str:
    """Why nothing can be explained by a table of :func:`imu_lab.resistance`, in a sentence; empty where something can.

    Args:
        target: what is to be explained.
        known: how many of the samples that had something to withstand have a value of it; None for all.
    """
    counts = counted(table, target)
    known = counts.withstood if known is None else known
    enough = counts.forgotten + counts.late >= FORGOTTEN or target.removeprefix("uniform_") not in OF_FORGETTING
    if known >= SAMPLES and enough:
        return ""
    had = f"{known} samples had something to withstand (pressed, and right before) and have a {target!r}; {counts}"
    if known < SAMPLES:
        return f"{had}; an explanation needs at least {SAMPLES}: request more samples, or press more of them"
    return (
        f"{had}; an explanation needs at least {FORGOTTEN} forgotten: make the run again with more steps, without its stop_at, or "
        "with another lr, as in imu.again(run, stop_at=None, lr=...)"
    )


def reasons(table: pd.DataFrame, target: str = "rank", *, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Spearman's correlation of everything known beforehand with resistance, the strongest first.

    Samples without pressure do not count (unless the target is resistance under uniform pressure), nor do those that were
    wrong before the first update.

    Args:
        table: what :func:`imu_lab.explain_resistance` gave.
        target: what to explain; ``"uniform_rank"`` is not confounded by the run's own pressure.
        draws, seed: of the bootstrap over samples.

    Returns:
        ``column, correlation, low, high`` (95 %), ``given_pressure`` (the partial correlation given the ranks of pressure;
        empty under uniform pressure, and where the pressure was not recorded), ``samples``, ``forgotten`` (of them, before
        the utility limit).

    Raises:
        UnknownName: the table has no such column.
        ValueError: fewer than 10 samples to explain, or fewer than 5 of them ever forgotten.

    Warns:
        UserWarning: fewer than 5 were forgotten before the utility limit, so that a rank is mostly an order by confidence.
    """
    rows = _rows(table, target, "reasons")
    names = why_columns(rows, target)
    values = rows[names].to_numpy(dtype=float)
    goal = rows[target].to_numpy(dtype=float)
    correlations = pd.DataFrame({"column": names, "correlation": spearman(values.T, goal)})
    correlations["low"], correlations["high"] = confidence_interval(
        spearman, values.T, goal[None], draws=draws, seed=seed
    )
    pressure = np.full(len(rows), np.nan) if target.startswith("uniform") else rows["pressure"].to_numpy(dtype=float)
    correlations["given_pressure"] = _partial(values, goal, pressure)
    correlations["samples"], correlations["forgotten"] = len(rows), counted(rows, target).forgotten
    return correlations.sort_values("correlation", key=np.abs, ascending=False, ignore_index=True)


def _partial(values: np.ndarray, goal: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(c,) partial rank correlations given ``given``; NaN for ``given`` itself, or where it was not recorded."""
    if np.isnan(given).any():
        return np.full(values.shape[1], np.nan)
    direct, with_goal = spearman(values.T, goal), spearman(given, goal)
    if np.isnan(with_goal):
        return direct  # the same pressure for all: nothing to take out
    across = spearman(values.T, given)
    left = np.sqrt(np.maximum((1 - across**2) * (1 - with_goal**2), 0))
    return np.divide(direct - across * with_goal, left, out=np.full(len(left), np.nan), where=left > 1e-6)


class Prediction(NamedTuple):
    """How well resistance is predicted, from what is known beforehand, in samples that the forest was not fitted on.

    Attributes:
        score: Spearman's correlation of held-out predictions with the truth. low, high: 95 % interval over samples.
        control: the mean score with shuffled targets, over several shuffles: what chance alone reaches.
        control_high: the highest of them.
        samples, folds: of the cross-validation.
        importance: ``column, importance``: the score lost when that column is shuffled in held-out samples, mean over folds;
            its ``.attrs["about"]`` says how many samples were forgotten.
        dependence: ``column, value, predicted``: partial dependence at quantiles of each column.
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
    """A small forest that predicts resistance from what is known beforehand, scored on samples it was not fitted on.

    >>> imu.plot_dependence(imu.predict_resistance(imu.explain_resistance(run)))

    Args:
        table, target: see :func:`imu_lab.reasons`.
        folds: of the cross-validation.
        controls: how many times to repeat everything with shuffled targets.
        seed: of folds, trees and shuffles.
    """
    from scipy.stats import rankdata  # half a second to import
    from sklearn.model_selection import cross_val_predict

    rows = _rows(table, target, "predict_resistance")
    folds, controls, seed = check_count("folds", folds, 2), check_count("controls", controls, 1), seed % 2**32
    names = why_columns(rows, target)
    values, goal = rows[names].to_numpy(dtype=float), rankdata(rows[target].to_numpy(dtype=float))
    forest, split = _forest(seed), _split(folds, seed)
    predicted = cross_val_predict(forest, values, goal, cv=split)
    low, high = confidence_interval(spearman, predicted, goal, draws=500, seed=seed)
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(goal) for _ in range(controls)]
    by_chance = [spearman(cross_val_predict(forest, values, each, cv=split), each) for each in shuffled]
    importance = pd.DataFrame({"column": names, "importance": _importances(values, goal, folds, seed)})
    importance.attrs["about"] = str(counted(table, target))
    return Prediction(
        score=float(spearman(predicted, goal)),
        low=float(low),
        high=float(high),
        control=float(np.mean(by_chance)),
        control_high=float(np.max(by_chance)),
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
        importances = permutation_importance(
            forest, values[out], goal[out], scoring=_score, n_repeats=1, random_state=seed
        )
        lost.append(importances.importances_mean)
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
        dependence = partial_dependence(forest, values, [column], custom_values={column: grid}, kind="average")
        parts.append(pd.DataFrame({"column": name, "value": grid, "predicted": dependence["average"][0]}))
    return pd.concat(parts, ignore_index=True)
