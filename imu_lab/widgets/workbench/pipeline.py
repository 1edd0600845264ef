"""The question a workbench asks and the records that answer it: influence, intensity, the run, then its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ...core import registry
from ...core.knobs import knobs
from ...core.memo import Memo
from ...core.messages import unheard, warn
from ...core.records import Influence, Intensity, Run
from ...core.running import digest
from ...influences.pairwise import influence_matrix, is_pairwise, proponents
from ...intensities import Uniform
from ...lab.session import Session
from ...tasks.around import takes_whole
from ...tasks.protocol import offered
from ...tasks.sources.functions import own_code
from ..base.controls import Choice
from ..base.job import Report, overheard

KEPT_RUNS, KEPT_WEIGHTS = 64, 8  # the newest
DISTANCE = "kl-retrained"
LOOKS = 12  # at a run whose every look has the model write its answers, which takes far longer than an update


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
    and forth; what was warned of when one was made is told whenever it is asked. A setting that was registered again is a
    new one, and so is all that was asked before a cell edited a function of a user's own.

    Args:
        early: takes influences as soon as they are there, if a run has to be made: the page can draw them meanwhile.
    """

    def __init__(self, session: Session, early: Callable[[Influence], Any] = lambda *_: None) -> None:
        self.session, self._early = session, early
        self._kept: Memo[tuple[Run, list[str]]] = Memo(KEPT_RUNS)
        self._weighed: Memo[tuple[tuple[Influence, Intensity], list[str]]] = Memo(KEPT_WEIGHTS)
        self._codes: list[str] = []  # empty, or what the user's own classes do since the last cell

    def __call__(self, question: Question, report: Report) -> Iterator[Answer]:
        """Yield the answer with the main run alone, unless its controls are at hand, and then with its controls."""
        yield from self._answers(question, report, self._early)

    def foresee(self, question: Question, report: Report) -> None:
        """Make the runs of a question that has not been asked."""
        for _ in self._answers(question, report, lambda scores: None):
            pass

    def _answers(self, question: Question, report: Report, early: Callable[[Influence], Any]) -> Iterator[Answer]:
        main = main_rule(question)
        controls = [as_control(name, main) for name in question.compare]
        # Said before anything is worked out: what a cell that ends meanwhile has edited is none of this.
        first, *keys = [self._key(question, main, main=True), *(self._key(question, rule) for rule in controls)]
        scores, weights = self._weights(question, main)
        if first not in self._kept:
            early(scores)
        runs = [self._run(first, question, lambda: weights, report)]
        if not all(key in self._kept for key in keys):
            yield Answer(scores, weights, tuple(runs), len(controls))
        for key, rule in zip(keys, controls):
            runs.append(self._run(key, question, lambda rule=rule: self.session.intensity(scores, rule), report))
        yield Answer(scores, weights, tuple(runs), len(controls))

    def proponents(self, scores: Influence, example: int) -> pd.DataFrame | None:
        """The forget samples that hold one of them up and those that work against it, by the estimator of ``scores``.

        None for an estimator that says nothing of pairs, and where each answer would take a pass through the model.
        """
        kind, settings = scores.settings["estimator"], scores.settings["settings"]
        pairwise = is_pairwise(kind)
        if not (pairwise and self.session.linear and registry.estimators.declared(kind, "scope") == "readout"):
            return None
        place = np.flatnonzero(scores.frame["example"] == example)
        pairs = influence_matrix(self.session.task, self.session.model, kind, against=("forget", place), **settings)
        return proponents(pairs, example)

    @property
    def seldom(self) -> bool:
        """Whether runs are looked at now and then only, for at each look the model writes its answers."""
        return takes_whole(self.session.task)

    def refresh(self) -> None:
        """Work influences and weights out anew at the next question: a function that they call may be another one now.

        Runs are made anew where it is seen to be one.
        """
        # Others: a question that is being answered goes on with its own.
        self._weighed, self._codes = Memo(KEPT_WEIGHTS), []

    def _weights(self, question: Question, rule: Any) -> tuple[Influence, Intensity]:
        """The influences and the weights that a question asks for."""
        estimator = registry.estimators.create(question.estimator.name, **question.estimator.settings)

        def weighed() -> tuple[Influence, Intensity]:
            scores = self.session.influence(estimator)
            return scores, self.session.intensity(scores, rule)

        return told_again(self._weighed, (estimator, rule), weighed)

    def _key(self, question: Question, rule: Any, main: bool = False) -> tuple:
        """What a run depends on, by value: the rule with its settings and those of the rule that it refers to, too.

        Uniform weights read no influence, so a control with such weights does not depend on the estimator; the main
        run does, because its ledger tells of the influences.
        A run made before the retrained model was there knows nothing of it, and another has to be made then.
        """
        reads = main or not isinstance(rule, Uniform)
        estimator = registry.estimators.create(question.estimator.name, **question.estimator.settings)
        method = registry.methods.create(question.method.name, **question.method.settings)
        asked = (
            question.steps,
            question.seed,
            repr(question.stop_at),
            self.session.reference is not None,
            self.followed,
        )
        return rule, estimator if reads else None, method, self._code(), *asked

    def _code(self) -> str:
        """A digest of what the user's own functions do that a run may call, looked at once after each cell."""
        known = self._codes
        if not known:
            names = (registry.estimators, registry.intensity_rules, registry.methods, registry.metrics)
            kinds = [each[name] for each in names for name in list(each)]
            known.append(digest(offered(self.session.task).code, *own_code(kinds)))
        return known[0]

    def _run(self, key: tuple, question: Question, weigh: Callable[[], Intensity], report: Report) -> Run:
        """The run under this key, made unless it is at hand."""
        method, settings = question.method
        return told_again(
            self._kept,
            key,
            lambda: self.session.unlearn(
                weigh(),
                method,
                steps=question.steps,
                seed=question.seed,
                stop_at=question.stop_at,
                follow=self._followed(),
                record_every=-(-question.steps // LOOKS) if self.seldom else 1,
                progress=lambda done, total: report(done, total, f"unlearning, {registry.name_of(key[0])} weights"),
                **settings,
            ),
        )

    @property
    def followed(self) -> tuple[Any, ...]:
        """The metrics that a run made now records beside the task's own."""
        return self.session.followed(self.session.reference, self._followed())

    def _followed(self) -> list[Any] | None:
        """What the task follows and, once there is a retrained model, the distance to it, so that its curve can be chosen."""
        has = offered(self.session.task)
        if self.session.reference is None or not has.probabilities:
            return None
        return list(dict.fromkeys([*has.follows, DISTANCE]))


def main_rule(question: Question) -> Any:
    """The rule of a question's main run, with its settings."""
    return registry.intensity_rules.create(question.rule.name, **question.rule.settings)


def told_again(memo: Memo, key: Any, make: Callable[[], Any]) -> Any:
    """The value under this key, made unless it is at hand, with the warnings of when it was made."""

    def heard() -> tuple[Any, list[str]]:
        # What the library notes, and what a method of the user's own warns of in Python's way.
        with overheard() as warned, unheard() as noted:
            made = make()
        return made, [*warned, *noted]

    value, said = memo.once(key, heard)
    for message in said:
        warn(message)
    return value


def as_control(name: str, main: Any) -> Any:
    """The rule under ``name`` with its defaults, as a control of the main rule.

    Where it has a setting whose choices are rules, as "shuffled" has, the first such setting takes the main rule with
    its settings, if that is among its choices: else the control would be one of another run.
    """
    rules = registry.intensity_rules
    for setting, about in knobs(rules[name]).items():
        choices = about.options() or ()
        if registry.name_of(main) in choices and all(choice in rules for choice in choices):
            return rules.create(name, **{setting: main})
    return rules.create(name)
