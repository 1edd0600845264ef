"""One task and one original model, with what every verb on them shares: the readout, its cached inputs, references."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from functools import cached_property
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core import knobs, registry
from ..core.arguments import checked
from ..core.knobs import check_count, name_of, plain
from ..core.memo import Memo
from ..core.messages import reason, shown, unheard, warn
from ..core.outcome import beware
from ..core.records import Influence, Intensity, Run
from ..core.running import (
    copied,
    device_of,
    evaluating,
    fingerprint,
    one_thread,
    only_looked_at,
    same,
    same_tensors,
    tensors_of,
)
from ..features import readout
from ..features.cache import ReadoutTask, seen_from
from ..features.gradients import LinearGradients, gradients_of
from ..features.linear import shared
from ..features.readout import Readout
from ..features.statistics import Statistics, collect, origin_of
from ..features.targets import target_examples
from ..influences.contract import checked_influence
from ..intensities import intensity
from ..measures.contract import Beside
from ..measures.distance import KLRetrained
from ..measures.ensemble import References
from ..measures.reference import Reference, check_answers, refuse_broken, refuse_original
from ..tasks.around import heard, innermost, own_samples_key
from ..tasks.checks import checked_task
from ..tasks.evaluation import outcomes, threads_of
from ..tasks.protocol import Examples, Task, offered, prepared
from ..tasks.sources.functions import own_code
from ..unlearning import driver
from ..unlearning.recorder import Measurement, Recorder
from ..unlearning.request import Request
from .doubts import doubt
from .handed import begun, handed
from .learning_rate import Found, find_learning_rate, why_no_search
from .run_record import compared_with, record_of, reference_table, settings_of, training_examples
from .weights import settled

AUTO = "auto"  # the learning rate that is found, and not given


class Session:
    """One task and one original model, with what every verb on them needs: the readout and its cached inputs.

    The model is copied when the session is made, so editing it afterwards changes nothing here.

    Args:
        found: what a look at the model's readout found, where that is known already.
    """

    @checked
    def __init__(
        self,
        task: Task,
        model: nn.Module,
        reference: nn.Module | References | None = None,
        *,
        found: Readout | None = None,
    ) -> None:
        self.task, self.reference = checked_task(task), reference
        self.model = copied(prepared(task, model)).eval()
        self.found = readout.examine(task, self.model) if found is None else found
        check_answers(task, self.found.outputs)
        self.names, self.linear = self.found.names, self.found.linear
        self._seen: tuple[Task, nn.Module] | None = None
        self._contexts: dict[bool, pd.DataFrame] = {}
        self._references: list[tuple[Any, Reference]] = []  # what it makes of the probe, and itself
        self._rates: dict[tuple, Found] = {}
        self._statistics: dict[tuple | None, Statistics] = {}
        self._doubted = False  # whether the model was looked at before

    @cached_property
    def data(self) -> str | None:
        """A digest of the task's samples, before variants of them were made; None for a task that has none."""
        return own_samples_key(self.task)

    @checked
    def view(self, cache: bool = True, scope: str = "readout") -> tuple[Task, nn.Module]:
        """The task and model to work on (see :func:`imu_lab.features.view`); seen from the readout once for all verbs."""
        if not (cache and scope == "readout"):
            return self.task, self.model
        if self._seen is None:
            self._seen = seen_from(self.task, self.model, self.found)
        return self._seen

    @checked
    def influence(
        self, estimator: Any = "fisher-diagonal", *, target: Any = "forget", cache: bool = True, **settings: Any
    ) -> Influence:
        """See :func:`influence`."""
        how = registry.estimators.create(estimator, **settings)
        task, model = self.view(cache, registry.estimators.declared(how, "scope"))
        forget, asked = task.split("forget"), set[str]()
        with _threads(task), shared():
            context = self._context(task, model)
            with only_looked_at(model, f"estimator {name_of(how)!r}"):
                given = how(heard(task, asked.add), model, forget, target_examples(task, target, forget))
        values = checked_influence(how, given, len(forget))
        ids = forget.ids.numpy()
        about = {
            "estimator": name_of(how),
            "settings": plain(how),
            "target": target if isinstance(target, str) else repr(target),
            "needs_retain": bool(asked - {"forget", offered(task).declined}),
            "task": repr(self.task),
            "data": self.data,
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

    def defaults(self, method: str = "imu", steps: int | None = None) -> dict[str, Any]:
        """A method's settings as this task starts them: its own where it declares them, else the method's.

        Args:
            steps: of a run for which the learning rate is found where the task declares none, as for ``lr="auto"``.
        """
        auto, made = self.method(method, {})
        if auto and steps and not registry.methods.declared(made, "needs_statistics"):  # which would take a pass
            with unheard():  # what is found is a place to start from
                made = self._with_learning_rate(made, steps, None, None, asked=False)
        return knobs.settings(made)

    def _own_settings(self, method: str) -> dict[str, Any]:
        """The settings of a method that the task declares itself; its learning rate only where that is one for this method."""
        kind, own = registry.methods[method], offered(self.task).unlearning
        own = own if registry.methods.declared(method, "plain_steps") else {k: own[k] for k in own if k != "lr"}
        known = {field.name: own[field.name] for field in fields(kind) if field.name in own}
        return known | dict(own.get(method, {}))

    def statistics(self, parts: Iterable[str] | None = None) -> Statistics:
        """See :func:`statistics`; made once, and each asker gets a copy of its own."""
        key = parts if parts is None else (parts,) if isinstance(parts, str) else tuple(parts)
        if key not in self._statistics:
            task, model = self.view()
            with _threads(task):
                about = origin_of(self.task, self.model, self.names)
                self._statistics[key] = collect(task, model, task.split("train"), key, about)
        return self._statistics[key].copied()

    @checked
    def unlearn(
        self,
        weights: Intensity | np.ndarray | None = None,
        method: Any = "imu",
        *,
        steps: int = 50,
        seed: int = 0,
        stop_at: Any = None,
        reference: nn.Module | References | None = None,
        statistics: Statistics | None = None,
        cache: bool = True,
        record_every: int = 1,
        follow: Iterable[Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        stop: Event | None = None,
        watch: Callable[[driver.RunState], None] | None = None,
        looks: Memo[Measurement] | None = None,
        **settings: Any,
    ) -> Run:
        """See :func:`unlearn`. All that is asked is checked before the first update.

        Args:
            looks: what was seen of originals, kept by whoever makes many runs of one task: a run that begins from a model
                that is known there, beside the same reference, takes what was seen of it in the place of a look of its own.
        """
        auto, method = self.method(method, settings)
        record_every = check_count("record_every", record_every, 1)
        for name, function in (("progress", progress), ("watch", watch)):
            if function is not None and not callable(function):
                raise TypeError(f"{name}= is a function, or None; got {shown(function)}")
        shares = settled(weights, self.task.split("forget"))  # looked at in any case, so that a slip is not left out
        if not registry.methods.declared(method, "takes_weights"):
            shares = settled(None, self.task.split("forget"))
        reference = self._beside(reference if reference is not None else self.reference)
        if reference is not None and steps:  # without a step it is measured, and nothing is claimed to be forgotten
            refuse_original(reference.members, self.model)
        metrics = self.followed(reference, follow)
        with _threads(self.task):
            known = {} if reference is None else reference.measured(metrics)
        refuse_broken(known)
        rule = driver.stop_rule(stop_at, known, offered(self.task).forgotten_when, offered(self.task).goal)
        held, origin = handed(method, statistics, self)
        if auto and steps:
            method = self._with_learning_rate(method, steps, rule, held, asked="lr" in settings)
        task, private, request = self._request(method, shares, seed, held, statistics, cache)
        started = time.perf_counter()
        with _threads(task):
            recorder = Recorder(task, request.forget, [Beside(metric, reference) for metric in metrics])
            seen = None if looks is None else self._seen_before(looks, recorder, private, metrics, reference)
            states = driver.drive(recorder, private, method, request, steps, rule, record_every, seen)
            state = driver.follow(states, steps, progress, stop, watch)
        events = driver.events(state, time.perf_counter() - started, self._goals(known))
        events |= {"train_examples": training_examples(self.task, held)}
        asked = {"steps": steps, "seed": request.seed, "stop_at": stop_at, "record_every": record_every}
        asked |= {"found": ["lr"]} if auto else {}
        about = asked | settings_of(self, method, shares, metrics, cached=task is not self.task)
        about |= compared_with(reference) | origin
        run = record_of(self, recorder, shares, private, about, events, reference, known, held)
        if not self._doubted:
            self._doubted, loss = True, float(recorder.outcomes[0][:, 0].mean())
            if words := doubt(self.task, self.model, recorder.metrics[0], loss):
                warn(words)
        if events["diverged_at"] is not None:  # of the rest the verb tells: a panel shows it in its curves
            warn(beware(run))
        return run

    def _seen_before(
        self, looks: Memo[Measurement], recorder: Recorder, model: nn.Module, metrics: tuple, reference: Any
    ) -> Measurement:
        """What there is to see of the original, from what is kept or in a look that is kept; each asker gets its own.

        A view rounds in another way than the whole model does, so both are known.
        """
        beside = () if reference is None else tuple(member.digest for member in reference.members)
        how = tuple((type(metric), repr(metric)) for metric in metrics)
        code = own_code([type(innermost(self.task)), *map(type, metrics)])
        key = (fingerprint(*tensors_of(self.model)), recorder.task is self.task, how, code, beside)
        measured, outcome = looks.once(key, lambda: recorder.look(model))
        return Measurement({split: dict(values) for split, values in measured.items()}, outcome.clone())

    def _request(
        self, method: Any, shares: Intensity, seed: int, held: Statistics | None, statistics: Any, cache: bool
    ) -> tuple[Task, nn.Module, Request]:
        """The task to run on, a private copy of its model, and what the method is asked."""
        task, model = self.view(cache, scope := registry.methods.declared(method, "scope"))
        private = readout.private_copy(model, readout.resolve(task, model) if scope == "readout" else (readout.ALL,))
        retain = task.split("retain") if registry.methods.declared(method, "needs_retain") else None
        weights, goes_on = torch.tensor(shares.values), begun(statistics, cache, scope)
        return task, private, Request(task.split("forget"), weights, retain, seed, held, **goes_on)

    def _goals(self, known: driver.SplitMetrics) -> dict[str, driver.StopRule]:
        """When the request counts as forgotten, by the words of ``stop_at`` that stand for it."""
        own, when = offered(self.task).goal, offered(self.task).forgotten_when
        goals = {} if own is None else {"forgotten": driver.stop_rule("forgotten", None, when, own)}
        measured = bool(known) and when[0] in known["forget"]
        return goals | ({"retrained": driver.stop_rule("retrained", known, when)} if measured else {})

    def method(self, given: Any, settings: Mapping[str, Any]) -> tuple[bool, Any]:
        """The method to run, and whether its learning rate is still to be found.

        A name starts with the task's own settings, an instance has its own.
        """
        if not isinstance(given, str):
            return False, registry.methods.create(given, **settings)
        own = self._own_settings(given)
        has_rate = "lr" in {field.name for field in fields(registry.methods[given])}
        rate = settings.get("lr", own.get("lr", AUTO))
        auto = has_rate and isinstance(rate, str) and rate == AUTO
        settings = {name: value for name, value in settings.items() if not (auto and name == "lr")}
        return auto, registry.methods.create(given, **{**own, **settings})

    def _with_learning_rate(
        self, method: Any, steps: int, rule: driver.StopRule | None, held: Statistics | None, asked: bool
    ) -> Any:
        """The method with the learning rate found for it, once for a run and its controls.

        A method that works on the whole network, or needs more than the forget set, keeps its default: a search would take
        as long as several runs. Whoever ``asked`` for one is told so.
        """
        task, model = self.view(scope=registry.methods.declared(method, "scope"))
        reason = why_no_search(task, method)
        if reason is not None:
            if asked:
                warn(
                    f'lr="auto": no learning rate is searched for where {reason}; lr={method.lr:g}, the default of '
                    f"{name_of(method)} here, is used. Give lr= to choose another"
                )
            return method
        key = (method, own_code([type(method)]), steps, rule, None if held is None else held.digest)
        if key not in self._rates:
            private = readout.private_copy(model, readout.resolve(task, model))
            with one_thread():
                self._rates[key] = find_learning_rate(task, private, method, steps, rule, seed=0, statistics=held)
        return replace(method, lr=self._rates[key].lr)

    def followed(self, reference: Any, follow: Iterable[Any] | None = None) -> tuple[Any, ...]:
        """The metrics that a run records beside the task's own: those asked for, else those that the task follows.

        Of the task's, those that compare with a reference are left out where there is none. Beside several references the
        KL to them is followed in any case: the distance is what they are there for.
        """
        several = isinstance(follow, Iterable) and not isinstance(follow, str)
        wanted = offered(self.task).follows if follow is None else follow if several else [follow]
        metrics = [registry.metrics.create(each) for each in wanted]
        known = reference is not None or follow is not None
        if follow is None and isinstance(reference, References) and offered(self.task).probabilities:
            metrics = list(dict.fromkeys([*metrics, KLRetrained()]))
        return tuple(metric for metric in metrics if known or not registry.metrics.declared(metric, "needs_reference"))

    def of_reference(self) -> pd.DataFrame:
        """``split, metric, value`` of the retrained model, as the runs of this session hold it; empty without one."""
        reference = self._beside(self.reference)
        with _threads(self.task):
            return reference_table({} if reference is None else reference.measured(self.followed(reference)))

    def _beside(self, reference: nn.Module | Reference | References | None) -> Reference | References | None:
        """This reference with its outputs, which are computed once per content."""
        if isinstance(reference, References):
            reference.check(self.task)
        if reference is None:
            return None
        if not isinstance(reference, nn.Module):
            return Reference.of(self.task, reference)
        model = prepared(self.task, reference)
        with threads_of(self.task), torch.no_grad(), evaluating(model):
            try:
                answer = model(self.found.probe.to(device_of(model)).inputs)
            except RuntimeError as error:  # what torch says of shapes and types that do not fit each other
                raise ValueError(
                    f"the retrained model cannot answer the task's examples: {reason(error)}; pass one that was made "
                    "for them"
                ) from error
        check_answers(self.task, answer, "the retrained model")
        alike = [each for each in self._references if same_tensors(each[1].model, model)]
        # Under other code equal tensors are another model, in the place of this one.
        if alike and same(alike[0][0], answer):
            return alike[0][1]
        found = Reference(self.task, copied(model).eval())
        self._references = [each for each in self._references if each not in alike] + [(answer, found)]
        return found


def _known_beside(task: Task, model: nn.Module) -> pd.DataFrame:
    """``example, loss, confidence`` of the forget set; of a linear readout ``gradient_norm, gradient_dot`` too."""
    forget, gradients = task.split("forget"), gradients_of(task, model)
    if not isinstance(gradients, LinearGradients):
        return _context(forget, outcomes(task, model, forget)[:, 0])
    losses, mine = gradients.with_losses(forget)
    context = _context(forget, losses)  # and two small matrix products, for which any other readout pays a pass
    context["gradient_norm"] = mine.norms().double().cpu().numpy()
    context["gradient_dot"] = -mine.along(mine.mean()).double().cpu().numpy()
    return context


def _context(forget: Examples, losses: Tensor) -> pd.DataFrame:
    losses = losses.double().cpu().numpy()
    return pd.DataFrame({"example": forget.ids.numpy(), "loss": losses, "confidence": np.exp(-losses)})


def _threads(task: Task) -> AbstractContextManager[None]:
    """One thread for the small products of a view and for networks trained on one, all cores for the others."""
    return one_thread() if isinstance(task, ReadoutTask) else threads_of(task)
