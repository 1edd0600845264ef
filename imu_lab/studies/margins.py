"""KLoM: how each sample's margin is distributed over retrained models, against its distribution over unlearned ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from torch import nn

from ..core.labels import told_apart
from ..core.messages import listed, warn
from ..core.records import Run
from ..core.taken import several_runs
from ..measures.ensemble import References
from ..measures.membership import log_odds
from ..tasks.evaluation import in_order, outputs
from ..tasks.outputs import true_classes, two_sided
from ..tasks.protocol import Examples, Task, labels_of

CLIPPED = 100.0  # margins beyond tell nothing more
FEW = 20  # models, up to which a histogram would be empty nearly everywhere
BINS, LEAST = 20, 1e-5  # of a histogram, and what is added to each of its shares
COLUMN = "klom_references_runs"


def klom(runs: Iterable[Run], reference: References, splits: Iterable[str] = ("forget",)) -> pd.DataFrame:
    """Each sample's KL(references ‖ runs) of its margin: could one tell from this sample that it was unlearned?

    >>> runs = [imu.unlearn(task, imu.train(task, "train", seed=seed), seed=seed) for seed in range(5)]
    >>> table = imu.klom(runs, imu.references(task))
    >>> table["klom_references_runs"].quantile([0.5, 0.95])

    The margin is φ = z_y − log Σ_{k≠y} exp z_k, the log-odds of the true class y (of a sequence the mean over its
    predictions), clipped to ±100. With up to 20 models on either side both distributions are taken for Gaussians,
    KL = log(σ_u/σ_r) + (σ_r² + (μ_r − μ_u)²) / (2 σ_u²) − ½, u the unlearned and r the retrained models; with more, for
    histograms of 20 common bins. It is infinite where a margin differs within one side alone. The direction is that of the
    published numbers: how much a retrained model surprises whoever expects an unlearned one.

    Source: Georgiev et al. 2024 (arXiv 2410.23232).

    Args:
        runs: two or more of one experiment over seeds; each should begin from an original of its own seed, as the retrained
            models do, or the runs hardly differ and everything is far. Runs with ``steps=0`` tell of doing nothing.
        reference: two or more retrained models, from :func:`imu_lab.references`.
        splits: of which samples.

    Returns:
        DataFrame, one row per sample: ``split, example, label``; of the forget set ``weight, pressure`` from the runs'
        ledgers, means over runs; ``margin_references, deviation_references, margin_runs, deviation_runs``; and
        ``klom_references_runs`` in nats. Join it to a ledger by ``example``.

    Raises:
        ValueError: fewer than two models on a side, runs of several experiments, or a loss without a true class.

    Warns:
        UserWarning: all runs began from the same model.
    """
    runs = several_runs(runs, "klom")
    splits = [splits] if isinstance(splits, str) else splits
    if len(runs) < 2 or not isinstance(reference, References) or len(reference) < 2:
        raise ValueError(
            "a distribution takes two or more models on each side: pass runs over seeds and imu.references(task); got "
            f"{len(runs)} and {len(reference) if isinstance(reference, References) else 'no references'}"
        )
    if len(labels := list(dict.fromkeys(told_apart(runs)))) > 1:
        raise ValueError(f"these runs are of several experiments, {listed(labels)}; ask for one at a time")
    for run in runs:  # each, for runs of other requests may share a label
        reference.check(run.known_task())
    task = runs[0].known_task()
    _warn_of_one_origin(runs)
    models, parts = (reference.models, [run.unlearned for run in runs]), []
    for split in splits:
        examples = task.split(split)
        sides = [np.stack([margins(task, model, examples) for model in side]) for side in models]
        parts.append(_table(task, split, examples, runs, *sides))
    return pd.concat(parts, ignore_index=True)


def _table(
    task: Task, split: str, examples: Examples, runs: list[Run], retrained: np.ndarray, unlearned: np.ndarray
) -> pd.DataFrame:
    """One split's rows, from (m, n) margins of either side."""
    ids = examples.ids.numpy()
    ledgers = [run.samples.set_index("example").reindex(ids) for run in runs] if split == "forget" else []
    known = {
        name: np.mean([each[name] for each in ledgers], 0) if ledgers else np.nan for name in ("weight", "pressure")
    }
    found = {"split": split, "example": ids, "label": labels_of(task, ids, examples.source), **known}
    for side, values in (("references", retrained), ("runs", unlearned)):
        found |= {f"margin_{side}": values.mean(0), f"deviation_{side}": values.std(0, ddof=1)}
    divergence = gaussian_kl if min(len(retrained), len(unlearned)) <= FEW else binned_kl
    return pd.DataFrame(found | {COLUMN: divergence(retrained, unlearned)})


def margins(task: Task, model: nn.Module, examples: Examples) -> np.ndarray:
    """(n,) float64 the log-odds of the true class, z_y − log Σ_{k≠y} exp z_k, clipped to ±100.

    Raises:
        ValueError: the task's loss names no single true class.
    """
    rows = []
    for at, batch, made in outputs(task, model, examples, alike=True):
        truth, shares = true_classes(task, made, batch)
        values = log_odds(two_sided(made).double(), truth)
        rows.append((at, (shares * values.clamp(-CLIPPED, CLIPPED)).reshape(len(truth), -1).sum(1).cpu()))
    return in_order(rows, len(examples)).numpy()


def gaussian_kl(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) KL(first ‖ second) in nats of the Gaussians through (m, n) values, with unbiased variances."""
    (mean, variance), (other, spread) = ((values.mean(0), values.var(0, ddof=1)) for values in (first, second))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 0.5 * (np.log(spread / variance) + (variance + (mean - other) ** 2) / spread - 1)
    found = np.where((variance == 0) | (spread == 0), np.inf, found)
    return np.where((variance == 0) & (spread == 0) & (mean == other), 0.0, found)


def binned_kl(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) KL(first ‖ second) in nats of the histograms of (m, n) values in 20 common bins, 1e-5 added to each share."""
    found = []
    for one, other in zip(first.T, second.T):
        edges = np.histogram_bin_edges(np.concatenate([one, other]), BINS)
        shares = [np.histogram(values, edges)[0] / len(values) + LEAST for values in (one, other)]
        p, q = (share / share.sum() for share in shares)
        found.append(float((p * np.log(p / q)).sum()))
    return np.array(found)


def _warn_of_one_origin(runs: list[Run]) -> None:
    """Runs that began alike differ by the order of their batches alone."""
    starts = [run.trajectory.loc[run.trajectory["step"] == 0, "loss"].to_numpy() for run in runs]
    if all(np.array_equal(starts[0], start) for start in starts):
        warn(
            "all these runs began from the same original, so that they differ less than retrained models do and every KL is "
            "large; begin each from an original of its own seed: imu.train(task, 'train', seed=seed)"
        )
