"""The records: Influence, Intensity, Run. Frozen, each around tidy tables; meanings, units and signs defined here, once.

The sign of influence: **negative means ascend**. A step along the sample's preconditioned gradient raises the loss of
the whole forget set, so the sample deserves pressure (Fan et al. 2025, arXiv 2508.01620).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import storage


class Quantity(NamedTuple):
    """What a column or a metric means. ``good`` says which direction is good, in words."""

    title: str
    unit: str
    meaning: str
    good: str = ""


QUANTITIES: dict[str, Quantity] = {
    "example": Quantity("example", "index", "position of the sample in the training split"),
    "step": Quantity("update", "count", "updates made so far; 0 is the original model"),
    "influence": Quantity(
        "influence", "no unit", "−g_iᵀF⁻¹ḡ; negative: pressing this sample raises the forget set's loss"
    ),
    "gradient_norm": Quantity("gradient norm", "nats per unit of parameter", "‖g_i‖ over the readout's parameters"),
    "gradient_dot": Quantity(
        "plain influence", "nats² per unit² of parameter", "−g_iᵀḡ, the sign of the plain gradient step"
    ),
    "selected": Quantity("selected", "yes or no", "whether the sample takes part in unlearning"),
    "weight": Quantity("weight", "share", "the sample's share of the intensity, w_i / Σ w; sums to 1"),
    "pressure": Quantity("pressure", "batch shares", "Σ over updates of w_i / Σ over its batch: what it received"),
    "loss": Quantity(
        "loss", "nats", "cross-entropy of the true label", "higher on the forget set means more forgotten"
    ),
    "confidence": Quantity(
        "confidence",
        "probability",
        "exp(−loss), the probability of the truth",
        "lower on the forget set means more forgotten",
    ),
    "margin": Quantity(
        "margin",
        "logits",
        "true logit minus the largest other; negative means misclassified",
        "negative on the forget set means forgotten",
    ),
    "time_to_forget": Quantity(
        "time to forget",
        "updates",
        "first update after which the margin stays negative; empty when that never happened",
    ),
    "confidence_retrained": Quantity(
        "retrained confidence", "probability", "the retrained model's confidence in the label; it never saw the sample"
    ),
    "time_below_retrained": Quantity(
        "time below retrained",
        "updates",
        "first update after which the confidence stays at or under the retrained model's; empty when it never does",
    ),
    "censored": Quantity("never forgotten", "yes or no", "the run ended before the sample was forgotten for good"),
    "confidence_auc": Quantity("mean confidence", "probability", "confidence in the label, averaged over the updates"),
    "final_margin": Quantity(
        "final margin", "logits", "the margin after the last update; negative means misclassified"
    ),
    "forgetting_events": Quantity("forgetting events", "count", "how often it went from right to wrong during the run"),
    "pressed": Quantity("pressed", "yes or no", "whether it got any pressure; without, it cannot be said to resist"),
    "after_limit": Quantity(
        "after the limit", "yes or no", "forgotten only after kept accuracy had fallen 5 points: by collapse"
    ),
    "rank": Quantity("resistance rank", "1 = forgotten first", "order of forgetting; the highest rank resists most"),
    "rebound": Quantity(
        "rebound", "updates", "updates on other data of its class until the forgotten sample is right again"
    ),
    "answer": Quantity("answer", "", "the class that the model finds likeliest"),
    "rebound_censored": Quantity(
        "did not come back", "yes or no", "relearning was tried, and it was still wrong when that ended"
    ),
    "wrong_before": Quantity(
        "wrong before", "yes or no", "misclassified before the first update: it had nothing to withstand"
    ),
    "mean_rank": Quantity("mean rank", "1 = forgotten first", "the resistance rank, averaged over runs"),
    "held_out_confidence": Quantity(
        "held-out confidence", "probability", "confidence in the label of a model that was trained without the sample"
    ),
    "label_suspicion": Quantity(
        "label suspicion",
        "probability",
        "σ(−margin) of a model trained without it: above one half, it doubts the label",
    ),
    "memorisation": Quantity(
        "memorisation", "probability", "confidence with the sample in training minus confidence without it"
    ),
    "curvature": Quantity(
        "curvature", "nats per squared weight", "trace of the Hessian of its loss in the readout's weights, before"
    ),
    "training_events": Quantity("learning events", "count", "how often it went from right to wrong between epochs"),
    "first_learned": Quantity("first learned", "epochs", "the epoch from which it stayed right; epochs + 1 for never"),
    "retain_distance": Quantity("distance to retain", "feature units", "distance to the nearest retained sample"),
    "nearest_distance": Quantity("nearest sample", "feature units", "distance to the nearest other training sample"),
    "retain_share": Quantity("retained neighbours", "share", "share of its nearest training samples that are retained"),
    "class_overlap": Quantity("class overlap", "share", "share of its nearest training samples with another label"),
    "duplicate": Quantity("duplicate", "yes or no", "another training sample has the very same features"),
    "near_duplicate": Quantity("near-duplicate", "yes or no", "its nearest sample is unusually close"),
    "predicted": Quantity("predicted damage", "nats", "first-order rise of the loss: Σ lr · pressure_i · g_r·g_i"),
    "measured": Quantity("measured damage", "nats", "loss after the run minus loss before"),
    "accuracy": Quantity(
        "accuracy",
        "share correct",
        "share of examples whose largest logit is the true label",
        "on forget: close to the retrained model; elsewhere: high",
    ),
    "identity_accuracy": Quantity(
        "identity accuracy",
        "share correct",
        "share of pictures whose largest identity logit is the true person's",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "map": Quantity(
        "mean average precision",
        "mAP",
        "mean over queries of average precision: how high the same person's pictures from other cameras are ranked",
        "on the forgotten person: close to the retrained model, which is not zero; on others: high",
    ),
    "rank1": Quantity(
        "rank-1",
        "share of queries",
        "share of queries whose most alike counted picture shows the same person",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "rank5": Quantity(
        "rank-5",
        "share of queries",
        "share of queries with the same person among the five most alike counted pictures",
        "on the forgotten person: close to the retrained model; on others: high",
    ),
    "kl_true": Quantity(
        "KL to the true chain",
        "nats per token",
        "KL(true transition probabilities ‖ model), the mean over predicted tokens",
        "on forget: close to the retrained model; elsewhere: low",
    ),
    "kl_retrained": Quantity(
        "KL to the retrained model",
        "nats per prediction",
        "KL(retrained ‖ model), the mean over predictions",
        "low everywhere; 0 is the retrained model",
    ),
    "js_retrained": Quantity(
        "Jensen-Shannon divergence to the retrained model",
        "nats per prediction",
        "½ KL(p ‖ m) + ½ KL(q ‖ m), m half-way between model and retrained model; at most log 2",
        "low everywhere; 0 is the retrained model",
    ),
    "agreement": Quantity(
        "agreement with the retrained model",
        "share of predictions",
        "share of predictions whose likeliest answer is the retrained model's",
        "high everywhere; 1 is full agreement",
    ),
    "retain": Quantity("retain term", "nats", "λ mean ℓ of the retain batch"),
    "retain_gradient": Quantity("retain gradient", "norm", "length of the retain term's gradient"),
    "retain_kl": Quantity("KL term", "nats", "λ mean KL(model as given ‖ model) of the retain batch"),
    "retain_kl_gradient": Quantity("KL gradient", "norm", "length of the KL term's gradient"),
    "npo": Quantity("NPO term", "nats", "−(2/β) mean log σ(...) of the forget batch"),
    "npo_gradient": Quantity("NPO gradient", "norm", "length of the NPO term's gradient"),
    "ascent": Quantity("ascent term", "nats", "−Σ w_i ℓ_i / Σ w_i of the batch"),
    "l1": Quantity("L1 term", "nats", "α‖readout‖₁"),
    "ascent_gradient": Quantity("ascent gradient", "norm", "length of the ascent term's gradient"),
    "l1_gradient": Quantity("L1 gradient", "norm", "length of the L1 term's gradient"),
    "update_norm": Quantity("update length", "norm", "how far this update moved the parameters"),
}

SPLITS: dict[str, str] = {
    "forget": "the samples to forget",
    "retain": "the training samples to keep",
    "test": "unseen samples of what is kept",
    "test-forget": "unseen samples of what is forgotten",
}


def describe(name: str) -> Quantity:
    """The meaning of a column or metric; an unknown one speaks for itself.

    ``uniform_<column>`` is that column of the same run under uniform pressure, ``influence_<name>`` an influence under
    that estimator.
    """
    if name not in QUANTITIES and name.startswith("uniform_"):
        own = describe(name.removeprefix("uniform_"))
        return own._replace(title=f"{own.title}, uniform pressure")
    if name not in QUANTITIES and name.startswith("influence_"):
        own = QUANTITIES["influence"]
        return own._replace(title=f"{own.title}, {name.removeprefix('influence_')}")
    return QUANTITIES.get(name, Quantity(name.replace("_", " "), "", ""))


@dataclass(frozen=True, eq=False)
class Influence:
    """One number per forget sample, as a record.

    Attributes:
        frame: ``example``, ``influence``; one row per forget sample, in the order of the forget split.
        context: what else is known of each sample at no extra forward pass: ``example``, ``loss``, ``confidence``, and
            for a linear readout ``gradient_norm`` and ``gradient_dot`` (the influence that a plain gradient step has).
        settings: estimator, its settings, target, task: what reproduces the numbers.
    """

    frame: pd.DataFrame
    context: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """(n,) influences; negative means ascend."""
        return self.frame["influence"].to_numpy()

    @property
    def opposed(self) -> float:
        """Share of samples whose plain gradient step has the other sign than their influence (NaN if unknown)."""
        if "gradient_dot" not in self.context:
            return float("nan")
        return float(np.mean(np.sign(self.context["gradient_dot"]) != np.sign(self.values)))

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        negative = int((self.values < 0).sum())
        return f"Influence({self.settings.get('estimator')}, {len(self)} samples, {negative} negative)"


@dataclass(frozen=True, eq=False)
class Intensity:
    """Each forget sample's share of the pressure, as a record.

    Attributes:
        frame: ``example``, ``influence``, ``selected``, ``weight``; weights are ≥ 0 and sum to 1.
        context: the context of the influences it was made from.
        settings: rule, its settings, and those of the influences under ``"influence"``.
    """

    frame: pd.DataFrame
    context: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """(n,) weights ≥ 0 that sum to 1."""
        return self.frame["weight"].to_numpy()

    @property
    def effective(self) -> float:
        """Effective number of samples, 1 / Σ w²: n for uniform weights, 1 when one sample takes everything."""
        return float(1.0 / np.square(self.values).sum())

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        kept = int(self.frame["selected"].sum())
        return f"Intensity({self.settings.get('rule')}, {kept} of {len(self)} samples, effective {self.effective:.1f})"


@dataclass(frozen=True, eq=False)
class Run:
    """One unlearning run, followed at every update.

    Attributes:
        curve: long table ``step, split, metric, value``; step 0 is the original model.
        samples: the ledger, one row per forget sample: ``example, label, influence, selected, weight, pressure,``
            ``loss_before, loss_after, confidence_before, confidence_after, margin_before, margin_after, time_to_forget``,
            and where a retrained model was given ``confidence_retrained``.
        trajectory: long table ``example, step, loss, confidence, margin``.
        terms: long table ``step, term, value``: the objective's terms, their gradients and the update length, apart.
        reference: ``split, metric, value`` of the retrained model, empty when none was given.
        settings: everything that reproduces the run.
        events: ``steps`` made, ``stopped_at``, ``diverged_at``, ``utility_limit`` (None where it did not happen),
            ``seconds``.
        build_model: makes the unlearned model when asked.
        pack_weights: safetensors bytes of the unlearned model.
        task: what was unlearned, where it is known.
        snapshots: the moving parameters after each recorded update (see :meth:`model_at`).
    """

    curve: pd.DataFrame
    samples: pd.DataFrame
    trajectory: pd.DataFrame
    terms: pd.DataFrame
    reference: pd.DataFrame
    settings: Mapping[str, Any]
    events: Mapping[str, Any]
    build_model: Callable[[], Any] = field(repr=False)
    pack_weights: Callable[[], bytes] = field(repr=False)
    task: Any = field(default=None, repr=False)
    snapshots: Any = field(default=None, repr=False)

    @cached_property
    def model(self) -> Any:
        """The unlearned ``nn.Module``, in eval mode; the original is untouched."""
        return self.build_model()

    @property
    def kept_steps(self) -> list[int]:
        """The updates whose model :meth:`model_at` can give back: all recorded ones, unless the model is very large."""
        return sorted(self.snapshots.kept) if self.snapshots is not None else []

    def model_at(self, step: int) -> Any:
        """A fresh ``nn.Module`` as it was after update ``step``, in eval mode; 0 is the original model.

        Raises:
            ValueError: the weights of that update were not kept; the message lists those that were.
        """
        if step not in self.kept_steps:
            known = self.kept_steps
            what = f"it keeps {len(known)}: {known[0]} to {known[-1]}" if known else "it keeps none"
            raise ValueError(f"this run does not keep the weights after update {step}; {what}")
        return self.snapshots.write(step, copy.deepcopy(self.model))

    @property
    def steps(self) -> np.ndarray:
        """The recorded update numbers, from 0."""
        return self.curve["step"].unique()

    def last_useful(self, steps: Iterable[int] | None = None) -> int:
        """The last of these updates (None: all recorded ones) before kept accuracy had fallen 5 points, else the first.

        Beyond, there is a ruin to look at: it tells little of any sample. ``steps`` holds one or more.
        """
        steps = self.steps.tolist() if steps is None else [int(step) for step in steps]
        limit = self.events.get("utility_limit")
        return max((step for step in steps if limit is None or step < limit), default=steps[0])

    @property
    def label(self) -> str:
        """What distinguishes this run in a legend."""
        parts = [str(self.settings.get("method", "run")), str(self.settings.get("weights", {}).get("rule", ""))]
        if (self.settings.get("settings") or {}).get("step_norm"):
            parts.append("equal steps")
        if self.settings.get("forked"):
            parts.append(f"forked at {self.settings['forked']['step']}")
        return " · ".join(part for part in parts if part)

    def known_task(self) -> Any:
        """The run's task.

        Raises:
            ValueError: it has none, as a loaded run on a user's own data, or kept no weights to ask.
        """
        if self.task is None:
            raise ValueError("this run does not know its task; load it with imu.load_run(path, task=...)")
        if not self.kept_steps:
            raise ValueError("this run kept no weights, so its models cannot be asked; make it again with imu.unlearn")
        return self.task

    @property
    def moves_backbone(self) -> bool:
        """Whether more than the readout moved, so that a sample's features did not stand still."""
        readouts = self.settings.get("readout") or []
        inside = tuple(f"{name}." for name in readouts if name)
        moved = next(iter(self.snapshots.kept.values()), {}) if self.snapshots is not None else {}
        return "" not in readouts and any(not name.startswith(inside) and name not in readouts for name in moved)

    @property
    def headline(self) -> str:
        """The metric that tells of forgetting on this run's task."""
        return self.settings.get("forgotten_when", ("accuracy",))[0]

    def value(self, split: str, metric: str, step: int | None = None) -> float:
        """One number of the curve, at a step (the last by default); NaN where it was not recorded."""
        rows = self.curve[(self.curve["split"] == split) & (self.curve["metric"] == metric)]
        rows = rows if step is None else rows[rows["step"] == step]
        return float(rows["value"].iloc[-1]) if len(rows) else float("nan")

    def series(self, split: str, metric: str) -> pd.Series:
        """One line of the curve: values indexed by step."""
        rows = self.curve[(self.curve["split"] == split) & (self.curve["metric"] == metric)]
        return rows.set_index("step")["value"]

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the run to one file that :func:`imu_lab.load_run` reads.

        Raises:
            FileExistsError: the path is taken and ``overwrite`` is False.
        """
        tables = {name: getattr(self, name) for name in TABLES}
        about = {"settings": dict(self.settings), "events": dict(self.events)}
        snapshots = self.snapshots.pack() if self.snapshots is not None else b""
        packed = storage.pack("run", tables, about, self.pack_weights(), snapshots)
        storage.write_whole(Path(path), packed, overwrite)
        return Path(path)

    def __repr__(self) -> str:
        forget = self.value("forget", self.headline)
        return f"Run({self.label}, {self.events.get('steps')} updates, forget {self.headline} {forget:.3f})"


TABLES = ("curve", "samples", "trajectory", "terms", "reference")
