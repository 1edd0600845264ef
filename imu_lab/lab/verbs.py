"""The user's verbs on a task and a model: influence, unlearn, load_run. Each is a line on the Session they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from torch import nn

from ..core import storage
from ..core.beside import prepare_figures
from ..core.knobs import name_of
from ..core.memo import Memo
from ..core.messages import listed, unheard, warn
from ..core.outcome import beware, together
from ..core.records import TABLES, Influence, Intensity, Run
from ..core.registry import methods
from ..core.running import fingerprint, same, same_tensors, tensors_of
from ..core.taken import seeds_of
from ..features import readout
from ..features.statistics import Statistics
from ..measures.ensemble import References
from ..tasks.checks import checked_task
from ..tasks.protocol import Task, check_unchanged, own_data_key, prepared
from ..unlearning.snapshots import Snapshots
from .provenance import beware_of_other_data, check_made_on, task_again
from .session import Session
from .unlearned import Loaded

SESSIONS: Memo[Session] = Memo(4)  # by content, so that a sequence of verbs computes features once


def session_of(task: Task, model: nn.Module) -> Session:
    """The session of this task and this model's content.

    Equal tensors are not enough: a function that the model calls may have been edited since, so what it does to a small
    probe must be the same too.
    """
    check_unchanged(checked_task(task))
    model, key = prepared(task, model), (task, own_data_key(task))

    def fits(of: tuple, session: Session) -> bool:
        return of[:2] == key and same_tensors(session.model, model) and _holds_its_data(session.task, task)

    known = SESSIONS.find(fits) if key[1] is not None else None  # without a digest, the data may have been edited since
    found = readout.examine(task, model, None if known is None else known.found.probe)
    if known is None or not same(known.found, found):
        return SESSIONS.put((*key, fingerprint(*tensors_of(model))), Session(task, model, found=found))
    return known


def _holds_its_data(mine: Task, asked: Task) -> bool:
    """Whether a session's own task, which equals the one that is asked of, still has the data that both were made of."""
    try:
        if mine is not asked:
            check_unchanged(mine)
    except ValueError:
        return False
    return True


def influence(
    task: Task,
    model: nn.Module,
    estimator: Any = "fisher-diagonal",
    *,
    target: Any = "forget",
    cache: bool = True,
    **settings: Any,
) -> Influence:
    """How much each forget sample supports the target's loss; negative means: pressing it raises that loss.

    Args:
        task, model: whose forget set, under which model.
        estimator: a name in ``imu_lab.estimators``, or an instance; ``settings`` are its fields.
        target: whose mean gradient to compare with: a split's name, ``Examples``, or ``(split, positions)``.
        cache: work on cached features where the readout is linear; the result is the same.

    Raises:
        UnknownName, TypeError, ValueError: an unknown estimator, setting or split, or values that are not finite.
    """
    prepare_figures()
    return session_of(task, model).influence(estimator, target=target, cache=cache, **settings)


def statistics(task: Task, model: nn.Module, parts: Iterable[str] | None = None) -> Statistics:
    """What a method that declares it may know of the training set: a few means over it, made while it is at hand.

    >>> held = imu.statistics(task, original)
    >>> held.save("original.statistics")  # and later, without the training set
    >>> imu.unlearn(task, original, method="curvature-ascent", statistics=imu.load_statistics("original.statistics"))

    Args:
        task, model: whose train split, under which model.
        parts: ``"S"``, ``"G"``, ``"diagonal"``, ``"matrix"`` (see :class:`imu_lab.Statistics`); None for S and G, of which
            G is left out where it cannot be had.

    Raises:
        UnknownName, ValueError: a part that does not exist, or that cannot be had for this readout or this loss.
    """
    return session_of(task, model).statistics(parts)


def unlearn(
    task: Task,
    model: nn.Module,
    weights: Any = None,
    method: Any = "imu",
    *,
    steps: int = 50,
    seed: int = 0,
    seeds: Iterable[int] | None = None,
    stop_at: Any = None,
    reference: nn.Module | References | None = None,
    statistics: Statistics | None = None,
    cache: bool = True,
    record_every: int = 1,
    follow: Iterable[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Event | None = None,
    watch: Callable[[Any], None] | None = None,
    **settings: Any,
) -> Run | list[Run]:
    """Forget, following every sample through every update. ``model`` itself is untouched.

    Args:
        task, model: what to forget, from which original.
        weights: an :class:`Intensity`, (n,) numbers ≥ 0, or None for uniform. Some methods press all alike, or find their own.
        method: a name in ``imu_lab.methods``, or an instance; ``settings`` are its fields (for ``"imu"``: lr, alpha,
            momentum, weight_decay, batch_size, optimizer, step_norm, relative_steps, normalise), and
            ``help(imu.methods["imu"])`` says what each means. A task may declare its own.
            ``lr="auto"``, the default where the task declares none that is one for this method, finds from the forget set alone
            the rate with which the goal is reached in about half of ``steps``; the rate found stands in the run's settings.
            ``step_norm=0.01, relative_steps=True`` makes each update one per cent as long as the readout is at first.
        steps: the number of updates at most.
        seed: of the batch order; ``seeds`` instead gives a list of runs, one per seed.
        stop_at: a forget accuracy, ``"retrained"`` (the reference's), ``"forgotten"`` (the task's own goal, where it needs no
            retrained model: a class, a person, a source), or ``(metric, "<=", value)``; of single samples, which a
            retrained model still knows, ``("loss", ">=", "retrained")`` says more than accuracy.
        reference: the retrained model, whose values stand beside the run's, and in the ledger its confidence; or several, from
            :func:`imu_lab.references`: then the KL to them is recorded, too, as the mean over them, with the noise floor. Beside
            one, ``follow=["kl-retrained"]`` records it.
        statistics: what :func:`statistics` gave when the training set was at hand, for a method that declares it. Without
            it, such a method has it computed from the train split before its first update, and the run's settings say so.
        cache: work on cached features where the method moves only a linear readout; the result is the same.
        record_every: record each k-th update, the last, and the one at which a ``stop_at`` of the forget set's loss is met.
        follow: names in ``imu_lab.metrics`` (or instances) to measure at each recorded update beside the task's own,
            such as ``["kl-retrained"]``; None for those that the task declares.
        progress: called with (updates made, updates asked); None shows a bar for work longer than two seconds.
        stop: an event that ends the run at the next update; what was recorded is kept. So does an interrupt.
        watch: called with the driver's state after each recorded update, to follow a run while it happens (see
            :func:`imu_lab.lab.live.so_far`); while it does not return, the run waits.

    Raises:
        UnknownName, TypeError, ValueError: an unknown method or setting, weights that do not fit the forget set, or a
            statistic of another model or readout.

    Warns:
        UserWarning: the run diverged (it stopped by itself and kept the last finite model), collapsed, passed its utility
            limit, forgot nothing, or made no update because its goal was met already; with what to try. Once for all
            ``seeds``. Or weights were given to a method that finds its own, or the reference was retrained for another request.
    """
    if seeds is not None and not isinstance(seeds, Iterable):
        raise TypeError(f"seeds is several seeds, such as range(5); got {seeds!r}. One seed is seed={seeds!r}")
    several = [seed] if seeds is None else seeds_of(seeds, "seeds")
    asked = dict(steps=steps, stop_at=stop_at, reference=reference, statistics=statistics, cache=cache)
    followed = dict(record_every=record_every, follow=follow, progress=progress, stop=stop, watch=watch)
    session = session_of(task, model)
    with unheard() as said:
        runs = [session.unlearn(weights, method, seed=each, **asked, **followed, **settings) for each in several]
    _tell(runs, [_left_out(weights, method), *said])
    return runs[0] if seeds is None else runs


def _tell(runs: list[Run], said: Iterable[str]) -> None:
    """Warn of what was said while runs were made, and once of what became of them."""
    outcomes = [beware(run) for run in runs]
    for words in dict.fromkeys([*(each for each in said if each not in outcomes), together(outcomes)]):
        if words:
            warn(words)


def _left_out(weights: Any, method: Any) -> str:
    """That weights were given to a method that finds its own, in words; empty where there is nothing to say."""
    if weights is None or not methods.declared(method, "finds_shares"):
        return ""
    values = np.asarray(weights.values if isinstance(weights, Intensity) else weights, dtype=float)
    if (values == values[0]).all():
        return ""
    return (
        f"method {(method if isinstance(method, str) else name_of(method))!r} finds its own shares, so the weights given "
        "were left out; what each sample received stands in the column pressure. Methods such as 'imu' take weights"
    )


def load_run(path: str | Path, task: Task | None = None, model: nn.Module | None = None) -> Run:
    """A run that was saved with ``run.save``.

    Args:
        path: the file.
        task: the task, for a run on a user's own data; other tasks are made again from their settings.
        model: any model of the right architecture, to hold the weights; None asks the task for one.

    Raises:
        FileNotFoundError: no such file.
        DamagedFile: truncated, altered or foreign.
        ValueError: ``task`` forgets other samples than the run did.

    Warns:
        UserWarning: ``task`` has other data or settings than that of the run, or the data were changed since.
    """
    tables, about, weights = storage.unpack(path, "run")
    missing = [name for name in TABLES if name not in tables]
    if missing:
        raise storage.DamagedFile(f"{path} lacks the tables {listed(missing)}; it is not a whole run")
    given = None if task is None else tables["samples"]
    if task is not None:
        check_made_on(task, given, about["settings"], f"in {path}")
    elif (task := task_again(about["settings"].get("task_settings"))) is not None:
        beware_of_other_data(task, about["settings"], f"in {path}")
    held = storage.member(path, storage.STATISTIC)
    held = Statistics.unpacked(about["statistic"], held, path) if held else None
    unlearned = Loaded(weights, task, model, about["settings"].get("task"), str(path), given)
    return Run(
        **{name: tables[name] for name in TABLES},
        settings=about["settings"],
        events=about["events"],
        build_model=unlearned,
        pack_weights=unlearned.packed,
        task=task,
        snapshots=Snapshots.unpack(storage.member(path, storage.SNAPSHOTS)),
        statistics=held,
    )
