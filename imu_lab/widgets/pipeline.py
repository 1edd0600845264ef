"""The question a workbench asks and the records that answer it: influence, intensity, the run, then its controls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..results import Influence, Intensity, Run
from ..session import Session
from .controls import Choice
from .job import Report

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

    Controls are kept, because moving a slider of the main run leaves most of them as they were.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._kept: OrderedDict[Any, Run] = OrderedDict()

    def __call__(self, question: Question, report: Report) -> Iterator[Answer]:
        """Yield the answer twice: with the main run alone, and with its controls."""
        scores = self.session.influence(question.estimator.name, **question.estimator.settings)
        weights = self.session.intensity(scores, question.rule.name, **question.rule.settings)
        expected = len(question.compare)
        runs = (self._run(question, weights, report),)
        yield Answer(scores, weights, runs, expected)
        for rule in question.compare:
            settings = control_settings(rule, question)
            weights_of = lambda rule=rule, settings=settings: self.session.intensity(scores, rule, **settings)  # noqa: E731
            needs = None if rule == "uniform" else question.estimator  # uniform weights read no influence
            runs = (*runs, self._kept_run(question, rule, settings, needs, weights_of, report))
        if expected:
            yield Answer(scores, weights, runs, expected)

    def forget_runs(self) -> None:
        """Drop the kept runs: they were made without the reference, or with code that has changed."""
        self._kept.clear()

    def _kept_run(self, question: Question, rule: str, settings: Mapping, needs: Any,
                  weights_of: Callable[[], Intensity], report: Report) -> Run:
        key = repr((rule, settings, needs, question.method, question.steps, question.seed, question.stop_at))
        if key not in self._kept:
            self._kept[key] = self._run(question, weights_of(), report)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_RUNS:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _run(self, question: Question, weights: Intensity, report: Report) -> Run:
        name, settings = question.method
        what = f"unlearning, {weights.settings['rule']} weights"
        return self.session.unlearn(weights, name, steps=question.steps, seed=question.seed, stop_at=question.stop_at,
                                    progress=lambda done, total: report(done, total, what), **settings)


def control_settings(rule: str, question: Question) -> dict[str, Any]:
    """A control's settings: "shuffled" takes the weights of the rule in question, every other its defaults."""
    return {"of": question.rule.name} if rule == "shuffled" and question.rule.name != "shuffled" else {}


def usual_step(run: Run) -> float:
    """The median length of the updates made while some sample was still remembered; NaN where there was none.

    The ascent has no bottom: once everything is forgotten the updates grow without limit, and say nothing of the way
    there.
    """
    lengths = run.terms[run.terms["term"] == "update_norm"].set_index("step")["value"]
    remembered = run.series("forget", "accuracy").iloc[:-1]
    return float(lengths.iloc[: int((remembered > 0).sum())].median())
