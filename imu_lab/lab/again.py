"""The same run again with something changed: how a control, a what-if and a fork are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
from torch import nn

from ..core.records import Intensity, Run
from ..core.registry import methods, metrics
from ..features.statistics import Statistics
from ..measures.ensemble import References
from ..unlearning import driver
from .handed import Carried
from .verbs import session_of, unlearn

SAME: Any = object()  # stands for the run's own weights, as None stands for uniform ones


def again(
    run: Run,
    weights: Intensity | np.ndarray | None = SAME,
    *,
    start: int = 0,
    steps: int | None = None,
    seed: int | None = None,
    method: str | None = None,
    reference: nn.Module | References | None = None,
    statistics: Statistics | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Event | None = None,
    watch: Callable[[Any], None] | None = None,
    **settings: Any,
) -> Run:
    """Unlearn once more as ``run`` did, except for what is named here.

    >>> uniform = imu.again(run, weights=None)  # the control: the same run under uniform pressure

    Args:
        run: with its task and its models; ``imu.load_run(path, task=...)`` where the file cannot make the task again.
        weights: other weights; None for uniform. By default those of the run.
        start: the recorded update whose model to start from; 0 is the original. The optimizer starts without momentum.
        steps, seed, method, settings: as in :func:`imu_lab.unlearn`; by default those of the run. Another method starts
            with its own defaults.
        reference: the retrained model, or several; without it, what the run recorded of it is used again.
        statistics: of the training set under the original, wherever this starts; by default what the run used.

    Raises:
        ValueError: the run has no task, did not keep the model of ``start``, or is a fork and ``start`` lies before it.
    """
    task, recorded = run.known_task(), run.settings
    origin = recorded.get("forked")
    if origin and start < origin["step"]:
        raise ValueError(
            f"this run was forked from {origin['run']!r} at update {origin['step']}, and up to there it has the settings of "
            "that run; call again on that run, and fork the result"
        )
    same_method, since = method is None or method == recorded["method"], began_at(run, start, method)
    finds_shares = methods.declared(method, "finds_shares")
    other = unlearn(
        task,
        run.model_at(start),
        (None if finds_shares else weights_of(run)) if weights is SAME else weights,
        recorded["method"] if method is None else method,
        steps=recorded["steps"] - start if steps is None else steps,
        seed=recorded["seed"] if seed is None else seed,
        stop_at=stop_at_of(run, settings.pop("stop_at", recorded["stop_at"]), reference),
        reference=reference,
        statistics=carried(run, statistics, start, since),
        record_every=settings.pop("record_every", recorded["record_every"]),
        follow=settings.pop("follow", followed(run, reference)),
        progress=progress,
        stop=stop,
        watch=watch,
        **(dict(recorded["settings"]) if same_method else {}) | settings,
    )
    other = with_found(other, run) if same_method and "lr" not in settings else other
    return other if reference is not None else with_reference_of(other, run)


def began_at(run: Run, start: int, method: Any = None) -> int:
    """The update at which the method began that goes on with a run at ``start``; ``start`` itself where it is another one."""
    mine = method is None or method == run.settings["method"]
    origin = run.settings.get("forked") or {"step": 0}
    return origin.get("since", origin["step"]) if mine else start


def carried(run: Run, asked: Statistics | None, start: int = 0, since: int = 0) -> Any:
    """What another run goes on with that is made from this one; a statistic of the original, if it has to be computed."""
    task, began = run.known_task(), None
    if start > since:
        began = lambda: session_of(task, run.model_at(since))  # noqa: E731
    return Carried(run, asked, lambda: session_of(task, run.model_at(0)), began, start - since)


def followed(run: Run, reference: Any = None) -> list[Any] | None:
    """The metrics that a run followed, except those that need a retrained model where none is given."""
    recorded = run.settings.get("follow")
    if recorded is None:
        return None
    kinds = [(metrics[each["metric"]], each["settings"]) for each in recorded]
    return [
        kind(**settings)
        for kind, settings in kinds
        if reference is not None or not metrics.declared(kind, "needs_reference")
    ]


def weights_of(run: Run) -> Intensity:
    """The weights that a run used, as a record."""
    frame = run.samples[["example", "influence", "selected", "weight"]].reset_index(drop=True)
    return Intensity(frame, frame[["example"]], dict(run.settings.get("weights", {})))


def with_found(other: Run, run: Run) -> Run:
    """``other``, which has the learning rate of ``run``, with what ``run`` tells of whether it was found."""
    told = {"found": run.settings["found"]} if "found" in run.settings else {}
    return replace(other, settings={**other.settings, **told})


def with_reference_of(other: Run, run: Run) -> Run:
    """``other`` with what ``run`` recorded of the retrained model."""
    samples = other.samples
    if "confidence_retrained" in run.samples:
        confidence = run.samples.set_index("example")["confidence_retrained"]
        samples = samples.assign(confidence_retrained=confidence.reindex(samples["example"]).to_numpy())
    told = {"compared_with": run.settings["compared_with"]} if "compared_with" in run.settings else {}
    settings = {**other.settings, **told}
    return replace(other, reference=run.reference, samples=samples, settings=settings, beside=run.beside)


def stop_at_of(run: Run, stop_at: Any, reference: Any = None) -> Any:
    """When to stop; without a retrained model its level is the number that the run recorded."""
    spoken = stop_at[-1] if isinstance(stop_at, (tuple, list)) and stop_at else stop_at
    if isinstance(spoken, str) and spoken == driver.RETRAINED and reference is None:
        rule = driver.stop_rule(stop_at, run.retrained_values, tuple(run.settings["forgotten_when"]))
        return (f"{rule.split} {rule.metric}", rule.operator, rule.value)
    return tuple(stop_at) if isinstance(stop_at, list) else stop_at
