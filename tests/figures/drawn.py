"""Every ``plot_*`` with the records that it takes. A new figure joins the contract by its line in ``FIGURES``.

All records are made by hand, and every word in them that could come from a user is one given word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from figures import records

import imu_lab as imu
from imu_lab import figures
from imu_lab.measures.attribution import Attribution
from imu_lab.measures.retrieval import EmbeddingMap, Retrieval
from imu_lab.measures.truth_ratio import TruthRatios, beside
from imu_lab.studies.comeback import Comeback, summary_of
from imu_lab.studies.explanation import Prediction
from imu_lab.studies.leakage import WHEN
from imu_lab.studies.one_step import OneStepCheck
from imu_lab.studies.side_by_side import SideBySide
from imu_lab.studies.spectrum import Spectrum

Given = tuple[tuple, dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    """One ``plot_*``.

    Attributes:
        usual: a word to what the figure is given, positionally and by name.
        others: further records that it takes.
        empty: records that hold nothing.
        settled: whether its words come from the library alone, so that a user's cannot appear.
    """

    usual: Callable[[str], Given]
    others: dict[str, Callable[[str], Given]] = field(default_factory=dict)
    empty: tuple[Callable[[], Given], ...] = ()
    settled: bool = False


def given(*records: Any, **settings: Any) -> Given:
    """What a figure is called with."""
    return records, settings


class Pictures:
    """A task that has nothing but pictures."""

    def pictures(self, examples: Any, source: str) -> np.ndarray:
        """(n, 8, 4, 3) grey."""
        return np.full((len(examples), 8, 4, 3), 100, np.uint8)


USUAL = "sqrt-clipped"
VALUES, WEIGHTS = [0.5, -3.0, -1.0, 0.0, -2.0], [0.0, 0.5, 0.2, 0.0, 0.3]
MARGINS = np.array([[3.0, 2, 1, 1, -1], [1, 2, -1, -1, -2], [-1, 2, -2, -1, -2], [-2, 2, -3, 1, -2]])
REFERENCE = {"forget": 0.0, "retain": 1.0, "test": 0.97, "test-forget": 0.05}


def scores(count: int = 5) -> imu.Influence:
    """Influences of a few samples, with what was known beside."""
    known = {"loss": [5.0, 1.0, 2.0, 3.0, 4.0], "confidence": [0.1, 0.9, 0.5, 1.0, 0.7]}
    return records.influence(VALUES[:count], **{name: values[:count] for name, values in known.items()})


def run(word: str, fall: float = 1.0, seed: int = 0, **events: Any) -> imu.Run:
    """A run whose rule is the word."""
    curves = records.four_splits(fall)
    return records.run(curves, word, seed=seed, reference=REFERENCE, events=events)


def several(word: str) -> list[imu.Run]:
    """Two seeds of the word, and a control past its limit."""
    return [run(word), run(word, 0.8, seed=1), run("uniform", 0.5, utility_limit=3)]


def distances(word: str, seed: int = 0) -> imu.Run:
    """A run that was compared with several retrained models."""
    curves = {split: (0.05 + 0.01 * seed) * values for split, values in records.four_splits().items()}
    made = records.run(curves, word, seed=seed, metric="kl_retrained", reference=dict.fromkeys(curves, 0.01))
    return replace(made, settings=made.settings | {"compared_with": {"digests": ["a", "b"]}})


def alone(word: str) -> imu.Run:
    """One that was compared with a single one."""
    return replace(distances(word), settings=distances(word).settings | {"compared_with": {"digests": ["a"]}})


def front(word: str, gap: bool = False) -> pd.DataFrame:
    """What ``imu.pareto`` makes of a sweep of four methods, two of them nobody asked for."""
    methods = ["original", word, "uniform", "retrained"]
    rows = [
        (name, seed, near + 0.01 * seed, far + 0.02 * seed, 2.0, 0.03, 0.02)
        for name, near, far in zip(methods, (0.4, 0.1, 0.2, 0.0), (0.1, 0.2, 0.3, 0.0))
        for seed in range(2)
    ]
    names = ["forget accuracy gap", "test accuracy"] if gap else ["forget kl_retrained", "test kl_retrained"]
    columns = ["method", "seed", *names, "passes", "forget others", "test others"]
    return imu.pareto(pd.DataFrame(rows, columns=columns), *names)


def two_runs(word: str, missing: bool = False) -> SideBySide:
    """Two runs of a made-up request side by side."""
    models = ["A", "B", "original", "retrained"]
    plane = pd.DataFrame(
        [
            (name, split, at, word, word, at + 0.5, at % 3)
            for name in models
            for split in ("forget", word)
            for at in range(4)
        ],
        columns=["model", "split", "example", "label", "answer", "x", "y"],
    )
    counts = pd.DataFrame([[3, 1], [0, 0]], index=[word, "b"], columns=[word, "b"])
    classes = pd.DataFrame(
        {"class": [word, "b"] * 2, "seen": [True, True, False, False], "samples": 4, "A": 0.5, "B": 1.0}
    )
    classes = classes.assign(original=1.0, goal=np.nan if missing else 0.25)
    classes = classes.assign(**{f"{name} gap": classes[name] - classes["goal"] for name in "AB"})
    layers = pd.DataFrame({"layer": [word, "head"], "split": "forget", "A": [1.0, 0.5], "B": [1.0, 0.7], "goal": 1.0})
    scores = pd.DataFrame(
        [(name, at, word, at < 3, 0.5 + at, np.exp(-0.5 - at), 0.2, 0.3) for name in models for at in range(6)],
        columns=["model", "example", "label", "member", "loss", "confidence", "entropy", "modified_entropy"],
    )
    matrices, names = dict.fromkeys(models, counts), {"A": word, "B": f"{word} twice"}
    told = {"plane": "no single prediction"} if missing else {}
    return SideBySide(None, {}, names, plane, matrices, word, classes, layers, scores, told)


def comparison(word: str) -> pd.DataFrame:
    """A table as ``imu.compare`` makes it."""
    values = {"forget accuracy": [0.01, 0.0, 0.01], "retain accuracy": [0.98, 0.97, 0.95]}
    table = pd.DataFrame({"run": [word, word, "imu · uniform"], "seed": [0, 1, 0], "updates": [37, 46, 103], **values})
    for name in values:
        table[f"{name} change"], table[f"{name} gap"] = table[name] - 1.0, table[name] - 0.5
    return table


def heads(*words: str) -> pd.DataFrame:
    """What fresh heads make of runs, as ``imu.head_only`` tells it."""
    rows = [
        {"measure": measure, "split": split, "original": 0.98, **{word: 0.4 + 0.1 * at for word in words}, "goal": 0.05,
         "goal_low": 0.02, "goal_high": 0.09, "unit": "share correct", "good": "close", "formula": "a share"}
        for at, measure in enumerate(("own head", "linear probe", "prototypes"))
        for split in ("test-forget", "test")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def trial(word: str) -> pd.DataFrame:
    """The mean over two seeds of two arms under two kinds of steps."""
    rows = [
        (steps, arm, seed, 30.0 + 10 * seed, -0.01 * seed)
        for steps in ("plain steps", word)
        for arm in ("imu", word)
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows, columns=["steps", "arm", "seed", "updates", "retain accuracy change"])
    return imu.over_seeds(table, ["updates", "retain accuracy change"])


def draws(word: str) -> pd.DataFrame:
    """Rank stability of two estimators."""
    columns = ["estimator", "spearman", "low", "high", "draws", "samples"]
    return pd.DataFrame([[word, 0.5, 0.3, 0.6, 5, 40], ["two", 0.9, 0.8, 0.95, 5, 40]], columns=columns)


def shares() -> pd.DataFrame:
    """Shares of the pressure of two parts."""
    known = {"confidence_low": [0.1, 0.6], "confidence_high": [0.6, 1.0]}
    return pd.DataFrame({"part": [1, 2], "samples": 3, "weight": [0.7, 0.3], "selected": 1.0, **known})


def damage(word: str) -> pd.DataFrame:
    """What a run did to three kept samples, one of them lost."""
    values = {"predicted": [0.1, 0.2, -0.1], "measured": [0.3, 0.1, -0.2], "margin_before": [3.0, 2.0, 1.0]}
    table = pd.DataFrame({"example": [5, 6, 7], "label": [word, "b", "c"], **values, "lost": [True, False, False]})
    return table.assign(intervention=word)


def resistance() -> pd.DataFrame:
    """One sample of each fate."""
    yes = {"censored": [0, 1, 1, 0], "after_limit": [0, 0, 0, 1], "pressed": [1, 0, 1, 1]}
    flags = {name: np.array(values, dtype=bool) for name, values in yes.items()}
    return pd.DataFrame({"example": [7, 8, 9, 10], "pressure": [1.0, 0, 2, 3], "rank": [1.0, 4, 3, 2], **flags})


def column(word: str) -> str:
    """A column that a user added; by its usual name one that the library knows."""
    return "uniform_rank" if word == USUAL else word or "mine"


def reasons(word: str) -> pd.DataFrame:
    """Two columns that go with resistance."""
    table = pd.DataFrame({"column": ["margin_before", word], "correlation": [0.9, -0.4], "low": [0.8, -0.6]})
    return table.assign(high=[0.95, -0.1], given_pressure=[0.3, np.nan], samples=50)


def prediction(*words: str) -> Prediction:
    """What a forest leans on."""
    importance = pd.DataFrame({"column": list(words), "importance": 0.1})
    rows = [(word, value, 3.0 + value) for word in words for value in (0.0, 1.0)]
    dependence = pd.DataFrame(rows, columns=["column", "value", "predicted"])
    return Prediction(0.8, 0.7, 0.9, 0.05, 0.2, 50, 5, importance, dependence)


def one_step(count: int = 3) -> OneStepCheck:
    """Three samples, of which the plain step opposes one."""
    columns = ["example", "influence", "predicted", "measured", "plain_predicted", "plain_measured"]
    rows = [[7, -2.0, 2.0, 1.9, 1.0, 1.0], [8, -1.0, 1.0, 1.1, -1.0, -0.5], [9, 3.0, -3.0, -2.9, -1.0, -1.0]]
    return OneStepCheck(pd.DataFrame(rows, columns=columns).iloc[:count])


def retrieval(word: str, count: int = 2) -> Retrieval:
    """The first answers to some queries."""
    known = dict(person=7, camera=1, first_right=1, average_precision=np.linspace(0.2, 0.9, count))
    queries = pd.DataFrame({"query": range(count), "example": range(count), **known})
    row = dict(place=[1, 2, 3], rank=[1, 2, np.nan], example=[20, 21, 22], person=[7, 8, 7], camera=[2, 3, 1])
    one = pd.DataFrame(row | {"mark": ["right", "wrong", "same camera"]})
    answers = pd.concat([one.assign(query=query) for query in range(count)] or [one.assign(query=0).iloc[:0]])
    curve = pd.DataFrame({"rank": [1, 2, 3], "share": [0.25, 0.5, 1.0]})
    return Retrieval(queries, answers, curve if count else curve.iloc[:0], word, task=Pictures())


def people(*models: str) -> EmbeddingMap:
    """Pictures of four persons, of whom 7 is forgotten and 8 and 9 are alike."""
    rng, persons = np.random.default_rng(0), np.repeat([7, 8, 9, 3], 3)
    role = np.select([persons == 7, persons > 7], ["forgotten", "alike"], "other")
    about = dict(example=np.arange(12), person=persons, camera=np.tile([1, 2, 3], 4), role=role)
    parts = [pd.DataFrame({"model": m, "x": rng.normal(size=12), "y": rng.normal(size=12), **about}) for m in models]
    return EmbeddingMap(pd.concat(parts or [pd.DataFrame(columns=["model", "x", "y", *about])]), Pictures())


def seen(word: str, count: int = 3) -> Attribution:
    """Where a model looks in a few pictures."""
    maps = np.linspace(-1, 1, count * 32).reshape(count, 8, 4)
    return Attribution(maps, np.arange(count), "test", word, Pictures())


def tokens() -> pd.DataFrame:
    """Two sequences of three predicted tokens."""
    rows = [(e, p, 4 * e + p, 0.1 * p, -0.2 * e + 0.1 * p) for e in (1, 2) for p in (1, 2, 3)]
    return pd.DataFrame(rows, columns=["example", "place", "token", "loss", "influence"])


def transitions() -> imu.Run:
    """A run over two states of source 1, followed for two updates."""
    pairs = {"0→0": 0.7, "0→1": 0.3, "1→0": 0.4, "1→1": 0.6}
    curve = [(step, "source-1", name, value) for step in (0, 1) for name, value in pairs.items()]
    followed = {"follow": [{"metric": "transitions", "settings": {"source": 1}}]}
    made = records.run({}, margins=MARGINS[:2], steps=[0, 1])
    frame = pd.DataFrame(curve, columns=["step", "split", "metric", "value"])
    return replace(made, curve=frame, settings=made.settings | followed)


def paths(word: str, *references: str) -> imu.Run:
    """A run that followed forget quality and utility, beside some retrained models."""
    rows = [(step, *key, value) for step, values in ((0, (3.0, 0.9)), (5, (1.0, 0.6))) for key, value in
            zip((("forget", "forget_quality"), ("retain", "model_utility")), values)]  # fmt: skip
    made = records.run({"forget": [1.0, 0.5]}, word, steps=[0, 5])
    goal = [("forget", "forget_quality", 0.4), ("retain", "model_utility", 0.85)]
    return replace(
        made,
        curve=pd.DataFrame(rows, columns=["step", "split", "metric", "value"]),
        reference=pd.DataFrame(goal, columns=["split", "metric", "value"]),
        settings=made.settings | {"compared_with": {"digests": list(references)}},
    )


def ratios(word: str, *retrained: str) -> TruthRatios:
    """Three pairs, seen by two models."""
    table = pd.DataFrame({"example": [1, 2, 3], "author": word, "truth_ratio": [0.0, 0.5, 2.0]})
    return beside({word: table}, {name: table.assign(truth_ratio=[0.2, 0.9, at]) for at, name in enumerate(retrained)})


def changes(word: str, *pressed: str) -> pd.DataFrame:
    """What became of a forgotten and two kept authors."""
    names = {"label": [word, "b", word], "forgotten": [True, False, False], "samples": 10}
    parts = {f"{name}_{when}": [0.5, 0.1, -0.2] for name in ("loss", "probability", "right") for when in WHEN}
    return pd.concat([pd.DataFrame({"pressed": name, **names, **parts}) for name in pressed])


def back(word: str, *lessons: str) -> Comeback:
    """Two facts under some lessons."""
    rows = [
        (at, word, name, 0 if name == "nothing" else 5, 0.1 * at, at > 3, 0.05) for name in lessons for at in (3, 4)
    ]
    columns = ["example", "label", "lesson", "taught", "probability", "right", "retrained"]
    facts = pd.DataFrame(rows, columns=columns)
    return Comeback(facts, summary_of(facts), 20)


def without_goal(made: Comeback) -> Comeback:
    """Without a retrained model."""
    return replace(made, summary=made.summary.assign(retrained=np.nan))


def proponents(count: int = 4) -> pd.DataFrame:
    """Those of sample 10."""
    values, against = np.array([[-5.0], [-1.0], [3.0], [0.5]]), np.array([10])
    matrix = imu.InfluenceMatrix(values, np.array([10, 11, 12, 13]), against, "train", {"estimator": "by hand"})
    return imu.proponents(matrix, 10, itself=True).iloc[:count]


def damping() -> pd.DataFrame:
    """What damping does to an estimate."""
    known = {"correlation": [0.2, 0.9, 1.0], "spearman": [0.3, 0.8, 1.0], "indifferent": [False, False, True]}
    return pd.DataFrame({"damping": [1e-6, 1e-2, 1e3], **known})


def spectrum(word: str, count: int = 4) -> Spectrum:
    """A few directions, one of them flat, of a target that a user named."""
    relative = np.array([30.0, 2.0, 0.05, 0.0])
    columns = {"curvature": relative / 7, "relative": relative, "gradient": [0.7, 0.2, 0.1, 0.0]}
    table = pd.DataFrame(columns | {"step": [0.1, 0.3, 0.6, 0.0]}).iloc[:count]
    return Spectrum(table, {"rho": 0.1, "curvature": "train", "target": word})


def correlations(word: str) -> pd.DataFrame:
    """Two estimators."""
    return pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], index=[word, "two"], columns=[word, "two"])


def disagreements(count: int = 3) -> pd.DataFrame:
    """Where two estimators place three samples."""
    ranks = {"rank_one": [1, 4, 2], "rank_other": [4, 1, 3], "difference": [3, 3, 1]}
    return pd.DataFrame({"example": [100, 103, 101], **ranks}).iloc[:count]


def audits(word: str, count: int = 4) -> pd.DataFrame:
    """A few rows of a table of audits, two of them of a unit of their own, one that does not apply."""
    names = ["AUC by loss", f"linear probe of layer {word}", "relearn time", "cka"]
    numbers = {"value": [0.6, 0.9, 300.0, np.nan], "low": [0.5, 0.8, 200.0, np.nan], "high": [0.7, 1.0, np.inf, np.nan]}
    levels = {"goal": [0.5, np.nan, 90.0, np.nan], "original": [0.8, 0.9, 0.0, np.nan]}
    about = {"unit": ["probability", "share correct", "updates", ""], "note": ["", word, "not back", "does not apply"]}
    table = pd.DataFrame({"audit": "some", "name": names, "split": "forget", **numbers, **levels, **about})
    return table.iloc[:count]


def members(models: tuple[str, ...] = ("run", "original", "retrained 2")) -> pd.DataFrame:
    """Scores of three members and two others under each model."""
    scores = {"loss": [0.1, 0.2, 3.0, 0.5, 2.0], "log_odds": [3.0, 2.0, -2.0, 1.0, -1.0]}
    scores |= {name: scores["loss"] for name in ("confidence", "entropy", "modified_entropy")}
    one = pd.DataFrame({"member": [True] * 3 + [False] * 2, "split": "test", "example": range(5), **scores})
    return pd.concat([one.assign(model=name) for name in models]) if models else one.assign(model="").iloc[:0]


FIGURES: dict[str, Figure] = {
    "plot_influence": Figure(
        lambda word: given(scores()),
        {"coloured": lambda word: given(scores(), colour_by="loss"), "one": lambda word: given(scores(1))},
        (lambda: given(records.influence([])), lambda: given(records.influence([np.nan]))),
        settled=True,
    ),
    "plot_fit": Figure(lambda word: given(scores()), empty=(lambda: given(scores(0)),), settled=True),
    "plot_intensity": Figure(
        lambda word: given(records.intensity(VALUES, WEIGHTS, word)),
        {"another": lambda word: given(records.intensity([-1.0, -2.0], [0.9, 0.1], "shuffled"))},
        (lambda: given(records.intensity([], [])),),
    ),
    "plot_pressure": Figure(
        lambda word: given({"sqrt-clipped": shares(), word: shares()}), empty=(lambda: given({}),)
    ),
    "plot_curves": Figure(
        lambda word: given([run(word)]),
        {
            "several": lambda word: given(several(word)),
            "seeds": lambda word: given(several(word)[:2]),
            "faint": lambda word: given(several(word), splits=["forget", "retain"], faint={several(word)[2].label}),
            "limit": lambda word: given([run(word, utility_limit=2, stopped_at=4, diverged_at=6)]),
            "other splits": lambda word: given(records.run({word: [1.0, 0.5]}, steps=[0, 1])),
            "distance": lambda word: given([distances(word)], metric="kl_retrained"),
            "distances": lambda word: given([distances(word), distances("uniform")], metric="kl_retrained"),
        },
        (lambda: given([]), lambda: given(records.run({})), lambda: given([records.run({}), records.run({}, "b")])),
    ),
    "plot_trajectories": Figure(
        lambda word: given(records.run({}, word, steps=range(4), margins=MARGINS)),
        {
            "margin": lambda word: given(records.run({}, steps=range(3), margins=MARGINS[:3, ::-1]), value="margin"),
            "limit": lambda word: given(
                records.run({}, steps=range(4), margins=MARGINS, events={"utility_limit": 2}), value="loss"
            ),
            "nan": lambda word: given(records.run({}, steps=range(2), margins=np.full((2, 3), np.nan))),
        },
        (lambda: given(records.run({}, steps=[0], margins=np.zeros((1, 0)))), lambda: given(records.run({}, steps=[]))),
        settled=True,
    ),
    "plot_comparison": Figure(
        lambda word: given(comparison(word)),
        {
            "retain alone": lambda word: given(comparison(word)[["run", "retain accuracy"]], metric="accuracy"),
            "floor": lambda word: given(imu.compare([distances(word), distances("uniform")]), metric="kl_retrained"),
            "none got there": lambda word: given(comparison(word).assign(**{"forget accuracy": np.nan})),
        },
        (lambda: given(pd.DataFrame()), lambda: given(comparison("a").iloc[:0])),
    ),
    "plot_forgetting_damage": Figure(
        lambda word: given([distances(word), distances("uniform")]),
        {
            "seeds": lambda word: given([distances(word), distances(word, 1)], kept="retain"),
            "alone": lambda word: given(alone(word)),
        },
        (lambda: given([]), lambda: given(records.run({}))),
    ),
    "plot_head_only": Figure(
        lambda word: given(heads(word)),
        {
            "several": lambda word: given(heads(word, "uniform").drop(columns=["goal_low", "goal_high"])),
            "split": lambda word: given(heads("a").assign(split=word)),
        },
        (lambda: given(heads("a").iloc[:0]), lambda: given(pd.DataFrame())),
    ),
    "plot_pareto": Figure(
        lambda word: given(front(word), paths={word: [distances(word), distances(word, 1)]}),
        {"log": lambda word: given(front(word), log=True), "gaps": lambda word: given(front(word, True))},
        (lambda: given(pd.DataFrame()), lambda: given(front("a").iloc[:0])),
    ),
    "plot_side_by_side": Figure(
        lambda word: given(two_runs(word)),
        {
            **{
                view: lambda word, view=view: given(two_runs(word), view=view)
                for view in ("matrices", "classes", "layers", "attack")
            },
            "alone": lambda word: given(two_runs(word, missing=True), view="classes"),
        },
        (lambda: given(two_runs("a", missing=True)),),
    ),
    "plot_trial": Figure(
        lambda word: given(trial(word)),
        {"floor": lambda word: given(trial(word), floors={"retain accuracy change": 0.02})},
        (lambda: given(trial("a").iloc[:0]),),
    ),
    "plot_audit": Figure(
        lambda word: given(audits(word)),
        {"one unit": lambda word: given(audits(word, 2)), "without notes": lambda word: given(audits(word).drop(columns="note"))},
        (lambda: given(audits("a", 0)), lambda: given(audits("a").iloc[3:])),
    ),
    "plot_membership": Figure(
        lambda word: given(members()),
        {
            "loss": lambda word: given(members(("run",)), score="loss", false_positives=0.5),
            "members alone": lambda word: given(members().query("member")),
        },
        (lambda: given(members(())),),
        settled=True,
    ),
    "plot_agreement": Figure(lambda word: given(correlations(word)), empty=(lambda: given(pd.DataFrame()),)),
    "plot_spectrum": Figure(lambda word: given(spectrum(word)), empty=(lambda: given(spectrum("a", 0)),)),
    "plot_damping": Figure(lambda word: given(damping()), empty=(lambda: given(damping().iloc[:0]),), settled=True),
    "plot_stability": Figure(
        lambda word: given({word: draws(word), "shifts": draws(word)}),
        empty=(lambda: given({}), lambda: given({"seeds": draws("a").iloc[:0]})),
    ),
    "plot_disagreements": Figure(
        lambda word: given(disagreements(), one=word, other="two"), empty=(lambda: given(disagreements(0)),)
    ),
    "plot_proponents": Figure(
        lambda word: given(proponents(), 10),
        {"another": lambda word: given(proponents(2), 11)},
        (lambda: given(proponents(0), 10),),
        settled=True,
    ),
    "plot_one_step": Figure(lambda word: given(one_step()), empty=(lambda: given(one_step(0)),), settled=True),
    "plot_collateral": Figure(
        lambda word: given(damage(word)),
        {"no prediction": lambda word: given(damage(word).assign(predicted=np.nan))},
        (lambda: given(damage("a").iloc[:0]),),
    ),
    "plot_damage_by_sample": Figure(lambda word: given(damage(word)), empty=(lambda: given(damage("a").iloc[:0]),)),
    "plot_damage": Figure(
        lambda word: given(pd.DataFrame({word: [0.1, -3.0], "1": [0.2, 0.0]}, index=[11, 12])),
        empty=(lambda: given(pd.DataFrame()), lambda: given(pd.DataFrame({"1": []}))),
    ),
    "plot_resistance": Figure(
        lambda word: given(resistance().assign(**{column(word): [1.0, 2, 3, 4]}), value=column(word)),
        {"all defaults": lambda word: given(resistance())},
        (lambda: given(resistance().iloc[:0]),),
    ),
    "plot_reasons": Figure(lambda word: given(reasons(word)), empty=(lambda: given(reasons("a").iloc[:0]),)),
    "plot_dependence": Figure(lambda word: given(prediction("margin_before", column(word))), empty=(lambda: given(prediction()),)),
    "plot_retrieval": Figure(
        lambda word: given(retrieval(word)),
        {"several": lambda word: given([retrieval(word), retrieval("retrained")], places=2)},
        (lambda: given([]), lambda: given(retrieval("a", 0))),
    ),
    "plot_cmc": Figure(
        lambda word: given([retrieval(word), retrieval("retrained")]), empty=(lambda: given([]),)
    ),
    "plot_embedding": Figure(lambda word: given(people(word, "two")), empty=(lambda: given(people()),)),
    "plot_attribution": Figure(
        lambda word: given([seen("before"), seen(word)]), empty=(lambda: given([]), lambda: given(seen("a", 0)))
    ),
    "plot_quality_utility": Figure(
        lambda word: given([paths(word), paths("uniform")]),
        {"floor": lambda word: given(paths(word, "a", "b"))},
        (lambda: given([]),),
    ),
    "plot_truth_ratio": Figure(
        lambda word: given(ratios(word, "retrained")),
        {
            "several": lambda word: given(ratios(word, "retrained, 1", "retrained, 2")),
            "no goal": lambda word: given(ratios(word)),
        },
        (lambda: given(beside({}, {})), lambda: given(beside({}, {"retrained": ratios("a").pairs.iloc[:0]}))),
    ),
    "plot_leakage": Figure(
        lambda word: given(changes(word, "all together", word, "retrained")),
        {
            "loss": lambda word: given(changes(word, "all together"), value="loss"),
            "right": lambda word: given(changes(word, "all together").assign(right_change=np.nan), value="right"),
        },
        (lambda: given(changes("a", "all together").iloc[:0]), lambda: given(pd.DataFrame())),
    ),
    "plot_comeback": Figure(
        lambda word: given(back(word, "nothing", "same author", "kept authors")),
        {"no goal": lambda word: given(without_goal(back(word, "nothing")))},
        (lambda: given(back("a")),),
    ),
    "plot_transitions": Figure(
        lambda word: given(transitions()), empty=(lambda: given(records.run({})),), settled=True
    ),
    "plot_tokens": Figure(lambda word: given(tokens()), empty=(lambda: given(tokens().iloc[:0]),), settled=True),
}  # fmt: skip
UPDATED = {name: update for name in FIGURES if (update := getattr(figures, name.replace("plot_", "update_"), None))}
