"""What training without some samples really changes: the truth that influence estimates.

The quantity. With J(θ) = (1/N) Σ_train ℓ_i + (λ/2)‖θ‖², θ* its minimum and θ*_S the minimum without the samples S, the
change of the target's mean loss is Δ_S = L(θ*_S) − L(θ*). To first order Δ_i = (1/N) ḡᵀ(H + λ)⁻¹g_i = −I_i / N with the
``exact`` influence, curvature over the training set and damping λ. So the column ``influence`` holds −N Δ, in the sign
and units of every estimator: negative means that the sample supports the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..core import storage
from ..core.knobs import check_count
from ..core.records import Influence
from ..core.running import digest, one_thread
from ..core.taken import a_record, several_examples
from ..features.targets import Target, target_examples
from ..tasks.announced import announced
from ..tasks.evaluation import mean_loss
from ..tasks.protocol import Task, offered, own_data_key
from .beforehand import trained_without
from .refit import refitted_readout
from .statistics import confidence_interval, one_row, spearman

TRUTH = "the table of imu.leave_one_out(task, model) or imu.leave_groups_out"
WAYS = ("head", "network")
SAVE_EVERY = 10  # finished groups


def leave_one_out(
    task: Task,
    model: nn.Module,
    *,
    l2: float = 1e-3,
    target: Target = "forget",
    way: Literal["head", "network"] = "head",
    seed: int = 0,
) -> pd.DataFrame:
    """Train without each forget sample in turn, and measure how the target's mean loss changes.

    >>> truth = imu.leave_one_out(task, model, l2=1e-3)
    >>> exact = imu.influence(task, imu.refit(task, model), "exact", damping=1e-3, curvature="train")
    >>> imu.linear_datamodeling_score(exact, truth)

    Args:
        model: its backbone stays, under a refitted head (``way="head"``); any model of the task for ``way="network"``.
        l2: λ of the refitted head: the ``damping`` of the ``exact`` estimator to compare with.
        target: the samples whose mean loss is measured; as for :func:`imu_lab.influence`.
        way: ``"head"`` refits the readout to its minimum in float64; ``"network"`` trains the whole network by the recipe.
        seed: of the training, for ``way="network"``.

    Returns:
        DataFrame ``example, change, influence``: the change of the target's mean loss in nats, and −N times it.
    """
    groups = [torch.tensor([k]) for k in range(len(task.split("forget")))]
    changes = _measured(task, model, groups, l2, target, way, seed)
    return changes.assign(example=task.split("forget").ids.numpy())[["example", "change", "influence"]]


def leave_groups_out(
    task: Task,
    model: nn.Module,
    groups: int | Iterable[Sequence[int]] = 50,
    *,
    share: float = 0.5,
    l2: float = 1e-3,
    target: Target = "forget",
    way: Literal["head", "network"] = "head",
    seed: int = 0,
) -> pd.DataFrame:
    """Train without groups of forget samples, and measure how the target's mean loss changes: one row per group.

    Args:
        groups: how many random groups to draw, or the groups themselves, as positions in the forget set.
        share: of the forget set in each random group.
        model, l2, target, way: see :func:`leave_one_out`.
        seed: of the draw, and of the training.

    Returns:
        DataFrame ``group, positions, change, influence``; ``positions`` (a tuple) are the samples trained without.
    """
    count = len(task.split("forget"))
    if not isinstance(groups, Iterable):
        groups = check_count("groups", groups, 1)
        if not 0 < share <= 1:
            raise ValueError(f"share is of the forget set, above 0 and at most 1; got {share!r}")
        random, size = np.random.default_rng(seed), max(1, round(share * count))
        groups = [np.sort(random.choice(count, size, replace=False)) for _ in range(groups)]
    positions = [torch.tensor(several_examples(group, "a group"), dtype=torch.int64) for group in groups]
    if not positions or any(not len(group) or group.min() < 0 or group.max() >= count for group in positions):
        raise ValueError(f"groups must be positions in the forget set, 0 to {count - 1}, and none may be empty")
    changes = _measured(task, model, positions, l2, target, way, seed)
    table = changes.assign(group=range(len(positions)), positions=[tuple(group.tolist()) for group in positions])
    table.attrs["samples"] = count
    return table[["group", "positions", "change", "influence"]]


class Score(NamedTuple):
    """Spearman's correlation with its 95 % bootstrap interval, over so many units: samples, or groups of samples."""

    spearman: float
    low: float
    high: float
    units: int

    def __repr__(self) -> str:
        return f"Score(Spearman {self.spearman:.2f}, {self.low:.2f} to {self.high:.2f}; {self.units} units)"

    def _repr_html_(self) -> str:
        return one_row(self)


def linear_datamodeling_score(
    scores: Influence | np.ndarray, truth: pd.DataFrame, *, draws: int = 1000, seed: int = 0
) -> Score:
    """How well influences rank the truth: Spearman's correlation of Σ_S I_i with what leaving S out does, over groups S.

    Args:
        scores: influences, or any (n,) scores in their sign, then in the order of the rows of ``truth``, or of the forget set
            where these are groups.
        truth: from :func:`imu_lab.leave_groups_out`, or from :func:`imu_lab.leave_one_out`, whose groups are single samples.
        draws, seed: of the bootstrap over groups.

    Source: Park et al. 2023 (arXiv 2303.14186); percentile bootstrap over the groups.
    """
    predicted = _predicted(scores, truth)
    return rank_correlation(predicted, truth["influence"].to_numpy(), draws=draws, seed=seed)


def _predicted(scores: Influence | np.ndarray, truth: pd.DataFrame) -> np.ndarray:
    """What the scores say of each row of the truth, in whatever order its rows are."""
    a_record(truth, "linear_datamodeling_score", pd.DataFrame, TRUTH, ["influence"])
    try:
        values = scores.values if isinstance(scores, Influence) else np.asarray(list(scores), dtype=float)
    except (TypeError, ValueError):
        a_record(scores, "linear_datamodeling_score", Influence, "influences, or as many numbers")
    if "positions" in truth:
        held = truth.attrs.get("samples", len(values))
        if held != len(values) or not all(0 <= place < held for group in truth["positions"] for place in group):
            raise ValueError(
                f"{len(values)} scores do not fit the groups of a forget set of {held}; use the same task for both"
            )
        return np.array([values[list(group)].sum() for group in truth["positions"]])
    if len(truth) != len(values):
        raise ValueError(f"{len(values)} scores do not fit {len(truth)} samples left out; use the same task for both")
    if not isinstance(scores, Influence):
        return values
    found = scores.frame.set_index("example")["influence"].reindex(truth["example"])
    if found.isna().any():
        raise ValueError(
            f"{int(found.isna().sum())} of {len(truth)} samples left out have no score; use the same task for both"
        )
    return found.to_numpy()


def rank_correlation(one: np.ndarray, other: np.ndarray, *, draws: int = 1000, seed: int = 0) -> Score:
    """Spearman's correlation of two (n,) arrays with a 95 % percentile-bootstrap interval over their entries."""
    if len(one) < 3:
        raise ValueError(f"a rank correlation needs 3 values or more, got {len(one)}")
    low, high = confidence_interval(spearman, one, other, draws=draws, seed=seed)
    return Score(float(spearman(one, other)), float(low), float(high), len(one))


def _measured(
    task: Task, model: nn.Module, groups: list[Tensor], l2: float, target: Target, way: str, seed: int
) -> pd.DataFrame:
    """``change, influence`` of each group; finished groups are stored, so an interrupted call continues from there."""
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}; got {way!r}")
    train, forget = task.split("train"), task.split("forget")
    places = torch.searchsorted(train.ids, forget.ids)
    if not torch.equal(train.ids[places.clamp_max(len(train) - 1)], forget.ids):
        raise ValueError("the forget set must be part of the training set, whose ids must rise")
    path = _kept(task, groups, target, seed) if way == "network" else None
    changes = _unfinished(path, len(groups))
    todo = np.flatnonzero(np.isnan(changes))
    if not len(todo):
        return pd.DataFrame({"change": changes, "influence": -len(train) * changes})
    hidden = way == "network"  # where each is a training, which has a bar of its own
    with announced(1 + len(todo), 'way="head" refits the readout alone') if hidden else nullcontext():
        leave = _by_head(task, model, l2, target) if way == "head" else _by_network(task, target, seed)
        try:
            for done, unit in enumerate(
                tqdm(todo, desc="leaving out", unit="fit", delay=2, leave=False, disable=hidden), 1
            ):
                with one_thread():
                    changes[unit] = leave(places[groups[unit]])
                if path is not None and done % SAVE_EVERY == 0:
                    storage.write_array(path, changes)
        finally:
            if path is not None:
                storage.write_array(path, changes)
    return pd.DataFrame({"change": changes, "influence": -len(train) * changes})


def _by_head(task: Task, model: nn.Module, l2: float, target: Target) -> Callable[[Tensor], float]:
    """From positions in the training set to the change of the target's mean loss, with the head refitted."""
    fit = refitted_readout(task, model, l2)
    targets = target_examples(fit.task, target, fit.task.split("forget")).in_precision(torch.float64)
    before = mean_loss(fit.task, fit.head, targets)
    return lambda positions: mean_loss(fit.task, fit.without(positions), targets) - before


def _by_network(task: Task, target: Target, seed: int) -> Callable[[Tensor], float]:
    """The same, with the whole network trained again by the task's recipe."""
    ids, targets = task.split("train").ids, target_examples(task, target, task.split("forget"))
    before = mean_loss(task, trained_without(task, ids[:0], seed), targets)
    return lambda positions: mean_loss(task, trained_without(task, ids[positions], seed), targets) - before


def _kept(task: Task, groups: list[Tensor], target: Target, seed: int) -> Path | None:
    """Where finished groups of trained networks are stored; None for a task without a digest of its data."""
    if own_data_key(task) is None or not isinstance(target, str):
        return None
    code = offered(task).code
    key = (repr(task), task.data_key, target, seed, *groups, *([code] if code else []))
    return storage.data_folder() / "ground_truth" / f"{digest(*key)}.npy"


def _unfinished(path: Path | None, count: int) -> np.ndarray:
    """(count,) the stored changes, NaN for what is left to do; a damaged file counts as empty."""
    try:
        stored = np.load(path, allow_pickle=False) if path is not None and path.exists() else np.empty(0)
    except (ValueError, EOFError, OSError):
        stored = np.empty(0)
    return np.array(stored) if stored.shape == (count,) else np.full(count, np.nan)
