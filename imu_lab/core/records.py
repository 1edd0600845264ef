"""The records: Influence, Intensity, Run. Frozen, each around tidy tables; what a column means stands in ``quantities``.

The sign of influence: **negative means ascend**. A step along the sample's preconditioned gradient raises the loss of
the whole forget set, so the sample deserves pressure (Fan et al. 2025, arXiv 2508.01620).
"""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import storage
from .arguments import checked
from .quantities import describe


def aligned(context: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """What is known beside a record's rows, sample by sample in the order of the rows, which may have been sorted."""
    if "example" not in frame or "example" not in context:
        return context
    wanted, given = frame["example"], context["example"]
    if np.array_equal(wanted, given) or not given.is_unique:
        return context
    return context.set_index("example").reindex(wanted).reset_index()


@dataclass(frozen=True, eq=False)
class _Samples:
    """A row per forget sample, and what else is known of it, in the same order."""

    frame: pd.DataFrame
    context: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "context", aligned(self.context, self.frame))

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Influence(_Samples):
    """One number per forget sample, as a record.

    Attributes:
        frame: ``example``, ``influence``; one row per forget sample, in the order of the forget split.
        context: what else is known of each sample at no extra forward pass: ``example``, ``loss``, ``confidence``, and
            for a linear readout ``gradient_norm`` and ``gradient_dot`` (the influence on the forget set that a plain gradient
            step has).
        settings: estimator, its settings, target, task: what reproduces the numbers.
    """

    @property
    def values(self) -> np.ndarray:
        """(n,) influences; negative means ascend."""
        return self.frame["influence"].to_numpy()

    @property
    def opposed(self) -> float:
        """Share of samples whose plain gradient step has the other sign than their influence.

        NaN where that is unknown: ``gradient_dot`` speaks of the forget set's own loss, so for another target there is
        nothing to compare with.
        """
        if "gradient_dot" not in self.context or self.settings.get("target", "forget") != "forget":
            return float("nan")
        return float(np.mean(np.sign(self.context["gradient_dot"]) != np.sign(self.values)))

    def __repr__(self) -> str:
        negative = int((self.values < 0).sum())
        return f"Influence({self.settings.get('estimator')}, {len(self)} samples, {negative} negative)"

    def _repr_html_(self) -> str:
        known = self.context.drop(columns=[name for name in self.frame if name in self.context])
        table = pd.concat([self.frame, known], axis=1).sort_values("influence", kind="stable")
        return _as_html(repr(self), table, "the most negative first")


@dataclass(frozen=True, eq=False)
class Intensity(_Samples):
    """Each forget sample's share of the pressure, as a record.

    Attributes:
        frame: ``example``, ``influence``, ``selected``, ``weight``; weights are ≥ 0 and sum to 1.
        context: the context of the influences it was made from.
        settings: rule, its settings, and those of the influences under ``"influence"``.
    """

    @property
    def values(self) -> np.ndarray:
        """(n,) weights ≥ 0 that sum to 1."""
        return self.frame["weight"].to_numpy()

    @property
    def effective(self) -> float:
        """Effective number of samples, 1 / Σ w²: n for uniform weights, 1 when one sample takes everything."""
        return float(1.0 / np.square(self.values).sum())

    @property
    def gini(self) -> float:
        """How unequal the weights are: 0 for uniform weights, close to 1 when one sample takes everything (Gini 1912)."""
        held = np.cumsum(np.sort(self.values))  # by the least pressed, as in a Lorenz curve
        return max(0.0, float(1 + (1 - 2 * held.sum() / held[-1]) / len(held)))  # not -1e-16

    def __repr__(self) -> str:
        kept = int(self.frame["selected"].sum())
        return f"Intensity({self.settings.get('rule')}, {kept} of {len(self)} samples, effective {self.effective:.1f})"

    def _repr_html_(self) -> str:
        table = self.frame.sort_values("weight", ascending=False, kind="stable")
        return _as_html(repr(self), table, "the heaviest first")


def _no_model() -> Any:
    raise ValueError("this run was made from tables alone, without a model")


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """One unlearning run, followed at every update.

    Attributes:
        curve: long table ``step, split, metric, value``; step 0 is the original model.
        samples: the ledger, one row per forget sample: ``example, label, influence, selected, weight, pressure,``
            ``loss_before, loss_after, confidence_before, confidence_after, margin_before, margin_after, time_to_forget``,
            and where a retrained model was given ``confidence_retrained``.
        trajectory: long table ``example, step, loss, confidence, margin``.
        terms: long table ``step, term, value``: the objective's terms, their gradients and the update length, apart; and
            ``examples``, how many of the forget and the retain set the method read for the update.
        reference: ``split, metric, value`` of the retrained model, empty when none was given. Of several
            (:func:`imu_lab.references`) the means, and for a distance how far two of them are from each other.
        settings: everything that reproduces the run.
        events: ``steps`` made, ``stopped_at``, ``diverged_at``, ``utility_limit``, ``collapsed_at``, ``goal_at`` (None where
            it did not happen; the update at which the request counted as forgotten in the words of ``goal``, whatever
            ``stop_at`` asked), ``forgotten`` (how many samples were right before and are wrong after), ``seconds``, and
            ``train_examples``, how large the training set is.
        build_model: makes the unlearned model when asked.
        pack_weights: safetensors bytes of the unlearned model.
        task: what was unlearned, where it is known.
        snapshots: the moving parameters after each recorded update (see :meth:`model_at`).
        statistics: the means over the training set that the method was handed, None where it was handed none.
        beside: the retrained model or models that it was measured against; None without one, and in a loaded run.
    """

    curve: pd.DataFrame
    samples: pd.DataFrame
    trajectory: pd.DataFrame
    terms: pd.DataFrame
    reference: pd.DataFrame
    settings: Mapping[str, Any]
    events: Mapping[str, Any]
    build_model: Callable[[], Any] = field(default=_no_model, repr=False)
    pack_weights: Callable[[], bytes] = field(default=bytes, repr=False)
    task: Any = field(default=None, repr=False)
    snapshots: Any = field(default=None, repr=False)
    statistics: Any = field(default=None, repr=False)
    beside: Any = field(default=None, repr=False)

    @cached_property
    def unlearned(self) -> Any:
        """The unlearned ``nn.Module``, in eval mode, as audits and studies ask it: to be looked at, and never changed."""
        return self.build_model()

    @cached_property
    def model(self) -> Any:
        """A copy of the unlearned ``nn.Module``, the same at each look; train it on, and the run is what it was."""
        return copy.deepcopy(self.unlearned)

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
        return self.snapshots.write(step, copy.deepcopy(self.unlearned))

    @property
    def steps(self) -> np.ndarray:
        """The recorded update numbers, from 0."""
        return self.curve["step"].unique()

    def last_useful(self, steps: Iterable[int] | None = None) -> int:
        """The last of these updates (None: all recorded ones) before kept accuracy had fallen 5 points, else the first.

        After that the model has collapsed, and its values for single samples mean little. ``steps`` holds one or more.
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
        """The metric that tells of forgetting on this run's task; where it was not recorded, the first that was."""
        told = self.settings.get("forgotten_when", ("accuracy",))[0]
        known = self.curve.loc[self.curve["split"] == "forget", "metric"].unique() if len(self.curve) else []
        return told if told in known or not len(known) else str(known[0])

    @property
    def forgot_nothing(self) -> bool:
        """Whether the updates did nothing to the forget set: no sample became wrong, and the headline stood still.

        Of a run of a few updates only where the loss stood still, too: it may be on its way. Of fewer than five, never; nor of
        a run that was stopped by its goal, such as the retrained model's loss, at which no sample needs to be wrong.
        """
        steps = self.events.get("steps") or 0
        if self.events.get("stopped_at") is not None:
            return False
        if steps < BRIEF or self.events.get("forgotten") or np.isnan(self.value("forget", self.headline)):
            return False
        # Of single samples a retrained model knows nearly all: loss tells.
        if self.events.get("goal", FORGOTTEN) != FORGOTTEN:
            return not self._moved("loss", 1)
        _, operator = self.settings.get("forgotten_when", ("accuracy", "<="))
        falls = operator in ("<=", "<")
        return not self._moved(self.headline, -1 if falls else 1) and (steps >= LONG or not self._moved("loss", 1))

    @property
    def retrained_values(self) -> dict[str, dict[str, float]]:
        """{split: {metric: value}} of the retrained model; empty without one."""
        known: dict[str, dict[str, float]] = {}
        for split, metric, value in zip(*(self.reference[name] for name in ("split", "metric", "value"))):
            known.setdefault(split, {})[metric] = float(value)
        return known

    def _moved(self, metric: str, sign: int) -> bool:
        """Whether a metric of the forget set has risen (fallen, for -1) in the run, by more than a hair."""
        first, last = (self.value("forget", metric, step) for step in (0, None))
        return sign * (last - first) > STOOD_STILL * abs(first)

    def value(self, split: str, metric: str, step: int | None = None) -> float:
        """One number of the curve, at a step (the last by default); NaN where it was not recorded."""
        mine = ((self.curve["split"] == split) & (self.curve["metric"] == metric)).to_numpy()
        if step is not None:
            mine = mine & (self.curve["step"].to_numpy() == step)
        values = self.curve["value"].to_numpy()[mine]
        return float(values[-1]) if len(values) else float("nan")

    def noise_floor(self, metric: str) -> dict[str, float]:
        """How far two of the references are from each other by this distance, on each split.

        Empty where the metric is no distance to the retrained model, and where the run was compared with fewer than two.
        """
        several = len((self.settings.get("compared_with") or {}).get("digests", ())) > 1
        if not several or describe(metric).goal is None:
            return {}
        rows = self.reference[self.reference["metric"] == metric]
        return dict(zip(rows["split"], rows["value"]))

    def series(self, split: str, metric: str) -> pd.Series:
        """One line of the curve: values indexed by step."""
        rows = self.curve[(self.curve["split"] == split) & (self.curve["metric"] == metric)]
        return rows.set_index("step")["value"]

    @checked
    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the run to one file that :func:`imu_lab.load_run` reads.

        Raises:
            FileExistsError: the path is taken and ``overwrite`` is False.
        """
        storage.write_whole(where := storage.path_of(path), self.packed(), overwrite)
        return where

    def packed(self) -> bytes:
        """What :meth:`save` writes."""
        tables = {name: getattr(self, name) for name in TABLES}
        about = {"settings": dict(self.settings), "events": dict(self.events)}
        snapshots = self.snapshots.pack() if self.snapshots is not None else b""
        told, held = self.statistics.packed() if self.statistics is not None else (None, b"")
        about |= {} if told is None else {"statistic": told}
        return storage.pack("run", tables, about, self.pack_weights(), snapshots, held)

    def report(self, path: str | Path, **how: Any) -> Path:
        """Write the run to one HTML file whose views are linked: :func:`imu_lab.report`, where all it takes is described.

        Records know no figures; the package's own front door is asked, when it is called.
        """
        return import_module(__package__.partition(".")[0]).report(self, path, **how)

    def summary(self) -> pd.DataFrame:
        """``split, before, after, retrained``: the headline metric on every split that has it, in a row each.

        Without a retrained model the last column is missing.
        """
        name, rows = self.headline, []
        known = (
            self.reference[self.reference["metric"] == name].set_index("split")["value"] if len(self.reference) else {}
        )
        for split in self.curve.loc[self.curve["metric"] == name, "split"].unique() if len(self.curve) else ():
            line = self.series(split, name)
            rows.append((split, line.iloc[0], line.iloc[-1], known.get(split, np.nan)))
        table = pd.DataFrame(rows, columns=["split", "before", "after", "retrained"])
        return table if len(known) else table.drop(columns="retrained")

    def __repr__(self) -> str:
        metric, table, events = self.headline, self.summary(), self.events
        parts = [self.label, f"{events.get('steps')} updates"]
        for split, value in zip(table["split"], table["after"]):
            parts.append(f"{split} {metric} {value:.3f}" if split == table["split"].iloc[0] else f"{split} {value:.3f}")
        if self.forgot_nothing:
            parts.append("nothing was forgotten")
        if events.get("utility_limit") is not None:
            parts.append(f"kept {metric} fell 5 points at update {events['utility_limit']}")
        if events.get("collapsed_at") is not None:
            parts.append(f"collapsed at update {events['collapsed_at']}")
        if events.get("diverged_at") is not None:
            parts.append(f"diverged at update {events['diverged_at']}")
        return f"Run({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return _as_html(repr(self), self.summary(), f"{describe(self.headline).title} on each split")


FORGOTTEN = "forgotten"  # the goal of a request that should be wrong in the end, such as a class
STOOD_STILL = 0.01  # of what a metric was at first: as little as that is no forgetting
# Updates: what fewer than so many did not do says nothing; after so many something should be forgotten.
BRIEF, LONG = 5, 20
SHOWN = 8  # rows of a long table in a notebook


def _as_html(title: str, table: pd.DataFrame, order: str) -> str:
    """A record for a notebook: what its repr says, and the first rows of its table."""
    more = f", {SHOWN} of {len(table)} rows" if len(table) > SHOWN else ""
    rows = table.head(SHOWN).to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    return f"<div><p>{html.escape(title)}</p>{rows}<p>{html.escape(order)}{more}</p></div>"


TABLES = ("curve", "samples", "trajectory", "terms", "reference")
