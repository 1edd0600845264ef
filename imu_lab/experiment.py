"""The user's verbs: influence, intensity, unlearn, compare, load_run; and the Session that keeps what they share."""

from __future__ import annotations

import copy
import platform
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from . import archive, readout, registry, tasks
from .gradients import LinearGradients, gradients_of
from .results import TABLES, Influence, Intensity, Run
from .tasks.compute import digest, one_thread
from .tasks.protocol import Examples, Task, evaluation_splits
from .tasks.training import train as train
from .unlearning import driver
from .unlearning.recorder import Recorder, outcomes
from .unlearning.request import Request


class Session:
    """One task and one original model, with what every verb on them needs: the readout and its cached inputs.

    The model is copied when the session is made, so editing it afterwards changes nothing here.
    """

    def __init__(self, task: Task, model: nn.Module, reference: nn.Module | None = None) -> None:
        self.task, self.reference = task, reference
        self.model = copy.deepcopy(model).eval()
        self.names = readout.resolve(task, self.model)
        probe = task.split("forget").batch(slice(0, 2)).to(readout.device_of(self.model)).inputs
        self.linear = readout.is_linear(self.model, self.names, probe)
        self._cached: tuple[readout.CachedTask, nn.Linear] | None = None
        self._references: dict[str, driver.Measured] = {}

    def view(self, cache: bool = True, scope: str = "readout") -> tuple[Task, nn.Module]:
        """The task and model to work on: seen from the readout where that gives the same result, else the full ones."""
        if not (cache and self.linear and scope == "readout"):
            return self.task, self.model
        if self._cached is None:
            self._cached = readout.cached(self.task, self.model, self.names[0])
        return self._cached

    def influence(self, estimator: Any = "fisher-diagonal", *, target: Any = "forget", cache: bool = True,
                  **settings: Any) -> Influence:
        """See :func:`influence`."""
        estimate = registry.estimators.create(estimator, **settings)
        task, model = self.view(cache)
        forget = task.split("forget")
        with _threads(task):
            values = estimate(task, model, forget, _target(task, target, forget))
            context = self._context(task, model, forget)
        values = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
        if values.shape != (len(forget),) or not np.isfinite(values).all():
            raise ValueError(f"estimator {estimate!r} gave {int((~np.isfinite(values)).sum())} values that are not finite, in "
                             f"shape {values.shape}, for {len(forget)} samples; is the model's output finite?")
        ids = forget.ids.numpy()
        about = {"estimator": getattr(type(estimate), "name", type(estimate).__name__), "settings": _plain(estimate),
                 "target": target if isinstance(target, str) else repr(target), "task": repr(self.task)}
        return Influence(pd.DataFrame({"example": ids, "influence": values}), context, about)

    def _context(self, task: Task, model: nn.Module, forget: Examples) -> pd.DataFrame:
        losses = outcomes(task, model, forget)[:, 0].double().numpy()
        context = pd.DataFrame({"example": forget.ids.numpy(), "loss": losses, "confidence": np.exp(-losses)})
        gradients = gradients_of(task, model)
        if isinstance(gradients, LinearGradients):  # two small matrix products; any other readout pays a pass for them
            context["gradient_norm"] = gradients.norms(forget).double().cpu().numpy()
            context["gradient_dot"] = -gradients.along(forget, gradients.mean(forget)).double().cpu().numpy()
        return context

    def intensity(self, scores: Influence, rule: Any = "sqrt-clipped", **settings: Any) -> Intensity:
        """See :func:`intensity`."""
        return intensity(scores, rule, **settings)

    def defaults(self, method: str = "imu") -> dict[str, Any]:
        """A method's settings as this task starts them: its own where it declares them, else the method's."""
        kind = registry.methods[method]
        own = getattr(self.task, "unlearning", {})
        return registry.settings(kind(**{f.name: own[f.name] for f in fields(kind) if f.name in own}))

    def unlearn(self, weights: Any = None, method: Any = "imu", *, steps: int = 50, seed: int = 0, stop_at: Any = None,
                reference: nn.Module | None = None, cache: bool = True, record_every: int = 1,
                progress: Callable[[int, int], None] | None = None, stop: Event | None = None, **settings: Any) -> Run:
        """See :func:`unlearn`."""
        if isinstance(method, str):
            settings = {**self.defaults(method), **settings}
        how = registry.methods.create(method, **settings)
        task, model = self.view(cache, getattr(how, "scope", "readout"))
        known = self.measured(reference if reference is not None else self.reference)
        request = Request(task.split("forget"), torch.as_tensor(_checked_weights(weights, task.split("forget"))),
                          task.split("retain") if getattr(how, "needs_retain", False) else None, int(seed))
        private = _private(model, readout.resolve(task, model) if getattr(how, "scope", "readout") == "readout" else None)
        rule = driver.stop_rule(stop_at, known)
        started = time.perf_counter()
        with _threads(task):
            state = _follow(driver.drive(task, private, how, request, _count(steps), rule, record_every), steps, progress, stop)
        events = _events(state, time.perf_counter() - started)
        about = {"method": getattr(type(how), "name", type(how).__name__), "settings": _plain(how), "steps": int(steps),
                 "seed": int(seed), "stop_at": stop_at, "record_every": record_every, "cached": task is not self.task,
                 "weights": _weights_about(weights), "readout": list(self.names), "task": repr(self.task),
                 "task_settings": _task_settings(self.task), "versions": _versions()}
        if events["diverged_at"]:
            warnings.warn(f"the run diverged at update {events['diverged_at']}: {about['method']} with lr="
                          f"{about['settings'].get('lr')} made the loss or the weights infinite; the model of the update "
                          "before and all that was recorded are kept", stacklevel=3)
        return self._record(state.recorder, weights, task, private, known, about, events)

    def _record(self, recorder: Recorder, weights: Any, task: Task, private: nn.Module, known: driver.Measured,
                about: dict, events: dict) -> Run:
        rows = [(split, metric, value) for split, values in known.items() for metric, value in values.items()]

        def build() -> nn.Module:
            unlearned = private if task is self.task else readout.graft(self.model, self.names[0], private)
            return copy.deepcopy(unlearned).eval().requires_grad_(True)

        def pack() -> bytes:
            state = build().state_dict()
            return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in state.items()})

        return Run(recorder.curve(), _ledger(recorder, weights, self.task), recorder.trajectory(), recorder.term_table(),
                   pd.DataFrame(rows, columns=["split", "metric", "value"]), about, events, build, pack, self.task)

    def measured(self, reference: nn.Module | None) -> driver.Measured:
        """The retrained model's metrics on every split, measured once per model; empty without one."""
        if reference is None:
            return {}
        key = digest(*(part for item in reference.state_dict().items() for part in item))
        if key not in self._references:
            splits = [name for name in evaluation_splits(self.task) if len(self.task.split(name))]
            found = {split: dict(self.task.evaluate(reference, split)) for split in splits}
            found["forget"]["loss"] = outcomes(self.task, reference, self.task.split("forget"))[:, 0].mean().item()
            self._references[key] = found
        return self._references[key]


_sessions: OrderedDict[Any, Session] = OrderedDict()  # by content, so that a sequence of verbs caches features once


def _session(task: Task, model: nn.Module) -> Session:
    """The session of this task and this model's content; the last four are kept."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}; arguments are (task, model, ...)")
    key = (task, readout.backbone_digest(model, ""))
    if key not in _sessions:
        _sessions[key] = Session(task, model)
    _sessions.move_to_end(key)
    while len(_sessions) > 4:
        _sessions.popitem(last=False)
    return _sessions[key]


def influence(task: Task, model: nn.Module, estimator: Any = "fisher-diagonal", *, target: Any = "forget",
              cache: bool = True, **settings: Any) -> Influence:
    """How much each forget sample supports the target's loss; negative means: pressing it raises that loss.

    Args:
        task, model: whose forget set, under which model.
        estimator: a name in ``imu_lab.estimators``, or an instance; ``settings`` are its fields.
        target: whose mean gradient to compare with: a split's name, ``Examples``, or ``(split, positions)``.
        cache: work on cached features where the readout is linear; the result is the same.

    Raises:
        UnknownName, TypeError, ValueError: an unknown estimator, setting or split, or values that are not finite.
    """
    return _session(task, model).influence(estimator, target=target, cache=cache, **settings)


def intensity(scores: Influence, rule: Any = "sqrt-clipped", **settings: Any) -> Intensity:
    """Each forget sample's share of the pressure, from its influence.

    Args:
        scores: from :func:`influence`.
        rule: a name in ``imu_lab.intensity_rules``, or an instance; ``settings`` are its fields.

    Raises:
        ValueError: the rule gave every sample zero, or weights that are negative or not finite.
    """
    chosen = registry.intensity_rules.create(rule, **settings)
    column = getattr(chosen, "reads", "influence")
    table = scores.frame if column in scores.frame else scores.context
    if column not in table:
        raise ValueError(f"rule {chosen!r} reads {column!r}, which these scores do not carry (the readout is not one linear "
                         f"layer); they have: {', '.join([*scores.frame, *scores.context])}")
    given = table[column].to_numpy().copy()
    weights = np.asarray(chosen(given), dtype=np.float64)
    if weights.shape != given.shape or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"rule {chosen!r} must give one finite weight >= 0 per sample; for {len(given)} samples it gave "
                         f"shape {weights.shape}, smallest {weights.min() if weights.size else None}")
    if not weights.sum() > 0:
        negative = int((scores.values < 0).sum())
        raise ValueError(f"rule {chosen!r} left no sample any weight: {negative} of {len(scores)} influences are negative "
                         "(negative means ascend); with another target than the forget set there may be none")
    frame = scores.frame.assign(selected=weights > 0, weight=weights / weights.sum())
    about = {"rule": getattr(type(chosen), "name", type(chosen).__name__), "settings": _plain(chosen),
             "influence": dict(scores.settings)}
    return Intensity(frame, scores.context, about)


def unlearn(task: Task, model: nn.Module, weights: Any = None, method: Any = "imu", *, steps: int = 50,
            seed: int = 0, seeds: Iterable[int] | None = None, stop_at: Any = None, reference: nn.Module | None = None,
            cache: bool = True, record_every: int = 1, progress: Callable[[int, int], None] | None = None,
            stop: Event | None = None, **settings: Any) -> Run | list[Run]:
    """Forget, following every sample through every update. ``model`` itself is untouched.

    Args:
        task, model: what to forget, from which original.
        weights: an :class:`Intensity`, (n,) numbers ≥ 0, or None for uniform.
        method: a name in ``imu_lab.methods``, or an instance; ``settings`` are its fields (for ``"imu"``: lr, alpha,
            momentum, weight_decay, batch_size, optimizer, step_norm, normalise). A task may declare its own defaults.
        steps: the number of updates at most.
        seed: of the batch order; ``seeds`` instead gives a list of runs, one per seed.
        stop_at: a forget accuracy, ``"retrained"`` (the reference's), or ``(metric, "<=", value)``.
        reference: the retrained model, to measure the distance to.
        cache: work on cached features where the method moves only a linear readout; the result is the same.
        record_every: record each k-th update (and the last).
        progress: called with (updates made, updates asked); None shows a bar for work longer than two seconds.
        stop: an event that ends the run at the next update; what was recorded is kept. So does an interrupt.

    Raises:
        UnknownName, TypeError, ValueError: an unknown method or setting, or weights that do not fit the forget set.

    Warns:
        UserWarning: the run diverged; it stopped by itself and kept the last finite model.
    """
    how = dict(method=method, steps=steps, stop_at=stop_at, reference=reference, cache=cache, record_every=record_every,
               progress=progress, stop=stop, **settings)
    session = _session(task, model)
    if seeds is None:
        return session.unlearn(weights, seed=seed, **how)
    return [session.unlearn(weights, seed=each, **how) for each in seeds]


def compare(runs: Iterable[Run] | Run, at_forget: Any = None) -> pd.DataFrame:
    """One row per run: its metrics, and their gaps to the retrained model where a run knows it.

    Args:
        runs: any runs, also loaded ones.
        at_forget: compare each run at its first recorded update whose forget accuracy is at or below this (or that
            meets ``(metric, "<=", value)``): at equal forgetting. None compares the last updates. A run that never gets
            there has ``reached`` False and no numbers.

    Returns:
        DataFrame: ``run, seed, updates, reached``, then ``<split> <metric>``, ``<split> <metric> change`` (since the
        original model) and ``<split> <metric> gap`` (to the retrained model).
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    rule = driver.stop_rule(at_forget, None)
    return pd.DataFrame([_row(run, rule) for run in runs])


def _row(run: Run, rule: driver.StopRule | None) -> dict[str, Any]:
    wide = run.curve.pivot(index="step", columns=["split", "metric"], values="value")
    step: float = wide.index[-1]
    if rule is not None:
        if (rule.split, rule.metric) not in wide:
            raise registry.unknown("metric to compare at", f"{rule.split} {rule.metric}", [" ".join(key) for key in wide])
        met = wide.index[driver.COMPARISONS[rule.operator](wide[(rule.split, rule.metric)], rule.value)]
        step = met[0] if len(met) else np.nan
    row = {"run": run.label, "seed": run.settings.get("seed"), "updates": step, "reached": step == step}
    retrained = run.reference.set_index(["split", "metric"])["value"]
    keys = list(dict.fromkeys(zip(run.curve["split"], run.curve["metric"])))
    for key in keys:
        value = wide.at[step, key] if row["reached"] else np.nan
        row[" ".join(key)] = value
        row[" ".join(key) + " change"] = value - wide.at[0, key]
        row[" ".join(key) + " gap"] = value - retrained.get(key, np.nan)
    return row


def load_run(path: str | Path, task: Task | None = None, model: nn.Module | None = None) -> Run:
    """A run that was saved with ``run.save``.

    Args:
        path: the file.
        task: the task, for a run on a user's own data; other tasks are made again from their settings.
        model: any model of the right architecture, to hold the weights; None asks the task for one.

    Raises:
        FileNotFoundError: no such file.
        DamagedFile: truncated, altered or foreign.
    """
    tables, about, weights = archive.unpack(path, "run")
    missing = [name for name in TABLES if name not in tables]
    if missing:
        raise archive.DamagedFile(f"{path} lacks the tables {registry.listed(missing)}; it is not a whole run")
    task = task if task is not None else _task_again(about["settings"].get("task_settings"))

    def build() -> nn.Module:
        if model is None and task is None:
            raise ValueError(f"the run in {path} was made on {about['settings'].get('task')}, which cannot be made again from "
                             "its settings; pass load_run(path, task=...) or model=... to get the model")
        whole = copy.deepcopy(model) if model is not None else task.make_model(0)
        whole.load_state_dict(safetensors.torch.load(weights))
        return whole.eval()

    return Run(**{name: tables[name] for name in TABLES}, settings=about["settings"], events=about["events"],
               build_model=build, pack_weights=lambda: weights, task=task)


def _task_again(about: Mapping | None) -> Task | None:
    if not about or not hasattr(tasks, about["kind"]):
        return None
    kind = getattr(tasks, about["kind"])
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in about["settings"].items()}
    if isinstance(given.get("recipe"), dict):
        given["recipe"] = tasks.Recipe(**given["recipe"])
    try:
        return kind(**given)
    except (FileNotFoundError, ValueError):
        return None  # the data moved: the tables are still good


def _task_settings(task: Task) -> dict[str, Any] | None:
    """What makes the task again, or None where plain values cannot."""
    kind = type(task)
    if not is_dataclass(task) or getattr(tasks, kind.__name__, None) is not kind:
        return None
    values = _plain(task)
    return None if any(isinstance(value, str) and value.startswith("<") for value in values.values()) else {
        "kind": kind.__name__, "settings": values}


def _plain(thing: Any) -> dict[str, Any]:
    """A dataclass's settings as plain values that JSON can hold; anything else by its repr in angle brackets."""
    if not is_dataclass(thing):
        return {"repr": repr(thing)}

    def plain(value: Any) -> Any:
        if isinstance(value, tasks.Recipe):
            return asdict(value)
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value if value is None or isinstance(value, (bool, int, float, str)) else f"<{value!r}>"

    return {name: plain(value) for name, value in registry.settings(thing).items()}


def _versions() -> dict[str, str]:
    from . import __version__

    return {"imu_lab": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _threads(task: Task) -> Any:
    """One thread for the small products of a cached task, all cores for whole models."""
    return one_thread() if isinstance(task, readout.CachedTask) else nullcontext()


def _target(task: Task, target: Any, forget: Examples) -> Examples:
    if isinstance(target, str):
        examples = forget if target == "forget" else task.split(target)
    elif isinstance(target, Examples):
        examples = task.seen(target) if isinstance(task, readout.CachedTask) else target
    elif isinstance(target, tuple) and len(target) == 2:
        examples = task.split(target[0]).take(torch.as_tensor(target[1]).reshape(-1))
    else:
        raise TypeError(f"target must be a split's name, Examples or (split, positions); got {target!r}")
    if not len(examples):
        raise ValueError(f"the target {target!r} holds no examples")
    return examples


def _checked_weights(weights: Any, forget: Examples) -> np.ndarray:
    """(n,) weights that sum to 1."""
    if weights is None:
        return np.full(len(forget), 1 / len(forget))
    if isinstance(weights, Intensity):
        if not np.array_equal(weights.frame["example"], forget.ids.numpy()):
            raise ValueError(f"these weights speak of {len(weights)} other examples than the task's {len(forget)} to forget; "
                             "compute them on the same task")
        return weights.values.copy()
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (len(forget),) or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
        raise ValueError(f"weights must be {len(forget)} finite numbers >= 0, one per forget sample and not all zero; got "
                         f"shape {values.shape}")
    return values / values.sum()


def _weights_about(weights: Any) -> dict[str, Any]:
    if weights is None:
        return {"rule": "uniform"}
    return dict(weights.settings) if isinstance(weights, Intensity) else {"rule": "given"}


def _count(steps: Any) -> int:
    if int(steps) != steps or steps < 0:
        raise ValueError(f"steps must be a whole number >= 0, got {steps!r}")
    return int(steps)


def _private(model: nn.Module, names: tuple[str, ...] | None) -> nn.Module:
    """A copy in eval mode in which only the readout can move (everything, where ``names`` is None)."""
    private = copy.deepcopy(model).eval().requires_grad_(names is None)
    for value in readout.parameters(private, names or ()).values():
        value.requires_grad_(True)
    return private


def _follow(states: Iterable[driver.Driven], steps: int, progress: Callable | None, stop: Event | None) -> driver.Driven:
    """Consume a run to its end, a stop or an interrupt; the last state is what there is."""
    bar = tqdm(total=steps, desc="unlearning", unit="update", delay=2, leave=False) if progress is None else None
    state = None
    try:
        for state in states:
            if bar is not None:
                bar.update(state.step - bar.n)
            elif progress is not None:
                progress(state.step, steps)
            if stop is not None and stop.is_set():
                break
    except KeyboardInterrupt:
        if state is None:
            raise
    finally:
        if bar is not None:
            bar.close()
    return state


def _events(state: driver.Driven, seconds: float) -> dict[str, Any]:
    return {"steps": state.step, "stopped_at": state.stopped_at, "diverged_at": state.diverged_at,
            "utility_limit": driver.utility_limit(state.recorder), "seconds": round(seconds, 4)}


def _ledger(recorder: Recorder, weights: Any, task: Task) -> pd.DataFrame:
    """The recorder's rows with what was known before: label, influence, selected, weight."""
    rows = recorder.ledger()
    count = len(rows)
    if isinstance(weights, Intensity):
        known = weights.frame[["influence", "selected", "weight"]].reset_index(drop=True)
    else:
        shares = _checked_weights(weights, recorder.forget)
        known = pd.DataFrame({"influence": np.full(count, np.nan), "selected": shares > 0, "weight": shares})
    labels = task.labels(rows["example"]) if hasattr(task, "labels") else [""] * count
    first = pd.DataFrame({"example": rows.pop("example"), "label": labels})
    return pd.concat([first, known, rows], axis=1)
