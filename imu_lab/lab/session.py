"""One task and one original model, with what every verb on them shares: the readout, its cached inputs, references."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import nn

from ..core import knobs, registry
from ..core.records import Influence, Intensity, Run
from ..core.running import device_of, digest, one_thread, threads_of
from ..features import readout
from ..features.gradients import LinearGradients, gradients_of
from ..features.targets import target_examples
from ..influences.contract import checked_influence
from ..intensities import intensity
from ..measures import Reference
from ..measures.contract import measure
from ..tasks.evaluation import outcomes
from ..tasks.protocol import Task, forgotten_when, labels_of
from ..unlearning import driver
from ..unlearning.recorder import Recorder
from ..unlearning.request import Request
from .plan import Plan, checked_weights, count, private_copy
from .provenance import plain, task_settings, versions, weights_about


class Session:
    """One task and one original model, with what every verb on them needs: the readout and its cached inputs.

    The model is copied when the session is made, so editing it afterwards changes nothing here.
    """

    def __init__(self, task: Task, model: nn.Module, reference: nn.Module | None = None) -> None:
        self.task, self.reference = task, reference
        self.model = copy.deepcopy(model).eval()
        self.names = readout.resolve(task, self.model)
        probe = task.split("forget").batch(slice(0, 2)).to(device_of(self.model)).inputs
        self.linear = readout.is_linear(self.model, self.names, probe)
        self._cached: tuple[readout.CachedTask, nn.Linear] | None = None
        self._contexts: dict[bool, pd.DataFrame] = {}
        self._references: dict[str, Reference] = {}
        self._confidences: dict[Reference, np.ndarray] = {}
        self._measured: dict[tuple, driver.Measured] = {}

    def view(self, cache: bool = True, scope: str = "readout") -> tuple[Task, nn.Module]:
        """The task and model to work on: seen from the readout where that gives the same result, else the full ones."""
        if not (cache and self.linear and scope == "readout"):
            return self.task, self.model
        if self._cached is None:
            self._cached = readout.cached(self.task, self.model, self.names[0])
        return self._cached

    def influence(
        self, estimator: Any = "fisher-diagonal", *, target: Any = "forget", cache: bool = True, **settings: Any
    ) -> Influence:
        """See :func:`influence`."""
        how = registry.estimators.create(estimator, **settings)
        task, model = self.view(cache, registry.estimators.declared(how, "scope"))
        forget = task.split("forget")
        with _threads(task):
            given = how(task, model, forget, target_examples(task, target, forget))
            context = self._context(task, model)
        values = checked_influence(how, given, len(forget))
        ids = forget.ids.numpy()
        about = {
            "estimator": knobs.name_of(how),
            "settings": plain(how),
            "target": target if isinstance(target, str) else repr(target),
            "task": repr(self.task),
        }
        return Influence(pd.DataFrame({"example": ids, "influence": values}), context, about)

    def _context(self, task: Task, model: nn.Module) -> pd.DataFrame:
        """What is known of each forget sample beside its influence, whoever estimates it: computed once per view."""
        if (whole := task is self.task) not in self._contexts:
            self._contexts[whole] = _known_beside(task, model)
        return self._contexts[whole].copy()

    def intensity(self, scores: Influence, rule: Any = "sqrt-clipped", **settings: Any) -> Intensity:
        """See :func:`intensity`."""
        return intensity(scores, rule, **settings)

    def defaults(self, method: str = "imu") -> dict[str, Any]:
        """A method's settings as this task starts them: its own where it declares them, else the method's."""
        kind = registry.methods[method]
        own = getattr(self.task, "unlearning", {})
        return knobs.settings(kind(**{f.name: own[f.name] for f in fields(kind) if f.name in own}))

    def plan(
        self,
        weights: Any = None,
        method: Any = "imu",
        *,
        steps: int = 50,
        seed: int = 0,
        stop_at: Any = None,
        reference: nn.Module | None = None,
        cache: bool = True,
        record_every: int = 1,
        follow: Iterable[Any] | None = None,
        **settings: Any,
    ) -> Plan:
        """Everything that :func:`unlearn` is asked, checked and settled; no update is made yet."""
        if isinstance(method, str):
            settings = {**self.defaults(method), **settings}
        how = registry.methods.create(method, **settings)
        weights = weights if registry.methods.declared(how, "takes_weights") else None
        task, model = self.view(cache, scope := registry.methods.declared(how, "scope"))
        reference = reference if reference is not None else self.reference
        reference = None if reference is None else self._beside(reference)
        metrics = self.followed(reference, follow)
        with _threads(self.task):
            known = self.measured(reference, metrics)
        forget = task.split("forget")
        request = Request(
            forget,
            torch.as_tensor(checked_weights(weights, forget)),
            task.split("retain") if registry.methods.declared(how, "needs_retain") else None,
            int(seed),
        )
        return Plan(
            task,
            private_copy(model, readout.resolve(task, model) if scope == "readout" else None),
            how,
            request,
            weights,
            count("steps", steps),
            count("record_every", record_every, 1),
            stop_at,
            driver.stop_rule(stop_at, known, forgotten_when(task)),
            metrics,
            reference,
            known,
        )

    def unlearn(
        self,
        weights: Any = None,
        method: Any = "imu",
        *,
        progress: Callable[[int, int], None] | None = None,
        stop: Event | None = None,
        watch: Callable[[driver.Driven], None] | None = None,
        **asked: Any,
    ) -> Run:
        """See :func:`unlearn`; ``asked`` is what :meth:`plan` takes."""
        plan = self.plan(weights, method, **asked)
        beside = self._against(plan.reference, plan.metrics)
        started = time.perf_counter()
        with _threads(plan.task):
            states = driver.drive(
                plan.task, plan.model, plan.method, plan.request, plan.steps, plan.rule, plan.record_every, beside
            )
            state = driver.follow(states, plan.steps, progress, stop, watch)
        return self._record(plan, state, time.perf_counter() - started)

    def _record(self, plan: Plan, state: driver.Driven, seconds: float) -> Run:
        about, events, recorder = self._about(plan), driver.events(state, seconds), state.recorder
        if events["diverged_at"]:
            warnings.warn(
                f"the run diverged at update {events['diverged_at']}: {about['method']} with lr="
                f"{about['settings'].get('lr')} made the loss or the weights infinite; the model of the update "
                "before and all that was recorded are kept",
                stacklevel=4,
            )

        def build() -> nn.Module:
            whole = plan.task is self.task
            unlearned = plan.model if whole else readout.graft(self.model, self.names[0], plan.model)
            return copy.deepcopy(unlearned).eval().requires_grad_(True)

        def pack() -> bytes:
            state = build().state_dict()
            return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in state.items()})

        return Run(
            curve=recorder.curve(),
            samples=_ledger(recorder, plan.weights, self.task, self._confidence(plan.reference)),
            trajectory=recorder.trajectory(),
            terms=recorder.term_table(),
            reference=plan.retrained(),
            settings=about,
            events=events,
            build_model=build,
            pack_weights=pack,
            task=self.task,
            snapshots=recorder.snapshots if plan.task is self.task else recorder.snapshots.renamed(self.names[0]),
        )

    def _about(self, plan: Plan) -> dict[str, Any]:
        """A run's provenance."""
        how = plan.method
        return {
            "method": knobs.name_of(how),
            "settings": plain(how),
            "steps": plan.steps,
            "seed": plan.request.seed,
            "stop_at": plan.stop_at,
            "forgotten_when": list(forgotten_when(plan.task)),
            "record_every": plan.record_every,
            "follow": [{"metric": knobs.name_of(metric), "settings": plain(metric)} for metric in plan.metrics],
            "cached": plan.task is not self.task,
            "weights": weights_about(plan.weights) if registry.methods.declared(how, "takes_weights") else {},
            "readout": list(self.names),
            "task": repr(self.task),
            "task_settings": task_settings(self.task),
            "versions": versions(),
        }

    def followed(self, reference: nn.Module | None, follow: Iterable[Any] | None = None) -> tuple[Any, ...]:
        """The metrics that a run records beside the task's own: those asked for, else those that the task follows.

        Of the task's, those that compare with a reference are left out where there is none.
        """
        wanted = (
            getattr(self.task, "follows", ()) if follow is None else [follow] if isinstance(follow, str) else follow
        )
        metrics = [registry.metrics.create(each) for each in wanted]
        known = reference is not None or follow is not None
        return tuple(metric for metric in metrics if known or not registry.metrics.declared(metric, "needs_reference"))

    def measured(self, reference: nn.Module | None, metrics: Iterable[Any] | None = None) -> driver.Measured:
        """The retrained model's metrics on every split, measured once per model; empty without one."""
        if reference is None:
            return {}
        metrics = self.followed(reference) if metrics is None else tuple(metrics)
        key = (self._beside(reference), metrics)
        if key not in self._measured:
            recorder = Recorder(self.task, self.task.split("forget"), self._against(reference, metrics))
            self._measured[key] = recorder.record(0, key[0].model)
        return self._measured[key]

    def _confidence(self, reference: nn.Module | None) -> np.ndarray | None:
        """(n,) the retrained model's confidence in each forget sample's label, computed once per model."""
        if reference is None:
            return None
        beside = self._beside(reference)
        if beside not in self._confidences:
            with _threads(self.task):
                losses = outcomes(self.task, beside.model, self.task.split("forget"))[:, 0]
            self._confidences[beside] = np.exp(-losses.double().numpy())
        return self._confidences[beside]

    def _against(self, reference: nn.Module | None, metrics: Iterable[Any]) -> list[Callable]:
        """The metrics as functions of (task, model), with the reference settled."""
        beside = None if reference is None else self._beside(reference)
        return [partial(measure, metric, reference=beside) for metric in metrics]

    def _beside(self, reference: nn.Module | Reference) -> Reference:
        """This reference with its outputs, which are computed once per content."""
        if isinstance(reference, Reference):
            return reference
        key = digest(*(part for item in reference.state_dict().items() for part in item))
        if key not in self._references:
            self._references[key] = Reference(self.task, copy.deepcopy(reference).eval())
        return self._references[key]


def _known_beside(task: Task, model: nn.Module) -> pd.DataFrame:
    """``example, loss, confidence`` of the forget set; of a linear readout ``gradient_norm, gradient_dot`` too."""
    forget = task.split("forget")
    losses = outcomes(task, model, forget)[:, 0].double().numpy()
    context = pd.DataFrame({"example": forget.ids.numpy(), "loss": losses, "confidence": np.exp(-losses)})
    gradients = gradients_of(task, model)
    if isinstance(gradients, LinearGradients):  # two small matrix products; any other readout pays a pass for them
        mine = gradients.on(forget)
        context["gradient_norm"] = mine.norms().double().cpu().numpy()
        context["gradient_dot"] = -mine.along(mine.mean()).double().cpu().numpy()
    return context


def _threads(task: Task) -> Any:
    """One thread for the small products of a cached task and for networks trained on one, all cores for the others."""
    return one_thread() if isinstance(task, readout.CachedTask) else threads_of(task)


def _ledger(recorder: Recorder, weights: Any, task: Task, retrained: np.ndarray | None) -> pd.DataFrame:
    """The recorder's rows with what is known besides: label, influence, selected, weight, the retrained confidence."""
    rows = recorder.ledger()
    if isinstance(weights, Intensity):
        known = {name: weights.frame[name].to_numpy() for name in ("influence", "selected", "weight")}
    else:
        shares = checked_weights(weights, recorder.forget)
        known = {"influence": np.nan, "selected": shares > 0, "weight": shares}
    labels = labels_of(task, rows["example"])
    own = {name: rows[name].to_numpy() for name in rows}
    also = {} if retrained is None else {"confidence_retrained": retrained}
    return pd.DataFrame({"example": own.pop("example"), "label": labels, **known, **own, **also})
