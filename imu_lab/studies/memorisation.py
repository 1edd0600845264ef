"""How a model came to know each sample: when it learned it, how often it lost it again, and what it knows without it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from ..tasks import training
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Examples, Task
from ..tasks.variants.altered import originals
from ..unlearning.recorder import time_to_forget
from .resistance import forgetting_events


def learning_events(task: Task, seed: int = 0) -> pd.DataFrame:
    """The training of the original once more, with every forget sample followed from epoch to epoch.

    Args:
        task: whose recipe and training split; a user's own ``train_fn`` is not asked, the recipe is.
        seed: of the weights and batches; that of the original retraces the original's own training.

    Returns:
        ``example``; ``training_events``, how often it went from right to wrong between epochs (Toneva et al. 2019);
        ``first_learned``, the epoch from which it stayed right, epochs + 1 for never.
    """
    return _events(task, seed).copy()


@lru_cache(maxsize=8)
def _events(task: Task, seed: int) -> pd.DataFrame:
    recipe = getattr(task, "recipe", training.Recipe())
    forget, model = task.split("forget"), task.make_model(seed)
    made = training.epochs(task, model, task.split("train"), recipe, seed)
    margins = np.stack([outcomes(task, each, forget)[:, 1].numpy() for each in made])  # (epochs, n)
    settled = time_to_forget(-margins - 1e-12, np.arange(1, len(margins) + 1))  # "forgetting" to be wrong
    frame = {"example": forget.ids.numpy(), "training_events": forgetting_events(margins)}
    return pd.DataFrame(frame | {"first_learned": np.where(np.isnan(settled), len(margins) + 1, settled)})


def held_out(task: Task, folds: int = 3, seed: int = 0) -> pd.DataFrame:
    """What models know of each forget sample that were trained on everything but its fold.

    One model per fold: the whole training set without one ``folds``-th of the forget set.

    Args:
        task: whose recipe and data.
        folds: models to train; more leave less out of each.
        seed: of the folds, the weights and the batches.

    Returns:
        ``example``; ``held_out_confidence``, the probability of its label; ``label_suspicion``, σ(−margin): above one
        half, another label looks likelier to a model that has not seen the sample.

    Raises:
        ValueError: fewer than two folds, or more than there are forget samples.
    """
    if not 2 <= folds <= len(task.split("forget")):
        raise ValueError(f"folds must lie between 2 and the {len(task.split('forget'))} forget samples, got {folds}")
    return _held_out(task, folds, seed).copy()


@lru_cache(maxsize=8)
def _held_out(task: Task, folds: int, seed: int) -> pd.DataFrame:
    from scipy.special import expit  # half a second to import

    forget = task.split("forget")
    owners, whose = torch.unique(originals(task, forget.ids), return_inverse=True)
    order = torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))
    known = torch.empty(len(forget), 2, dtype=torch.float64)
    for fold in order.tensor_split(folds):
        mine = torch.isin(whose, fold).nonzero().flatten()  # with all its copies
        known[mine] = _trained_without(task, forget.take(mine), seed).double()
    confidence, margin = np.exp(-known[:, 0].numpy()), known[:, 1].numpy()
    return pd.DataFrame(
        {"example": forget.ids.numpy(), "held_out_confidence": confidence, "label_suspicion": expit(-margin)}
    )


def _trained_without(task: Task, out: Examples, seed: int) -> torch.Tensor:
    """(m, 2) loss and margin of the examples ``out`` under a model trained on all others."""
    everything = task.split("train")
    rest = everything.take((~torch.isin(everything.ids, out.ids)).nonzero().flatten())
    model = task.make_model(seed)
    for _ in training.epochs(task, model, rest, getattr(task, "recipe", training.Recipe()), seed):
        pass
    return outcomes(task, model, out)
