"""Two runs of one request side by side: where they put the samples, what they answer, and who an attack takes for members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..core.labels import told_apart
from ..core.messages import DoesNotApply, unknown
from ..core.records import Run
from ..core.running import evenly
from ..core.taken import a_record
from ..lab.asked import check_one_request
from ..measures import predictions
from ..measures.membership import SCORES
from ..tasks.evaluation import outputs
from ..tasks.outputs import check_probabilities, two_sided
from ..tasks.protocol import Examples, Task, labels_of
from . import feature_audits, likeness_audits
from .audited import ORIGINAL, RETRAINED, RUN, Audited

A, B = "A", "B"
MOST = 400  # samples of a split in the plane
DRAWS = 1  # resamplings of CKA, whose intervals are not shown here


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Two runs of one request, beside the retrained model (where there is one) and the original.

    Attributes:
        task: of both.
        runs: ``{"A": run, "B": run}``.
        names: ``{"A": label, "B": label}``, told apart by the settings in which they differ.
        plane: ``model, split, example, label, answer, x, y``: every model's answers to the same samples in one plane, the
            two directions in which the answers (log-probabilities less their mean) of both runs vary most.
        matrices: by model, how often each true class of ``split`` was given each answer.
        split: of the matrices: unseen samples of what was forgotten, where there are some, else the forget set.
        classes: ``class, seen, samples`` and each model's share correct; ``A gap`` and ``B gap`` to the retrained model.
        layers: ``layer, split, A, B, goal, original``: linear CKA with the retrained model.
        scores: ``model, example, label, member`` and what :func:`imu_lab.membership` asks of each sample.
        missing: by the name of a part, why there is none of it.
    """

    task: Task
    runs: dict[str, Run]
    names: dict[str, str]
    plane: pd.DataFrame
    matrices: dict[str, pd.DataFrame]
    split: str
    classes: pd.DataFrame
    layers: pd.DataFrame
    scores: pd.DataFrame
    missing: dict[str, str]

    def attacked(self, model: str, score: str, threshold: float) -> pd.DataFrame:
        """Each sample with whether an attack calls it a member: its score on the members' side of the threshold.

        Returns:
            DataFrame ``example, label, member, score, called``, the most member-like first.

        Raises:
            UnknownName: no such model or score.
            ValueError: nothing can be attacked here.
        """
        if "scores" in self.missing:
            raise ValueError(self.missing["scores"])
        for kind, name, known in (
            ("model", model, list(dict.fromkeys(self.scores["model"]))),
            ("score", score, list(SCORES)),
        ):
            if name not in known:
                raise unknown(kind, name, known)
        rows, sign = self.scores[self.scores["model"] == model], SCORES[score].sign
        table = rows[["example", "label", "member"]].assign(score=rows[score])
        table["called"] = sign * table["score"] >= sign * threshold
        return table.sort_values("score", ascending=sign < 0, kind="stable").reset_index(drop=True)

    def rates(self, model: str, score: str, threshold: float) -> dict[str, float]:
        """What an attack at a threshold gets: ``true`` and ``false`` positives, as shares of members and of others."""
        table = self.attacked(model, score, threshold)
        called = table.groupby("member")["called"].mean()
        return {"true": float(called.get(True, np.nan)), "false": float(called.get(False, np.nan))}

    def __repr__(self) -> str:
        return f"SideBySide({self.names[A]} | {self.names[B]})"


def side_by_side(run_a: Run, run_b: Run, *, reference: Any = None, task: Task | None = None) -> SideBySide:
    """Two runs that answer the same request, in everything that can be shown of them together.

    >>> imu.ab(run_a, run_b)  # the panel of it

    Args:
        run_a, run_b: with their task and their models.
        reference: the retrained model; by default that against which the first run was measured.
        task: of loaded runs that do not know it.

    Raises:
        TypeError: one of them is no run.
        ValueError: they do not forget the same samples of the same data, or do not know their task.
    """
    runs = {A: run_a, B: run_b}
    for each in runs.values():
        a_record(each, "side_by_side", Run, "a run of imu.unlearn")
    check_one_request(runs.values(), "side_by_side")
    first = Audited.of(runs[A], reference, task, DRAWS)
    asked = {A: first, B: Audited.of(runs[B], first.references if reference is None else reference, task, DRAWS)}
    models = {A: first.models[RUN], B: asked[B].models[RUN], ORIGINAL: first.models[ORIGINAL]}
    models |= {RETRAINED: first.models[first.retrained[0]]} if first.retrained else {}
    split = "test-forget" if first.of_a_group else "forget"
    parts: dict[str, Callable[[], Any]] = {
        "plane": lambda: _plane(first.task, models, [name for name in ("forget", "test") if name in first.splits]),
        "matrices": lambda: _matrices(first, models, split),
        "classes": lambda: _classes(asked),
        "layers": lambda: _layers(asked),
        "scores": lambda: _scores(asked),
    }
    found: dict[str, Any] = dict.fromkeys(parts, pd.DataFrame()) | {"matrices": {}}
    missing: dict[str, str] = {}
    for name, make in parts.items():
        try:
            found[name] = make()
        except DoesNotApply as error:  # any other is a fault, which nobody may take for what cannot be had of this task
            missing[name] = str(error)
    labels = dict(zip(runs, told_apart(runs.values(), seeds=True)))
    return SideBySide(first.task, runs, labels, split=split, missing=missing, **found)


def _plane(task: Task, models: dict[str, nn.Module], splits: list[str]) -> pd.DataFrame:
    """All models' answers to the same samples, in the plane in which those of the two runs vary most."""
    whole = {split: task.split(split) for split in splits}  # evenly many of each, whatever its size
    few = {split: each.take(evenly(MOST, len(each))) for split, each in whole.items()}
    answers = {name: [_answers(task, model, each) for each in few.values()] for name, model in models.items()}
    stacked = np.concatenate([values for name in (A, B) for values in answers[name]])
    middle = stacked.mean(0)
    _, _, directions = np.linalg.svd(stacked - middle, full_matrices=False)
    plane = np.zeros((stacked.shape[1], 2))
    plane[:, : min(2, len(directions))] = directions[:2].T
    plane *= np.sign(plane[np.abs(plane).argmax(0), [0, 1]]) + (plane == 0).all(0)  # the same on every machine
    names, _ = predictions.named(task, np.array([stacked.shape[1] - 1]), np.array([0]))
    rows = []
    for name, parts in answers.items():
        for (split, examples), values in zip(few.items(), parts):
            at, ids = (values - middle) @ plane, examples.ids.numpy()
            about = {"model": name, "split": split, "example": ids, "label": labels_of(task, ids, examples.source)}
            rows.append(
                pd.DataFrame(about | {"answer": [names[k] for k in values.argmax(1)], "x": at[:, 0], "y": at[:, 1]})
            )
    return pd.concat(rows, ignore_index=True)


def _answers(task: Task, model: nn.Module, examples: Examples) -> np.ndarray:
    """(n, K) log-probabilities less their mean over the classes.

    Raises:
        DoesNotApply: the outputs are no logits of classes, one prediction per sample.
    """
    check_probabilities(task)
    made = [two_sided(each) for _, _, each in outputs(task, model, examples)]
    if any(each.ndim != 2 for each in made):
        raise DoesNotApply("a plane of answers needs one prediction of classes per sample")
    logs = torch.cat(made).double().log_softmax(-1)
    return (logs - logs.mean(-1, keepdim=True)).cpu().numpy()


def _matrices(asked: Audited, models: dict[str, nn.Module], split: str) -> dict[str, pd.DataFrame]:
    return {
        name: predictions.prediction_matrix(asked.task, model, asked.split(split)) for name, model in models.items()
    }


def _classes(asked: dict[str, Audited]) -> pd.DataFrame:
    """Both runs' shares correct by class, beside the retrained model's and the original's."""
    found = {name: likeness_audits.class_table(each) for name, each in asked.items()}
    first = found[A]
    shares = {name: table[RUN] / table["samples"] for name, table in found.items()}
    table = first[["class", "seen", "samples"]].assign(**shares, original=first[ORIGINAL] / first["samples"])
    retrained = asked[A].retrained
    goal = first[retrained].div(first["samples"], axis=0).mean(axis=1) if retrained else np.nan
    table = table.assign(goal=goal)
    return table.assign(**{f"{name} gap": table[name] - table["goal"] for name in (A, B)})


def _layers(asked: dict[str, Audited]) -> pd.DataFrame:
    """CKA of both runs with the retrained model, layer by layer."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, each in asked.items():
        for row in feature_audits.cka_rows(each):
            layer = row.name.removeprefix("CKA of layer ")
            about = {"layer": layer, "split": row.split, "goal": row.goal, "original": row.original}
            rows.setdefault((layer, row.split), about)[name] = row.value
    if not rows:
        raise DoesNotApply("the model has no layer before its output, so both runs see the same features")
    return pd.DataFrame(rows.values())


def _scores(asked: dict[str, Audited]) -> pd.DataFrame:
    """What every model says of each member and of each sample never seen."""
    first = asked[A]
    wanted = [(A, first, RUN), (B, asked[B], RUN), (ORIGINAL, first, ORIGINAL)]
    wanted += [(RETRAINED, first, first.retrained[0])] if first.retrained else []
    tables = {name: each.known_of(who)[["example", "label", "member", *SCORES]] for name, each, who in wanted}
    return pd.concat(tables, names=["model"]).reset_index("model").reset_index(drop=True)
