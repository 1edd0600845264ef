"""What if some samples were treated otherwise? The same run again with a changed request, beside the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from ..core.records import Intensity, Run
from ..tasks.variants.altered import Altered, altered
from .again import again, followed, stop_rule, weights_of
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

    Args:
        run: with its task and models.
        drop: forget samples that get no pressure; they stay in the forget set and are measured there.
        reweight: from forget samples to factors of their weights; 2 counts a sample twice, 0 drops it.
        keep: forget samples moved to the retain set: the request shrinks.
        flip: forget samples that are unlearned under another label: the one that the original finds likeliest after
            theirs. They keep their weights.
        double: forget samples that are there twice; the copies have new ids, and the weights of what they copy.
        request: training samples that make up a new request altogether, under uniform weights; nothing else may then
            be asked.
        changes: anything else, as in :func:`imu_lab.again`.

    Raises:
        ValueError: an example that is not in the forget set, or a request that this task cannot make.
        TypeError: labels to flip where a target is more than one label.
    """
    factors = {
        int(example): float(factor) for example, factor in {**dict.fromkeys(drop, 0.0), **(reweight or {})}.items()
    }
    keep, flip, double = ([int(example) for example in given] for given in (keep, flip, double))
    _check(run, factors, [*factors, *keep, *flip, *double])
    if request is not None:
        if factors or keep or flip or double:
            raise ValueError("a new request stands alone; make it first, and a what-if of that run next")
        return _on(run, requesting(run.task, request), None, **changes)
    weights = reweighted(weights_of(run), factors)
    if not (keep or flip or double):
        return again(run, weights, **changes)
    task = run.task
    if keep:
        left = [example for example in run.samples["example"] if example not in set(keep)]
        task, weights = requesting(task, left), remaining(weights, left)
    if flip or double:
        task = altered(task, run.model_at(0), flip, double)
        weights = with_copies(weights, task)
    changes.setdefault("stop_at", stop_rule(run, run.settings["stop_at"]))
    return _on(run, task, weights, **changes)


def _on(run: Run, task: Any, weights: Intensity | None, **changes: Any) -> Run:
    """What ``run`` did, on another task."""
    about = run.settings
    same = {name: about[name] for name in ("steps", "seed", "method", "record_every")}
    given = {**same, "follow": followed(run), **about["settings"], **changes}
    return unlearn(task, run.model_at(0), weights, **given)


def _check(run: Run, factors: Mapping[int, float], examples: Iterable[int]) -> None:
    run.known_task()
    left = run.settings.get("forked")
    if left:
        raise ValueError(
            f"this run left {left['run']!r} at update {left['step']}; ask what if of that run, and fork the answer"
        )
    wrong = [factor for factor in factors.values() if not (np.isfinite(factor) and factor >= 0)]
    if wrong:
        raise ValueError(f"a factor of a weight must be a number >= 0, got {wrong[0]}")
    known = set(run.samples["example"].tolist())
    strange = [example for example in examples if example not in known]
    if strange:
        raise ValueError(f"examples {strange[:5]} are not in the forget set, which holds {len(known)}")


def reweighted(weights: Intensity, factors: Mapping[int, float]) -> Intensity:
    """The weights with some multiplied; they sum to 1 again."""
    frame = weights.frame.copy()
    frame["weight"] = frame["weight"] * frame["example"].map(factors).fillna(1.0)
    if not frame["weight"].sum() > 0:
        raise ValueError("no sample is left with any weight; drop fewer")
    frame["weight"] /= frame["weight"].sum()
    frame["selected"] = frame["weight"] > 0
    if not factors:
        return Intensity(frame, weights.context, dict(weights.settings))
    by_factor: dict[float, list[int]] = {}
    for example, factor in factors.items():
        by_factor.setdefault(factor, []).append(int(example))
    told = [f"{len(mine)} dropped" if not factor else f"{len(mine)} × {factor:g}" for factor, mine in by_factor.items()]
    changed = {f"× {factor:g}": sorted(mine) for factor, mine in by_factor.items()}  # two fives are two experiments
    rule = ", ".join([str(weights.settings.get("rule")), *told])
    return Intensity(frame, weights.context, {**weights.settings, "rule": rule, "changed": changed})


def remaining(weights: Intensity, examples: Iterable[int]) -> Intensity:
    """The weights of these examples alone; they sum to 1 again."""
    frame = weights.frame[weights.frame["example"].isin(list(examples))].reset_index(drop=True)
    frame = frame.assign(weight=frame["weight"] / frame["weight"].sum())
    rule = f"{weights.settings.get('rule')}, {len(weights) - len(frame)} kept"
    return Intensity(frame, frame[["example"]], {**weights.settings, "rule": rule})


def with_copies(weights: Intensity, task: Altered) -> Intensity:
    """The weights of a forget set whose doubled samples come once more at its end; they sum to 1 again."""
    copies = weights.frame.set_index("example").loc[list(task.doubled)].assign(example=task.copies.numpy())
    frame = pd.concat([weights.frame, copies], ignore_index=True)
    frame["weight"] /= frame["weight"].sum()
    parts = {"relabelled": task.relabelled, "doubled": task.doubled}
    told = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part)
    return Intensity(frame, frame[["example"]], {**weights.settings, "rule": f"{weights.settings.get('rule')}, {told}"})


def requesting(task: Any, examples: Iterable[int]) -> Any:
    """The same task with another request: these training samples, by index.

    Raises:
        ValueError: a task whose requests are no samples, such as persons or sources, or one that was altered.
    """
    if isinstance(task, Altered):
        raise ValueError(
            f"this request has {len(task.relabelled)} samples relabelled and {len(task.doubled)} doubled, and cannot be made "
            "smaller or exchanged; ask it of the run before that, together with flip= or double="
        )
    names = {field.name for field in fields(task)}
    if "forget_indices" not in names:
        raise ValueError(f"{type(task).__name__} forgets no single samples; make another task for another request")
    others = {name: None for name in names if name.startswith("forget_")}
    return replace(task, **others | {"forget_indices": tuple(sorted(int(example) for example in examples))})


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


__all__ = ["differences", "remaining", "requesting", "reweighted", "subset", "what_if", "with_copies"]
