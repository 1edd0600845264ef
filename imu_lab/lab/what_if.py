"""What if some samples were treated otherwise? The same run again with a changed request, next to the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from ..core.messages import kind_of, listed
from ..core.records import Intensity, Run
from ..core.registry import methods
from ..core.taken import several_examples
from ..intensities import normalised
from ..tasks.protocol import Task, with_request
from ..tasks.variants.altered import Altered, altered
from .again import again, carried, followed, stop_at_of, weights_of, with_found
from .verbs import unlearn


def what_if(
    run: Run,
    *,
    drop: Iterable[int] = (),
    reweight: Mapping[int, float] | None = None,
    keep: Iterable[int] = (),
    flip: Iterable[int] = (),
    double: Iterable[int] = (),
    request: Iterable[int] | None = None,
    **changes: Any,
) -> Run:
    """``run`` again with some samples treated otherwise.

    >>> other = imu.what_if(run, drop=[108, 44])  # the same run without pressure on these two
    >>> imu.compare([run, other])

    Args:
        run: with its task and models.
        drop: forget samples that get no pressure; they stay in the forget set and are measured there.
        reweight: from forget samples to factors of their weights; 2 counts a sample twice, 0 drops it.
        keep: forget samples moved to the retain set: the request shrinks.
        flip: forget samples unlearned under another label: the one that the original finds likeliest after theirs. They
            keep their weights.
        double: forget samples to duplicate, each once; the copies have new ids, and the weights of what they copy.
        request: training samples that make up an entirely new request, under uniform weights; it cannot be combined
            with the others.
        changes: anything else, as in :func:`imu_lab.again`.

    Raises:
        ValueError: an example that is not in the forget set, is to be doubled twice, or treated in two ways of which one undoes
            the other, a request that this task cannot make, other weights for a method that takes none, nobody left to press,
            or a run that is a fork or has no task.
        TypeError: samples that are given otherwise than by index, such as by a mask; or labels to flip where a target is more
            than one label.
    """
    given = {
        "drop": drop,
        "reweight": {} if reweight is None else reweight,
        "keep": keep,
        "flip": flip,
        "double": double,
    }
    named = {name: several_examples(each, f"{name}=") for name, each in given.items()}
    drop, weighed, keep, flip, double = named.values()
    asked = None if request is None else several_examples(request, "request=")
    factors = dict.fromkeys(drop, 0.0) | dict(zip(weighed, _factors(given["reweight"])))
    check(run, factors, [*factors, *keep, *flip, *double], changes)
    _check_treated_once(named)
    if request is not None:
        if factors or keep or flip or double:
            raise ValueError(
                "request= cannot be combined with drop=, reweight=, keep=, flip= or double=; make the run with the new "
                "request first, then call what_if on that run"
            )
        return on_task(run, requesting(run.task, asked), None, **changes)
    weights = reweighted(weights_of(run), factors)
    if not (keep or flip or double):
        return again(run, weights, **changes)
    task = run.task
    if keep:
        remaining_examples = [example for example in run.samples["example"] if example not in set(keep)]
        task, weights = requesting(task, remaining_examples), remaining(weights, remaining_examples)
    if flip or double:
        task = altered(task, run.model_at(0), flip, double)
        weights = with_copies(weights, task)
    changes.setdefault("stop_at", stop_at_of(run, run.settings["stop_at"]))
    return on_task(run, task, weights, **changes)


def _check_treated_once(named: Mapping[str, list[int]]) -> None:
    """Raise ValueError for a sample that is to be treated in two ways of which one undoes the other."""
    for one, other in (("drop", "reweight"), *(("keep", name) for name in named if name != "keep")):
        if both := sorted({*named[one]} & {*named[other]}):
            raise ValueError(
                f"{one}= and {other}= both name {listed(both)}, and one would undo the other; name it in one"
            )


def _factors(reweight: Any) -> list[float]:
    """The factors of a mapping from samples to numbers.

    Raises:
        TypeError: it is no mapping.
        ValueError: a factor that is none: a word, or a number that makes no weight.
    """
    if not isinstance(reweight, Mapping):
        raise TypeError(f"reweight= maps samples to factors, as in {{108: 2.0}}; got {kind_of(reweight)}")
    for factor in reweight.values():
        if isinstance(factor, bool) or not isinstance(factor, Real) or not 0 <= factor < float("inf"):
            raise ValueError(f"a factor of a weight must be a number >= 0, got {factor!r}")
    return [float(factor) for factor in reweight.values()]


def on_task(run: Run, task: Task, weights: Intensity | None, **changes: Any) -> Run:
    """The same run on another task."""
    settings, changes = run.settings, {**changes, "statistics": carried(run, changes.get("statistics"))}
    same = {name: settings[name] for name in ("steps", "seed", "method", "record_every")}
    other = unlearn(
        task, run.model_at(0), weights, **{**same, "follow": followed(run), **settings["settings"], **changes}
    )
    return other if {"method", "lr"} & set(changes) else with_found(other, run)


def check(run: Run, factors: Mapping[int, float], examples: Iterable[int], changes: Mapping[str, Any]) -> None:
    """Make sure that ``run`` can be made again with these samples treated otherwise.

    Raises:
        ValueError: as :func:`what_if`.
    """
    run.known_task()
    if origin := run.settings.get("forked"):
        raise ValueError(
            f"this run was forked from {origin['run']!r} at update {origin['step']}; call what_if on that run, and fork the "
            "result"
        )
    used = changes.get("method", run.settings["method"])
    if factors and not methods.declared(used, "takes_weights"):
        raise ValueError(
            f"method {used!r} takes no weights, so drop= and reweight= would change nothing; take samples out of the request "
            "with keep=, or ask this of a run by a method that takes weights, such as 'imu'"
        )
    forget = set(run.samples["example"].tolist())
    outside = [example for example in examples if example not in forget]
    if outside:
        raise ValueError(f"examples {outside[:5]} are not in the forget set, which holds {len(forget)}")


def reweighted(weights: Intensity, factors: Mapping[int, float]) -> Intensity:
    """The weights with some multiplied; they sum to 1 again."""
    frame = weights.frame.copy()
    frame["weight"] = _shared(frame["weight"] * frame["example"].map(factors).fillna(1.0), "drop")
    frame["selected"] = frame["weight"] > 0
    if not factors:
        return Intensity(frame, weights.context, dict(weights.settings))
    groups: dict[float, list[int]] = {}
    for example, factor in factors.items():
        groups.setdefault(factor, []).append(int(example))
    words = [
        f"{len(examples)} × {factor:g}" if factor else f"{len(examples)} dropped" for factor, examples in groups.items()
    ]
    # Which examples, too: five dropped and five others dropped are two experiments, not two seeds of one.
    changed = {f"× {factor:g}": sorted(examples) for factor, examples in groups.items()}
    rule = ", ".join([str(weights.settings.get("rule")), *words])
    return Intensity(frame, weights.context, {**weights.settings, "rule": rule, "changed": changed})


def _shared(weights: pd.Series, less: str) -> np.ndarray:
    """(n,) weights that sum to 1 again.

    Raises:
        ValueError: all are zero, since too many were left out; ``less`` is what to do less.
    """
    if not (weights > 0).any():
        raise ValueError(f"no sample is left with any weight; {less} fewer")
    return normalised(weights.to_numpy())


def remaining(weights: Intensity, examples: Iterable[int]) -> Intensity:
    """The weights of these examples alone; they sum to 1 again."""
    frame = weights.frame[weights.frame["example"].isin(list(examples))].reset_index(drop=True)
    frame = frame.assign(weight=_shared(frame["weight"], "keep"))
    rule = f"{weights.settings.get('rule')}, {len(weights) - len(frame)} kept"
    return Intensity(frame, frame[["example"]], {**weights.settings, "rule": rule})


def with_copies(weights: Intensity, task: Altered) -> Intensity:
    """The weights of a forget set with its duplicates at the end; they sum to 1 again."""
    copies = weights.frame.set_index("example").loc[list(task.doubled)].assign(example=task.copies.numpy())
    frame = pd.concat([weights.frame, copies], ignore_index=True)
    frame["weight"] /= frame["weight"].sum()
    parts = {"relabelled": task.relabelled, "doubled": task.doubled}
    words = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part)
    rule = f"{weights.settings.get('rule')}, {words}"
    return Intensity(frame, frame[["example"]], {**weights.settings, "rule": rule})


def requesting(task: Task, examples: Iterable[int]) -> Task:
    """The same task with another request: these training samples, by index.

    Raises:
        ValueError: a task whose requests are not single samples, such as persons or sources, or one that was altered.
    """
    if isinstance(task, Altered):
        raise ValueError(
            f"the request of this run has {len(task.relabelled)} samples relabelled and {len(task.doubled)} doubled, so no "
            "other request can be made from it; call what_if on the run before that, together with flip= or double="
        )
    return with_request(task, examples)


def differences(run: Run, other: Run) -> pd.DataFrame:
    """What changed for each forget sample that both runs have: time to forget, final confidence, margin.

    Returns:
        ``example``, and per quantity its value in ``run``, in ``other`` (``_other``) and the difference (``_change``),
        largest change of final margin first.
    """
    names = ["time_to_forget", "confidence_after", "margin_after", "pressure"]
    both = run.samples[["example", *names]].merge(
        other.samples[["example", *names]], on="example", suffixes=("", "_other")
    )
    for name in names:
        both[f"{name}_change"] = both[f"{name}_other"] - both[name]
    order = np.argsort(-both["margin_after_change"].abs().to_numpy(), kind="stable")
    return both.iloc[order].reset_index(drop=True)


def subset(run: Run, examples: Iterable[int], most: int = 1000) -> Run:
    """The same run seen through some of its forget samples; of more than ``most``, evenly spaced ones follow each update.

    Its curves stay those of all samples.
    """
    wanted = np.asarray(list(examples), dtype=int)
    samples = run.samples[run.samples["example"].isin(wanted)]
    shown = samples["example"].to_numpy()
    if len(shown) > most:
        shown = shown[np.unique(np.linspace(0, len(shown) - 1, most).round().astype(int))]
    ids = run.samples["example"].to_numpy()
    columns = np.flatnonzero(np.isin(ids, shown))
    rows = (np.arange(len(run.trajectory) // max(1, len(ids)))[:, None] * len(ids) + columns).ravel()
    return replace(run, samples=samples, trajectory=run.trajectory.iloc[rows])
