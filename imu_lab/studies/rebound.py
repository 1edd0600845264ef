"""How fast a forgotten sample comes back under fine-tuning on other data of its class, never on the sample itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..core.records import Run
from ..core.running import device_of, one_thread
from ..core.taken import a_record
from ..features import readout, view
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Examples, Task, labels_of, offered, original_ids
from ..unlearning.objectives import Descent, Objective, batches, descend
from ..unlearning.request import Update

FOLDS = 2
BATCH = 64  # samples that are learned in one update


def rebound(run: Run, updates: int = 20) -> np.ndarray:
    """(n,) updates until each forget sample is right again, while the readout learns other data of its class.

    A copy of the readout learns the retained samples with the sample's label. Where the whole class is forgotten there are
    none; then it learns one half of the class's forget samples while the other half is watched, in turn. Without labels all
    samples are of one class. Relearning starts at the last update at which kept accuracy had not yet fallen 5 points,
    because a collapsed readout relearns nothing in particular.

    0 for a sample that is right at the start; infinite for one that did not come back in time; NaN for the only sample of
    its class, which has no other data to learn from.

    Args:
        run: with its task and model; without them every number is NaN.
        updates: how many to make at most, of plain gradient descent on the mean loss at the run's own rate.

    Raises:
        ValueError: fewer than one update.
    """
    if updates < 1:
        raise ValueError(f"rebound needs 1 update of relearning or more, got {updates}")
    missing = np.full(len(a_record(run, "rebound", Run, "a run of imu.unlearn").samples), np.nan)
    if run.task is None:
        return missing
    useful = run.model_at(run.last_useful(run.kept_steps)) if run.kept_steps else run.unlearned
    task, model = view(run.task, useful)
    lr = (run.settings.get("settings") or {}).get("lr") or 1e-2
    descent = Descent(lr=lr, momentum=0.0, weight_decay=0.0, batch_size=BATCH)
    forget, updates_needed = task.split("forget"), missing.copy()
    with one_thread():
        for pool, watched in _lessons(task, seed=0):
            updates_needed[watched.numpy()] = _relearned(task, model, descent, pool, forget.take(watched), updates)
    return updates_needed


def _lessons(task: Task, seed: int) -> Iterator[tuple[Examples, Tensor]]:
    """Class by class: the examples to learn, and the positions in the forget set to watch."""
    forget, retain = task.split("forget"), task.split("retain")
    named = offered(task).labels is not None
    forget_labels, retain_labels = (np.array(labels_of(task, each.ids)) for each in (forget, retain))
    chance = torch.Generator().manual_seed(seed)
    for label in dict.fromkeys(forget_labels.tolist()):
        forgotten, others = (
            torch.as_tensor(np.flatnonzero(labels == label)) for labels in (forget_labels, retain_labels)
        )
        if named and len(others):
            yield retain.take(others), forgotten
            continue
        unique, owner = torch.unique(original_ids(task, forget.ids[forgotten]), return_inverse=True)
        folds = torch.randperm(len(unique), generator=chance)[owner] % FOLDS  # copies of a sample stay in its fold
        for fold in range(FOLDS if len(unique) > 1 else 0):
            yield forget.take(forgotten[folds != fold]), forgotten[folds == fold]


def _relearned(
    task: Task, model: nn.Module, descent: Descent, pool: Examples, watched: Examples, updates: int
) -> np.ndarray:
    """(m,) the first update at which each watched example is right; infinite where there is none."""
    private, learning = learner(task, model, descent, pool, seed=0)
    first_right = np.where(outcomes(task, private, watched)[:, 1] >= 0, 0.0, np.inf)
    for update in range(1, updates + 1):
        next(learning)
        right = (outcomes(task, private, watched)[:, 1] >= 0).numpy()
        first_right[np.isinf(first_right) & right] = update
    return first_right


def learner(
    task: Task, model: nn.Module, descent: Descent, pool: Examples, seed: int
) -> tuple[nn.Module, Iterator[Update]]:
    """A private copy whose readout learns the pool, and the updates that it makes, for ever."""
    private = readout.private_copy(model, readout.resolve(task, model))
    moving = [value for value in private.parameters() if value.requires_grad]
    return private, descend(descent, moving, _mean_losses(task, private, descent, pool, seed))


def _mean_losses(task: Task, model: nn.Module, descent: Descent, pool: Examples, seed: int) -> Iterator[Objective]:
    for positions in batches(torch.arange(len(pool)), descent.batch_size, seed):
        batch = pool.batch(positions).to(device_of(model))
        yield Objective({"loss": task.example_loss(model, batch).mean()})
