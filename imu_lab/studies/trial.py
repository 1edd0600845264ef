"""A controlled trial: does it matter who gets the pressure? Several arms, each at equal forgetting, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from ..core.knobs import check_count
from ..core.messages import shown, unheard, unknown
from ..core.storage import path_of
from ..core.taken import a_table, seeds_of
from ..tasks.checks import checked_task
from ..tasks.protocol import Task
from .arms import exact
from .cells import STILL, Cell, check_schedule
from .statistics import spearman
from .work import beware_of_one_original, worked

PLAIN = "plain steps"
LEVEL = 0.95  # of the intervals


def trial(
    task: Task,
    arms: Mapping[str, Mapping[str, Any]],
    *,
    at_forget: Any,
    step_norms: Iterable[float | None] = (None,),
    seeds: Iterable[int] = range(5),
    steps: int = 300,
    record_every: int = 1,
    references: bool = False,
    heads: bool = False,
    alike: str | None = None,
    folder: str | Path | None = None,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Run each arm on models trained from several seeds, and compare all runs at equal forgetting.

    A seed determines the training, the batch order and the random parts of an arm, such as the permutation of shuffled
    weights. Every arm gets the same seeds, so arms can be compared seed by seed (:func:`imu_lab.over_seeds` with
    ``against=``).

    >>> arms = {"influence": {}, "uniform": {"rule": "uniform"}, "shuffled": {"rule": "shuffled"}}
    >>> imu.plot_trial(imu.over_seeds(imu.trial(task, arms, at_forget=0.05), ["updates"], against="uniform"))

    Args:
        arms: by name, what is different about each: ``estimator`` (default ``"fisher-diagonal"``) and ``rule``
            (``"sqrt-clipped"``), by name, as ``(name, settings)``, or instances; ``method`` (``"imu"``), and settings of the
            method. ``"at": "end"`` reads an arm at its end, whatever it has forgotten: for a method of one step.
        at_forget: the forget accuracy at which runs are compared, or anything that ``stop_at`` of :func:`imu_lab.unlearn` may
            be; ``("loss", ">=", "retrained")`` takes, with ``references``, the value of the same seed's retrained model, and
            ``"nearest"`` reads each run at its update nearest to that model: least ``forget kl_retrained``.
        step_norms: the lengths that every update is scaled to (shares of the readout's own, with
            ``relative_steps=True``); None leaves steps as they are.
        steps: how many updates to make at most.
        record_every: look at each k-th update alone, where a look is dear: a readout of several layers is not cached.
        references: retrain a model with each seed, and compare: each run with its own seed's, and with those of the others.
            Two arms more stand in the table: ``"original"``, doing nothing, and ``"retrained"``, which is the goal, and
            whose distance to the others is the noise floor.
        heads: of each model, ask :func:`imu_lab.head_only` beside its own seed's retrained model.
        alike: an arm; ``alike`` is then Spearman's correlation of the samples' margins with theirs under that arm and the
            same seed: whether the same samples resist.
        folder: where to keep each cell (one arm under one seed) once it is made, in a file of its own. A trial that was
            killed, or is asked again, makes the missing ones alone. Cells are told by their settings, data and the
            library's code. None keeps nothing.
        jobs: how many processes share the work, by joblib; each on one thread.
        progress: called with (cells made, cells in all, what was made); None shows a bar, with the time that is left, for
            work longer than two seconds.
        settings: of every arm's method.

    Returns:
        DataFrame, one row per seed, kind of step and arm: ``steps``, which is ``"plain steps"``, or ``"equal steps (‖Δθ‖ =
        0.02)"``, the length of each update in the Euclidean norm of what moves (``"0.02 ‖θ₀‖"`` with ``relative_steps``),
        ``arm, seed``, ``seconds`` of processor time (influence, weights and updates, on cached features and statistics), and
        the columns of :func:`imu_lab.compare`. ``goal`` and ``came_to`` tell how near a run came to its goal; ``refused``
        why an arm cannot serve this task, where one cannot. ``<split> others`` is the mean distance to the retrained models
        of other seeds, ``<split> linear probe`` and the like are of ``heads``.

    Raises:
        TypeError: ``arms`` is no dict of dicts.
        UnknownName, ValueError: a goal that is none or that the task does not measure, a seed that is there twice, no arm that
            can serve the task, or names that cannot be together.
    """
    _check(arms, alike, references)
    task, seeds, arms = checked_task(task), seeds_of(seeds, "seeds"), dict(arms)
    lengths = list(step_norms)
    check_schedule(task, at_forget, references, record_every, lengths)
    whole = {**(STILL if references else {}), **{name: {**settings, **about} for name, about in arms.items()}}
    also = {"seeds": tuple(seeds) if references else (), "heads": heads, "record_every": record_every}
    cells = {
        (kind_of_steps(length, {**settings, **about}), name, seed): Cell(
            task, name, about, seed, at_forget, steps, length, **also
        )
        for seed in seeds
        for length in lengths
        for name, about in whole.items()
    }
    where, jobs = None if folder is None else path_of(folder), check_count("jobs", jobs, 1)
    beware_of_one_original(task, seeds, references)
    with unheard():  # what became of each run stands in the table
        rows = [made.row for made in worked(list(cells.values()), where, jobs, progress, "trial", _raise)]
    asked = [row for cell, row in zip(cells.values(), rows) if cell.arm not in STILL]
    if asked and all("refused" in row for row in asked):
        raise ValueError(asked[0]["refused"])
    table = pd.DataFrame([dict(zip(("steps", "arm", "seed"), key)) | row for key, row in zip(cells, rows)])
    return _with_alike(table, alike).drop(columns="margins", errors="ignore")


def _check(arms: Any, alike: str | None, references: bool) -> None:
    if not isinstance(arms, Mapping) or not all(isinstance(about, Mapping) for about in arms.values()):
        raise TypeError(
            'arms says by name what is different about each, such as {"uniform": {"rule": "uniform"}, "delete": {"method": '
            f'"delete"}}}}; got {shown(arms)}'
        )
    if alike is not None and alike not in arms:
        raise unknown("arm to be alike", alike, arms)
    if references and (taken := arms.keys() & STILL.keys()):
        raise ValueError(
            f"{min(taken)!r} names an arm that stands in every trial with references; call yours otherwise"
        )


def kind_of_steps(step_norm: float | None, settings: Mapping[str, Any] = MappingProxyType({})) -> str:
    """How long updates are, in words: of θ, all that moves, as a number or as a share of its length at first."""
    if step_norm is None:
        return PLAIN
    return f"equal steps (‖Δθ‖ = {exact(step_norm)}{' ‖θ₀‖' if settings.get('relative_steps') else ''})"


def _raise(error: Exception) -> None:
    raise error


def _with_alike(table: pd.DataFrame, alike: str | None) -> pd.DataFrame:
    """``alike``: the rank correlation of each row's margins with those of an arm under the same seed and kind of step."""
    if alike is None or "margins" not in table:
        return table
    same = table[table["arm"] == alike].set_index(["steps", "seed"])["margins"]
    others = pd.Series([same.get((row.steps, row.seed)) for row in table.itertuples()], index=table.index)
    known = [isinstance(mine, list) and isinstance(other, list) for mine, other in zip(table["margins"], others)]
    found = [
        float(spearman(np.asarray(mine), np.asarray(other))) if both else np.nan
        for mine, other, both in zip(table["margins"], others, known)
    ]
    return table.assign(alike=found)


def over_seeds(
    table: pd.DataFrame,
    quantities: Sequence[str] | str,
    by: Sequence[str] = ("steps", "arm"),
    *,
    against: str | None = None,
) -> pd.DataFrame:
    """The mean over seeds with its 95 % interval, by Student's t.

    Args:
        table: one row per run, with a column ``seed``, as :func:`imu_lab.trial` gives; equal rows, as of tables put together,
            are one run.
        quantities: the columns to summarise, one or several. A run does not count where it has no number there, as of updates
            to a goal that it never reached; nor where ``against`` has none under its seed. ``seeds`` says how many count.
        by: the columns that make a group; the last names the arm.
        against: an arm; each value is then the difference to that arm's value under the same seed, in which the effect of
            the seed cancels: where the interval holds 0, no difference was found.

    Returns:
        DataFrame ``*by, quantity, mean, low, high, seeds, of``: ``seeds`` of all the runs count. The mean is NaN where none
        does, and the interval where fewer than two do. With a control, ``against`` names it.

    Raises:
        TypeError: it is no table.
        UnknownName: a column or a control that the table does not have.
        ValueError: the control has several rows for one seed, so that nobody can say which one is meant.
    """
    quantities, by = ([each] if isinstance(each, str) else list(dict.fromkeys(each)) for each in (quantities, by))
    for name in (*quantities, *by, "seed"):
        if name not in a_table(table, "over_seeds"):
            raise unknown("column in this table", name, list(table.columns))
    told = table.drop(columns=["seconds", "run"], errors="ignore").astype(str)
    table = table[~told.duplicated()]  # of tables put together: the same arm under the same seed is one run
    values = table[quantities].astype(float) - (0 if against is None else _control(table, quantities, by, against))
    long = pd.concat([table[by], values], axis=1).melt(by, quantities, "quantity")
    grouped = long.groupby([*by, "quantity"], sort=False, dropna=False)["value"]
    summary = pd.DataFrame({"mean": grouped.mean(), "seeds": grouped.count(), "of": grouped.size()})
    half = _half_width(grouped.std(ddof=1), summary["seeds"])
    summary.insert(1, "low", summary["mean"] - half)
    summary.insert(2, "high", summary["mean"] + half)
    return summary.reset_index() if against is None else summary.reset_index().assign(against=against)


def _control(table: pd.DataFrame, quantities: list[str], by: list[str], against: str) -> np.ndarray:
    """(rows, quantities) the control's values under each row's seed; NaN where it has none."""
    arm = by[-1]
    if against not in set(table[arm]):
        raise unknown(f"{arm} to compare with", against, list(dict.fromkeys(table[arm])))
    keys = [*by[:-1], "seed"]
    controls = table.loc[table[arm] == against, [*keys, *quantities]]
    if (several := controls.duplicated(keys)).any():
        raise ValueError(
            f"{arm} {against!r} has several rows for seed {controls.loc[several, 'seed'].iloc[0]}, and only one can be compared "
            "with; name in by= all that tells rows apart, or keep one of them"
        )
    return table[keys].merge(controls, on=keys, how="left")[quantities].to_numpy(dtype=float)


def _half_width(deviation: pd.Series, count: pd.Series) -> pd.Series:
    """Of the interval, t · s / √n."""
    from scipy.stats import t  # half a second to import

    return t.ppf((1 + LEVEL) / 2, (count - 1).where(count > 1)) * deviation / np.sqrt(count)
