"""Is it only the head? What a fresh head makes of an unlearned model's features, beside those of the retrained model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..core.labels import told_apart
from ..core.messages import DoesNotApply, listed
from ..core.records import Run
from ..core.running import fingerprint, tensors_of
from ..core.taken import several_runs
from ..features import readout
from ..features.cache import by_content
from ..lab.asked import check_one_request
from ..lab.provenance import asked_of
from ..measures.ensemble import References
from ..measures.reference import Reference, refuse_original
from ..tasks.around import innermost
from ..tasks.evaluation import outputs
from ..tasks.outputs import answers, true_classes, two_sided
from ..tasks.protocol import Examples, Task, offered, prepared

MOST = 10_000  # training pictures of a probe; more change its accuracy little and take minutes
GOOD = "close to the goal, the retrained model's; the original's value: nothing was unlearned in the features"


class Seen(NamedTuple):
    """Some examples as a model's last layer sees them: (n, d) features, (n,) true classes, (n,) the model's own answers."""

    features: np.ndarray
    truth: np.ndarray
    answers: np.ndarray


Head = Callable[[Seen, Seen], np.ndarray]  # from training and held-out examples to (n,) answers for the latter


class Measure(NamedTuple):
    """A head and what its accuracy means."""

    head: Head
    formula: str
    good: str = GOOD


def head_only(
    runs: Run | Iterable[Run] | Mapping[str, nn.Module],
    *,
    reference: Any,
    task: Task | None = None,
    original: nn.Module | None = None,
    per_class: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Whether unlearning changed what a model sees, or its last layer alone: accuracy of fresh heads on frozen features.

    >>> imu.head_only(run, reference=imu.references(task))

    A model whose features are intact is not unlearned: whoever has a few labelled pictures gets the class back. Features
    are what reaches the last linear layer, whatever moved. For a class, fresh heads learn all training pictures with their
    true labels and are tested on unseen pictures of it; for single samples they learn the others, and are tested on them.

    Sources: "An Illusion of Unlearning?" (arXiv 2604.08271); "prototypical relearning" (arXiv 2506.01318); nearest class
    means of a few pictures: Snell et al. 2017 (arXiv 1703.05175).

    Args:
        runs: one run or several, with their models; or models by name, with ``task`` and ``original``.
        reference: the retrained model, or several (:func:`imu_lab.references`): the goal.
        task, original: of the runs, where they do not know them.
        per_class: training pictures per class behind a prototype.
        seed: of which pictures those are.

    Returns:
        DataFrame, a row per measure and split: ``measure, split``, the accuracy of the ``original`` (the mean, where the runs
        began from several) and of each run, the
        ``goal`` (the retrained model's; the mean of several, and ``goal_low``, ``goal_high`` beside it), ``unit``, ``good``
        and ``formula``. Measures are ``"own head"``, ``"linear probe"`` and ``"prototypes"``.

    Raises:
        ValueError: a task without classes, a model without a last linear layer, a class that fresh heads would never see, or
            a model under a name that a column has already.
    """
    models, task, originals = _asked(runs, task, original)
    if isinstance(reference, References):
        reference.check(task)
    members = Reference.of(task, reference).members
    names = heads_splits(task)
    measures = heads_of(per_class, seed)
    seen: dict[str, list[dict[str, float]]] = {
        "original": [_accuracies(task, each, names, measures, seed) for each in originals],
        **{name: [_accuracies(task, model, names, measures, seed)] for name, model in models.items()},
        "goal": [_accuracies(task, member.model, names, measures, seed) for member in members],
    }
    for each in originals:
        refuse_original(members, each)
    rows = []
    for measure, about in measures.items():
        for split in names[1:]:
            values = {who: [one[measure, split] for one in each] for who, each in seen.items()}
            row = {"measure": measure, "split": split, **{who: float(np.mean(each)) for who, each in values.items()}}
            ends = {"goal_low": min(values["goal"]), "goal_high": max(values["goal"])} if len(members) > 1 else {}
            rows.append(row | ends | {"unit": "share correct", "good": about.good, "formula": about.formula})
    return pd.DataFrame(rows)


def _asked(
    runs: Any, task: Task | None, original: nn.Module | None
) -> tuple[dict[str, nn.Module], Task, list[nn.Module]]:
    """The models by name, their task, and what they began from."""
    if isinstance(runs, Mapping):
        if task is None or original is None:
            raise ValueError("models by name need task= and original= beside them; a run knows both")
        if taken := [name for name in ("original", "goal") if name in runs]:
            raise ValueError(f"the table has a column {taken[0]!r} of its own; give that model another name")
        return dict(runs), task, [original]
    runs = several_runs(runs, "head_only")
    if not runs:
        raise ValueError("there are no runs to look into; pass one run or several")
    check_one_request(runs, "head_only")
    task = [asked_of(run, task) for run in runs][0]
    labels, begun = told_apart(runs, seeds=True), [run.model_at(0) for run in runs] if original is None else [original]
    labels = [f"{label} #{at}" if labels.count(label) > 1 else label for at, label in enumerate(labels, 1)]
    distinct = {fingerprint(*tensors_of(model)): model for model in begun}
    return dict(zip(labels, [run.unlearned for run in runs])), task, list(distinct.values())


def heads_splits(task: Task) -> tuple[str, ...]:
    """What heads learn from, and what they are tested on: never what they learned from."""
    of_a_class = "test-forget" in offered(task).splits and len(task.split("test-forget"))
    learned, *tested = ("train", "test-forget", "test") if of_a_class else ("retain", "forget", "test")
    return (learned, *(name for name in tested if len(task.split(name))))  # unseen samples may all be of the class


def _accuracies(
    task: Task, model: nn.Module, names: tuple[str, ...], measures: Mapping[str, Measure], seed: int
) -> dict[tuple[str, str], float]:
    """{(measure, split): accuracy} of a model."""
    return {key: float(np.mean(right)) for key, right in right_answers(task, model, names, measures, seed).items()}


def right_answers(
    task: Task, model: nn.Module, names: tuple[str, ...], measures: Mapping[str, Measure], seed: int
) -> dict[tuple[str, str], np.ndarray]:
    """{(measure, split): (n,) whether each answer is right} of a model.

    Which training pictures are behind a head goes by what they show, so that all models get the same, in any order.
    """
    train, *tests = (seen_by(task, model, task.split(name)) for name in names)
    if unseen := sorted({str(each) for test in tests for each in test.truth} - set(map(str, train.truth))):
        raise DoesNotApply(
            f"fresh heads learn from the {names[0]!r} split, which has no sample of class {listed(unseen)}: they could never "
            "name it. To forget a whole class, ask for it with forget_class=, and it is tested on unseen pictures"
        )
    few = np.random.default_rng(seed).permutation(by_content(task.split(names[0])).numpy())[:MOST]
    train = Seen(*(np.asarray(values)[few] for values in train))
    return {
        (measure, split): about.head(train, test) == test.truth
        for measure, about in measures.items()
        for split, test in zip(names[1:], tests)
    }


def seen_by(task: Task, model: nn.Module, examples: Examples) -> Seen:
    """Examples as the model's last linear layer sees them.

    Raises:
        DoesNotApply: there is no true class per example, or no last linear layer.
    """
    model = prepared(task, model)
    layer = readout.find(model, readout.probe(task, model).inputs)
    features, truth, given = [], [], []
    for _, batch, (reached, made) in outputs(
        task, model, examples, lambda of, inputs: readout.capture(of, layer, inputs)
    ):
        if not isinstance(made, Tensor) or made.ndim != 2 or reached.ndim != 2:
            raise DoesNotApply(
                f"a fresh head needs one class per example; {type(innermost(task)).__name__} gives outputs of shape "
                f"{tuple(getattr(made, 'shape', ()))}, several predictions each. Ask this of a task of pictures"
            )
        features.append(reached.cpu())
        wanted = true_classes(task, made, batch)[0]
        truth.append(wanted.cpu())
        given.append(answers(two_sided(made), wanted).cpu())
    return Seen(*(torch.cat(parts).numpy() for parts in (features, truth, given)))


def heads_of(per_class: int, seed: int) -> dict[str, Measure]:
    """The heads, by name."""
    if per_class < 1:
        raise ValueError(f"per_class is a number of pictures from 1, got {per_class!r}")
    return {
        "own head": Measure(
            lambda _, test: test.answers, "share of pictures whose largest logit is their class's", "close to the goal"
        ),
        "linear probe": Measure(
            fresh_probe,
            "share of pictures whose class a fresh logistic regression tells (L2, C = 1, standardised features)",
        ),
        "prototypes": Measure(
            lambda train, test: _prototypes(train, test, per_class, seed),
            f"share of pictures whose class has the nearest mean of features, each of {per_class} training pictures",
        ),
    }


def fresh_probe(train: Seen, test: Seen) -> np.ndarray:
    """The answers of a logistic regression.

    Raises:
        DoesNotApply: there is one class alone to learn from.
    """
    if len(np.unique(train.truth)) < 2:
        raise DoesNotApply("a fresh head tells classes apart, and what it would learn from is all of one class")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return probe.fit(train.features.astype(np.float64), train.truth).predict(test.features.astype(np.float64))


def _prototypes(train: Seen, test: Seen, count: int, seed: int) -> np.ndarray:
    """The class whose mean over a few training pictures is nearest, by Euclidean distance."""
    order = np.random.default_rng(seed).permutation(len(train.truth))
    classes = np.unique(train.truth)
    means = [train.features[order[train.truth[order] == each][:count]].mean(0, dtype=np.float64) for each in classes]
    distances = ((test.features[:, None].astype(np.float64) - np.stack(means)) ** 2).sum(-1)  # (n, K)
    return classes[distances.argmin(1)]
