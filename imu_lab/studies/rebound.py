"""How fast a forgotten sample comes back: a short fine-tuning on other data of its class, never on the sample itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..core.records import Run
from ..core.running import device_of, one_thread
from ..features import readout
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Examples, Task
from ..tasks.variants.altered import originals
from ..unlearning.objectives import Descent, Objective, batches, descend

FOLDS = 2


def rebound(run: Run, updates: int = 20, *, lr: float | None = None, batch_size: int = 64, seed: int = 0) -> np.ndarray:
    """(n,) updates until each forget sample is right again, while the readout learns other data of its class.

    Where retained samples have the sample's label, a copy of the readout learns those; where its whole class is forgotten
    nothing of it is retained, and the readout learns one half of its forget samples while the other half is watched, in
    turn. Without labels all samples are of one class. A run that went on after kept accuracy had fallen 5 points is taught
    from where it had not yet: a ruined readout relearns nothing in particular.

    0 for a sample that is right there; infinite for one that did not come back in time; NaN for one that nothing could be
    learned for, the only one of its class.

    Args:
        run: with its task and model; without, every number is NaN.
        updates: how many at most, plain gradient descent on the mean loss.
        lr: learning rate; None for the run's own.
        batch_size: samples per update.
        seed: of the halves and of the order of batches.

    Raises:
        ValueError: fewer than one update.
    """
    if updates < 1:
        raise ValueError(f"rebound needs 1 update of relearning or more, got {updates}")
    missing = np.full(len(run.samples), np.nan)
    if run.task is None:
        return missing
    useful = run.model_at(run.last_useful(run.kept_steps)) if run.kept_steps else run.model
    task, model = readout.view(run.task, useful)
    lr = (run.settings.get("settings") or {}).get("lr") or 1e-2 if lr is None else lr
    how = Descent(lr=lr, momentum=0.0, weight_decay=0.0, batch_size=batch_size)
    forget, found = task.split("forget"), missing.copy()
    with one_thread():
        for pool, watched in _lessons(task, seed):
            found[watched.numpy()] = _relearned(task, model, how, pool, forget.take(watched), updates, seed)
    return found


def _lessons(task: Task, seed: int) -> Iterator[tuple[Examples, Tensor]]:
    """What is learned, and the positions in the forget set that are watched meanwhile; class by class."""
    forget, retain = task.split("forget"), task.split("retain")
    named = hasattr(task, "labels")
    wanted, kept = (np.array(task.labels(each.ids) if named else [""] * len(each)) for each in (forget, retain))
    chance = torch.Generator().manual_seed(seed)
    for label in dict.fromkeys(wanted.tolist()):
        mine, others = (torch.as_tensor(np.flatnonzero(labels == label)) for labels in (wanted, kept))
        if named and len(others):
            yield retain.take(others), mine
            continue
        owners, whose = torch.unique(originals(task, forget.ids[mine]), return_inverse=True)
        turns = torch.randperm(len(owners), generator=chance)[whose] % FOLDS  # copies of a sample take its turn
        for fold in range(FOLDS if len(owners) > 1 else 0):
            yield forget.take(mine[turns != fold]), mine[turns == fold]


def _relearned(
    task: Task, model: nn.Module, how: Descent, pool: Examples, watched: Examples, updates: int, seed: int
) -> np.ndarray:
    """(m,) the first update at which each watched example is right; infinite where there is none."""
    private = copy.deepcopy(model).eval().requires_grad_(False)
    moving = [
        value.requires_grad_(True) for value in readout.parameters(private, readout.resolve(task, model)).values()
    ]
    found = np.where(outcomes(task, private, watched)[:, 1] >= 0, 0.0, np.inf)
    made = descend(how, moving, _lesson(task, private, how, pool, seed))
    for update in range(1, updates + 1):
        next(made)
        right = (outcomes(task, private, watched)[:, 1] >= 0).numpy()
        found[np.isinf(found) & right] = update
    return found


def _lesson(task: Task, model: nn.Module, how: Descent, pool: Examples, seed: int) -> Iterator[Objective]:
    for positions in batches(torch.arange(len(pool)), how.batch_size, seed):
        batch = pool.batch(positions).to(device_of(model))
        yield Objective({"loss": task.example_loss(model, batch).mean()})
