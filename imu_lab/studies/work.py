"""Cells made one after the other, in several processes or on a cluster, with a bar; a cell that fails stops no other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..core import registry, storage
from ..core.memo import Memo
from ..core.messages import unheard, warn
from ..tasks.announced import announced
from ..tasks.around import innermost
from ..tasks.checkpoints import is_known, train
from ..tasks.protocol import Task, own_data_key
from ..tasks.sources.supplied import Supplied
from .cells import Cell, Made, Models, quiet

Progress = Callable[[int, int, str], None]
Outcome = Made | Exception
Own = list[tuple[str, str, type]]  # which registry, under which name, what
KINDS = {"method": registry.methods, "estimator": registry.estimators, "rule": registry.intensity_rules}
WORKERS: Memo[Models] = Memo(2)  # in a process that makes some cells


def beware_of_one_original(task: Task, seeds: Collection[int], references: bool) -> None:
    """Warn where the runs of all seeds would begin from one model, which is the user's own: intervals then hold less."""
    if len(seeds) > 1 and isinstance(getattr(innermost(task), "data", None), Supplied):
        differ = "in the retrained model, and " if references else ""
        warn(
            f"the runs of all {len(seeds)} seeds begin from the one model that you brought along: they differ {differ}in the order "
            "of batches (not even there where all samples to forget are one batch), and intervals tell of nothing else. For the "
            "spread between originals make a task for each of them, and join the tables"
        )


def worked(
    cells: list[Cell],
    folder: Path | None,
    jobs: int | None,
    progress: Progress | None,
    title: str,
    refuse: Callable[[Exception], None] = lambda error: None,
) -> list[Outcome]:
    """What each cell holds, in order, or why it could not be made; those that are kept are read, the others made and kept.

    Args:
        folder: where cells are kept, each as soon as it is made; None keeps nothing.
        jobs: processes, each on one thread; None for as many as there are cores. Within
            ``joblib.parallel_config("dask")``, or another backend of joblib's, that one decides.
        progress: called with (cells made, cells in all, what was made); None shows a bar, with the time that is left, for
            work longer than two seconds.
        refuse: told of each error as soon as it happens; one that it raises again ends the work.
    """
    found: dict[int, Outcome] = {at: kept for at, cell in enumerate(cells) if (kept := cell.kept(folder)) is not None}
    missing = [at for at in range(len(cells)) if at not in found]
    if missing and folder is not None:
        storage.check_writable(folder, "folder=")
    if progress:
        progress(len(found), len(cells), "read")
    hidden = {"disable": True} if progress else {"delay": 2, "leave": False}
    with tqdm(total=len(cells), initial=len(found), unit="cell", desc=title, **hidden) as bar:
        for place, outcome in _outcomes([cells[at] for at in missing], jobs) if missing else ():
            cell = cells[missing[place]]
            if isinstance(outcome, Made):
                cell.keep(folder, outcome)
            else:
                refuse(outcome)
            found[missing[place]] = outcome
            bar.set_postfix_str(words := f"{cell.arm}, seed {cell.seed}", refresh=False)
            bar.update()
            if progress:
                progress(len(found), len(cells), words)
    return [found[at] for at in range(len(cells))]


def _outcomes(cells: list[Cell], jobs: int | None) -> Iterator[tuple[int, Outcome]]:
    """Each cell's place and outcome, as they come."""
    from joblib import cpu_count
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    elsewhere = type(backend).__name__ != "LokyBackend"
    count = min(len(cells), cpu_count() if jobs is None else jobs)
    if count == 1 and not elsewhere:
        return _in_turn(cells)
    if own_data_key(cells[0].task) is None:
        if jobs is None and not elsewhere:
            return _in_turn(cells)
        name = type(cells[0].task).__name__
        raise ValueError(f"{name} has no data_key, so that its models are kept nowhere; say jobs=1")
    return _together(cells, count, elsewhere)


def _in_turn(cells: list[Cell]) -> Iterator[tuple[int, Outcome]]:
    """One after the other, once the models are trained."""
    task = cells[0].task
    models, wanted, failed = Models(task), _models(cells), {}
    with announced(sum(not is_known(task, *each) for each in wanted), "seeds= says how many") as row:
        for split, seed in wanted:
            try:
                models.take(split, seed, row.train(task, split, seed))
            except Exception as error:
                failed[split, seed] = error
    for at, cell in enumerate(cells):
        yield at, _without(cell, failed) or _attempt(cell, models)


def _together(cells: list[Cell], jobs: int, elsewhere: bool) -> Iterator[tuple[int, Outcome]]:
    """In several processes: each model is trained by one, and found on disk by the others.

    A cell may end its process, as one that needs too much memory does, and takes those beside it along. What was under way
    is then made again one by one, so that only that cell fails.
    """
    from joblib import parallel_config

    here = nullcontext() if elsewhere else parallel_config("loky", inner_max_num_threads=1)
    with here, _unremarked():
        unknown = [each for each in _models(cells) if not is_known(cells[0].task, *each)]
        trained = dict(_parallel(_trained, [(cells[0].task, *each) for each in unknown], jobs))
        failed = {unknown[at]: said for at, said in trained.items() if said is not None}
        left = [at for at, cell in enumerate(cells) if not _without(cell, failed)]
        yield from ((at, _without(cell, failed)) for at, cell in enumerate(cells) if at not in left)
        own = _own_kinds([cells[at] for at in left])
        yield from ((left[at], outcome) for at, outcome in _parallel(_placed, [(cells[at], own) for at in left], jobs))


@contextmanager
def _unremarked() -> Iterator[None]:
    """joblib puts a fresh process in the place of one whose memory has grown, and says so as if jobs could be lost."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        yield


def _parallel(call: Callable, given: list[tuple], jobs: int) -> Iterator[tuple[int, Any]]:
    """``call`` of each, with its place, as they come; an exception in the place of what ended its process."""
    from joblib import Parallel, delayed

    def together(places: Iterable[int], jobs: int) -> Iterator[tuple[int, Any]]:
        work = Parallel(jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        yield from work(delayed(_numbered)(at, call, given[at]) for at in places)

    left = list(range(len(given)))
    while left:
        try:
            for at, outcome in together(tuple(left), jobs):
                left.remove(at)
                yield at, outcome
        except Exception:  # a process is gone, and with it what others of its pool were at
            for at in left[: 2 * jobs]:
                left.remove(at)
                yield _alone(together, at)


def _alone(together: Callable, at: int) -> tuple[int, Any]:
    """One call in a process of its own."""
    try:
        return next(iter(list(together([at], 2))))
    except Exception as error:
        if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":  # the latter is dask's
            return at, error
        words = f"the process that made it ended ({type(error).__name__}); it may have needed more memory than there is"
        return at, RuntimeError(words)


def _numbered(at: int, call: Callable, given: tuple) -> tuple[int, Any]:
    return at, call(*given)


def _models(cells: list[Cell]) -> list[tuple[str, int]]:
    """The split and the seed of each model that some cells take."""
    return list(dict.fromkeys(each for cell in cells for each in cell.models))


def _without(cell: Cell, failed: dict[tuple[str, int], Exception]) -> Exception | None:
    """Why a model that the cell takes could not be trained; None where it was."""
    return next((failed[each] for each in cell.models if each in failed), None)


def _trained(task: Task, split: str, seed: int) -> Exception | None:
    try:
        train(task, split, seed=seed, progress=quiet)
    except Exception as error:
        return _plainly(error)
    return None


def _attempt(cell: Cell, models: Models) -> Outcome:
    try:
        return cell.made(models)
    except Exception as error:
        return error


@unheard()
def _placed(cell: Cell, own: Own) -> Outcome:
    """A cell's outcome in a process that may not know what the notebook registered."""
    for kind, name, item in own:
        if name not in KINDS[kind]:
            KINDS[kind].register(name)(item)
    key = (cell.task, own_data_key(cell.task))
    outcome = _attempt(cell, WORKERS.once(key, lambda: Models(cell.task)))
    return outcome if isinstance(outcome, Made) else _plainly(outcome)


def _plainly(error: Exception) -> Exception:
    """The error without what cannot be sent from a process to another."""
    import pickle

    try:
        return pickle.loads(pickle.dumps(error)) and error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _own_kinds(cells: list[Cell]) -> Own:
    """What the cells name that is registered by none of the library's modules."""
    named = {(kind, name) for cell in cells for kind in KINDS for name in _named(cell.about.get(kind))}
    found = [(kind, name, KINDS[kind][name]) for kind, name in sorted(named) if name in KINDS[kind]]
    return [each for each in found if not each[2].__module__.startswith("imu_lab.")]


def _named(given: Any) -> tuple[str, ...]:
    """The name in a setting of an arm: ``"uniform"``, ``("sqrt-clipped", {...})``, or none in an instance."""
    name = given[0] if isinstance(given, tuple) and given else given
    return (name,) if isinstance(name, str) else ()
