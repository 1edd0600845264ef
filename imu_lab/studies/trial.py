"""A controlled trial: does it matter who gets the pressure? Several arms, each at equal forgetting, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..core.knobs import check_count
from ..core.memo import Memo
from ..core.messages import unheard, unknown
from ..core.running import checked_seed
from ..tasks.announced import announced
from ..tasks.checks import checked_task
from ..tasks.protocol import Task, own_data_key
from ..tasks.training import is_known, train
from .cells import STILL, Cell, Models, quiet
from .statistics import spearman

PLAIN = "plain steps"
LEVEL = 0.95  # of the intervals
WORKERS: Memo[Models] = Memo(2)  # in a process that makes some cells of a trial


@unheard()  # what became of each run stands in the table
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
        DataFrame, one row per seed, kind of step and arm: ``steps`` (``"plain steps"`` or ``"equal steps (0.02)"``),
        ``arm, seed``, ``seconds`` of processor time (influence, weights and updates, on cached features and statistics), and
        the columns of :func:`imu_lab.compare`. ``goal`` and ``came_to`` tell how near a run came to its goal; ``refused``
        why an arm cannot serve this task, where one cannot. ``<split> others`` is the mean distance to the retrained models
        of other seeds, ``<split> linear probe`` and the like are of ``heads``.

    Raises:
        ValueError: a goal that is none, no arm that can serve the task, or names that cannot be together.
    """
    task, seeds, arms = checked_task(task), [checked_seed(seed) for seed in seeds], dict(arms)
    lengths = list(step_norms)
    _check(arms, alike, references)
    whole = {**(STILL if references else {}), **{name: {**settings, **about} for name, about in arms.items()}}
    also = {"seeds": tuple(seeds) if references else (), "heads": heads, "record_every": record_every}
    cells = {
        (_kind(length), name, seed): Cell(task, name, about, seed, at_forget, steps, length, **also)
        for seed in seeds
        for length in lengths
        for name, about in whole.items()
    }
    rows = _made(list(cells.values()), None if folder is None else Path(folder), check_count("jobs", jobs, 1), progress)
    asked = [row for cell, row in zip(cells.values(), rows) if cell.arm not in STILL]
    if asked and all("refused" in row for row in asked):
        raise ValueError(asked[0]["refused"])
    table = pd.DataFrame([dict(zip(("steps", "arm", "seed"), key)) | row for key, row in zip(cells, rows)])
    return _with_alike(table, alike).drop(columns="margins", errors="ignore")


def _check(arms: Mapping[str, Any], alike: str | None, references: bool) -> None:
    if alike is not None and alike not in arms:
        raise unknown("arm to be alike", alike, arms)
    if references and (taken := arms.keys() & STILL.keys()):
        raise ValueError(
            f"{min(taken)!r} names an arm that stands in every trial with references; call yours otherwise"
        )


def _kind(step_norm: float | None) -> str:
    return PLAIN if step_norm is None else f"equal steps ({step_norm:g})"


def _made(
    cells: list[Cell], folder: Path | None, jobs: int, progress: Callable[[int, int, str], None] | None
) -> list[dict[str, Any]]:
    """The row of each cell, in order; those that are kept are read, the others made."""
    rows = {at: row for at, cell in enumerate(cells) if (row := cell.kept(folder)) is not None}
    missing = [at for at in range(len(cells)) if at not in rows]
    if progress:
        progress(len(rows), len(cells), "read")
    hidden = {"disable": True} if progress else {"delay": 2, "leave": False}
    with tqdm(total=len(cells), initial=len(rows), unit="cell", desc="trial", **hidden) as bar:
        work = _in_turn if jobs == 1 else partial(_together, jobs=jobs)
        for at, row in work([cells[at] for at in missing], folder) if missing else ():
            rows[missing[at]] = row
            words = f"{cells[missing[at]].arm}, seed {cells[missing[at]].seed}"
            bar.set_postfix_str(words, refresh=False)
            bar.update()
            if progress:
                progress(len(rows), len(cells), words)
    return [rows[at] for at in range(len(cells))]


def _in_turn(cells: list[Cell], folder: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each cell's place and row, one after the other, once the models are trained."""
    models, wanted = Models(cells[0].task), _models(cells)
    with announced(sum(not is_known(cells[0].task, *each) for each in wanted), "seeds= says how many") as row:
        for split, seed in wanted:
            models.take(split, seed, row.train(cells[0].task, split, seed))
    for at, cell in enumerate(cells):
        yield at, cell.row(folder, models)


def _together(cells: list[Cell], folder: Path | None, jobs: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same in several processes, as the cells come: each model is trained by one, and found on disk by the others."""
    from joblib import Parallel, delayed, parallel_config  # only who asks for several processes waits for it

    if own_data_key(task := cells[0].task) is None:
        raise ValueError(f"{type(task).__name__} has no data_key, so that its models are kept nowhere; leave jobs= out")
    with parallel_config("loky", inner_max_num_threads=1):
        Parallel(jobs)(delayed(_trained)(task, *each) for each in _models(cells) if not is_known(task, *each))
        yield from Parallel(jobs, return_as="generator_unordered")(
            delayed(_placed)(at, cell, folder) for at, cell in enumerate(cells)
        )


def _models(cells: list[Cell]) -> list[tuple[str, int]]:
    """The split and the seed of each model that some cells take."""
    return list(dict.fromkeys(each for cell in cells for each in cell.models))


def _trained(task: Task, split: str, seed: int) -> None:
    train(task, split, seed=seed, progress=quiet)


@unheard()
def _placed(at: int, cell: Cell, folder: Path | None) -> tuple[int, dict[str, Any]]:
    key = (cell.task, own_data_key(cell.task))
    return at, cell.row(folder, WORKERS.once(key, lambda: Models(cell.task)))


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
    table: pd.DataFrame, quantities: Sequence[str], by: Sequence[str] = ("steps", "arm"), *, against: str | None = None
) -> pd.DataFrame:
    """The mean over seeds with its 95 % interval, by Student's t.

    Args:
        table: one row per run, with a column ``seed``, as :func:`imu_lab.trial` gives.
        quantities: the columns to summarise; runs without a number do not count, see ``seeds``.
        by: the columns that make a group; the last names the arm.
        against: an arm; each value is then the difference to that arm's value under the same seed, in which the effect of
            the seed cancels: where the interval holds 0, no difference was found.

    Returns:
        DataFrame ``*by, quantity, mean, low, high, seeds, of``: ``seeds`` runs with a number, of all. The interval
        is NaN for fewer than two. With a control, ``against`` names it.

    Raises:
        UnknownName: a column or a control that the table does not have.
    """
    for name in (*quantities, *by, "seed"):
        if name not in table:
            raise unknown("column in this table", name, list(table.columns))
    quantities, by = list(quantities), list(by)
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
    return table[keys].merge(controls, on=keys, how="left")[quantities].to_numpy(dtype=float)


def _half_width(deviation: pd.Series, count: pd.Series) -> pd.Series:
    """Of the interval, t · s / √n."""
    from scipy.stats import t  # half a second to import

    return t.ppf((1 + LEVEL) / 2, (count - 1).where(count > 1)) * deviation / np.sqrt(count)
