"""The same run again, with something changed: how a control, a what-if and a fork are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pandas as pd
from torch import nn

from ..core.records import Intensity, Run
from ..core.registry import metrics
from .verbs import unlearn

SAME = object()


def again(
    run: Run,
    weights: Any = SAME,
    *,
    start: int = 0,
    steps: int | None = None,
    seed: int | None = None,
    method: str | None = None,
    reference: nn.Module | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Event | None = None,
    watch: Callable[[Any], None] | None = None,
    **settings: Any,
) -> Run:
    """Unlearn once more as ``run`` did, but for what is named here.

    Args:
        run: with its task and its models; ``imu.load_run(path, task=...)`` where the file cannot make the task again.
        weights: other weights; None for uniform. Left out, those of the run.
        start: the recorded update whose model to start from; 0 is the original. The optimizer starts without momentum.
        steps, seed, method, settings: as in :func:`imu_lab.unlearn`; left out, those of the run. Another method starts
            with its own defaults.
        reference: the retrained model; without it, what the run knows of it is taken over.

    Raises:
        ValueError: the run has no task, did not keep the model of ``start``, or is a fork and ``start`` lies before it.
    """
    task, about = run.known_task(), run.settings
    left = about.get("forked")
    if left and start < left["step"]:
        raise ValueError(
            f"this run left {left['run']!r} at update {left['step']}: up to there it has the settings of that run, which are "
            "not its own. Take that run instead, and fork what you make of it"
        )
    other = method is not None and method != about["method"]
    own = {} if other else dict(about["settings"])
    made = unlearn(
        task,
        run.model_at(start),
        weights_of(run) if weights is SAME else weights,
        method or about["method"],
        steps=about["steps"] - start if steps is None else steps,
        seed=about["seed"] if seed is None else seed,
        stop_at=stop_rule(run, settings.pop("stop_at", about["stop_at"]), reference),
        reference=reference,
        record_every=settings.pop("record_every", about["record_every"]),
        follow=settings.pop("follow", followed(run, reference)),
        progress=progress,
        stop=stop,
        watch=watch,
        **own | settings,
    )
    return made if reference is not None else knowing(made, run)


def followed(run: Run, reference: nn.Module | None = None) -> list[Any] | None:
    """The metrics that a run followed, but for those that need a retrained model where none is given."""
    told = run.settings.get("follow")
    if told is None:
        return None
    kinds = [(metrics[each["metric"]], each["settings"]) for each in told]
    known = reference is not None
    return [kind(**settings) for kind, settings in kinds if known or not metrics.declared(kind, "needs_reference")]


def weights_of(run: Run) -> Intensity:
    """The weights that a run used, as a record."""
    frame = run.samples[["example", "influence", "selected", "weight"]].reset_index(drop=True)
    return Intensity(frame, frame[["example"]], dict(run.settings.get("weights", {})))


def knowing(made: Run, run: Run) -> Run:
    """``made`` with what ``run`` knows of the retrained model."""
    samples = made.samples
    if "confidence_retrained" in run.samples:
        known = run.samples.set_index("example")["confidence_retrained"]
        samples = samples.assign(confidence_retrained=known.reindex(samples["example"]).to_numpy())
    return replace(made, reference=run.reference, samples=samples)


def stop_rule(run: Run, stop_at: Any, reference: nn.Module | None = None) -> Any:
    """When to stop, with the retrained model's level as a number where only its number is known."""
    if stop_at == "retrained" and reference is None:
        metric, operator = run.settings["forgotten_when"]
        known: pd.Series = run.reference.set_index(["split", "metric"])["value"]
        return (metric, operator, float(known[("forget", metric)]))
    return tuple(stop_at) if isinstance(stop_at, list) else stop_at
