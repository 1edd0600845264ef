"""The question a workbench asks and the records that answer it: influence, intensity, the run, then its controls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...core import registry
from ...core.records import Influence, Intensity, Run
from ...influences.pairwise import influence_matrix, supporters
from ...lab.session import Session
from ..base.controls import Choice
from ..base.job import Report

KEPT_RUNS = 64


class Question(NamedTuple):
    """Everything the controls say.

    Attributes:
        estimator, rule, method: what to use, with settings.
        steps, seed: of every run.
        stop_at: see :func:`imu_lab.unlearn`.
        compare: the rules of the controls to run beside it.
    """

    estimator: Choice
    rule: Choice
    method: Choice
    steps: int = 60
    seed: int = 0
    stop_at: Any = None
    compare: tuple[str, ...] = ("uniform",)


class Answer(NamedTuple):
    """The records that answer a question.

    Attributes:
        scores, weights: of the main run.
        runs: the main run, then the controls that are there so far; the same question, another rule.
        expected: how many controls there will be.
    """

    scores: Influence
    weights: Intensity
    runs: tuple[Run, ...]
    expected: int = 0

    @property
    def run(self) -> Run:
        """The main run."""
        return self.runs[0]

    @property
    def complete(self) -> bool:
        """Whether all controls are there."""
        return len(self.runs) == 1 + self.expected


class Pipeline:
    """Answers questions on one session: the main run first, then with its controls.

    Runs are kept, because moving a slider of the main run leaves most controls as they were, and because people go back
    and forth. A setting that was registered again is a new one.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._kept: OrderedDict[Any, Run] = OrderedDict()

    def __call__(self, question: Question, report: Report) -> Iterator[Answer]:
        """Yield the answer with the main run alone, unless its controls are at hand, and then with its controls."""
        scores = self.session.influence(question.estimator.name, **question.estimator.settings)
        weights = self.session.intensity(scores, question.rule.name, **question.rule.settings)
        controls = [Choice(rule, control_settings(rule, question)) for rule in question.compare]
        main, expected = self._run(question, question.rule, lambda: weights, report), len(controls)
        if not all(self._key(question, control) in self._kept for control in controls):
            yield Answer(scores, weights, (main,), expected)
        runs = [main]
        for rule, settings in controls:
            weigh = lambda rule=rule, settings=settings: self.session.intensity(scores, rule, **settings)  # noqa: E731
            runs.append(self._run(question, Choice(rule, settings), weigh, report))
        yield Answer(scores, weights, tuple(runs), expected)

    def supporters(self, scores: Influence, example: int) -> pd.DataFrame | None:
        """The forget samples that hold one of them up and those that work against it, by the estimator of ``scores``.

        None for an estimator that says nothing of pairs, and where each answer would take a pass through the model.
        """
        kind, settings = scores.settings["estimator"], scores.settings["settings"]
        pairwise = hasattr(registry.estimators[kind], "metric")
        if not (
            pairwise and self.session.linear and getattr(registry.estimators[kind], "scope", "readout") == "readout"
        ):
            return None
        place = np.flatnonzero(scores.frame["example"] == example)
        pairs = influence_matrix(self.session.task, self.session.model, kind, against=("forget", place), **settings)
        return supporters(pairs, example)

    def _key(self, question: Question, rule: Choice) -> tuple:
        """What a run depends on; uniform weights read no influence, so they do not depend on the estimator.

        A run made before the retrained model was there knows nothing of it, and another has to be made then.
        """
        code: list[Any] = [registry.methods[question.method.name], registry.intensity_rules[rule.name]]
        code.append(self.session.reference is not None)
        if rule.name != "uniform":
            code.append(registry.estimators[question.estimator.name])
        reads = None if rule.name == "uniform" else question.estimator
        asked = (question.method, question.steps, question.seed, question.stop_at)
        return repr((rule, reads, asked)), *code

    def _run(self, question: Question, rule: Choice, weigh: Callable[[], Intensity], report: Report) -> Run:
        key = self._key(question, rule)
        if key not in self._kept:
            name, settings = question.method
            self._kept[key] = self.session.unlearn(
                weigh(),
                name,
                steps=question.steps,
                seed=question.seed,
                stop_at=question.stop_at,
                progress=lambda done, total: report(done, total, f"unlearning, {rule.name} weights"),
                **settings,
            )
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_RUNS:
            self._kept.popitem(last=False)
        return self._kept[key]


def control_settings(rule: str, question: Question) -> dict[str, Any]:
    """A control's settings: "shuffled" takes the weights of the rule in question, every other its defaults."""
    return {"of": question.rule.name} if rule == "shuffled" and question.rule.name != "shuffled" else {}
