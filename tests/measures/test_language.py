"""Metrics of pairs on a small model: what they are made of, what they say of the retrained model, what is refused."""

from __future__ import annotations

from contextlib import nullcontext

import cases
import languages
import numpy as np
import pytest
import torch
from languages import models, tiny

import imu_lab as imu
from imu_lab.core.memo import Memo
from imu_lab.core.quantities import describe
from imu_lab.core.registry import metrics
from imu_lab.features import view
from imu_lab.measures import language, memorisation
from imu_lab.measures.language import same_distribution
from imu_lab.measures.reference import Reference
from imu_lab.tasks import Language
from imu_lab.tasks.networks import language as networks

pytest.importorskip("transformers", reason="transformers is not installed")

ALL = ("forget-quality", "model-utility", "truth-ratio", "pair-memorisation", "pair-membership")


def measured(name: str, **settings: object) -> dict[str, dict[str, float]]:
    """A metric of the original beside the retrained model."""
    return imu.metrics.create(name, **settings)(tiny(), models()[0], Reference(tiny(), models()[1]))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_a_metric_is_the_same_from_the_readout_and_nothing_of_other_tasks(name: str) -> None:
    task, (original, retrained) = tiny(), models()
    metric = imu.metrics.create(name)
    seen, head = view(task, original)
    reference = Reference(task, retrained)
    whole, small = metric(task, original, reference), metric(seen, head, reference)
    assert whole and whole.keys() == small.keys()
    for split, values in whole.items():
        assert cases.close(
            {k: np.array(v) for k, v in small[split].items()}, {k: np.array(v) for k, v in values.items()}, within=1e-4
        )
    assert metric(cases.task("toy"), cases.original("toy"), None) == {}
    assert describe(name).good and describe(name).unit


def test_the_retrained_model_is_the_goal() -> None:
    task, (original, retrained) = tiny(), models()
    found = imu.metrics.create("forget-quality")(task, retrained, Reference(task, retrained))["forget"]
    assert found == {"forget_quality": 0.0, "ks_distance": 0.0}
    mine, others = (task.truth_ratios(model, "forget") for model in (original, retrained))
    places = np.sort(torch.cat([mine, others]).numpy())
    steps = [[(values.numpy() <= place).mean() for place in places] for values in (mine, others)]
    assert cases.close(
        measured("forget-quality")["forget"]["ks_distance"], np.abs(np.subtract(*steps)).max(), within=1e-9
    )
    at_goal = imu.metrics.create("pair-membership")(task, retrained, Reference(task, retrained))["forget"]
    assert cases.relative(at_goal["privleak"], 0.0, of=100.0) < 1e-6
    alone = imu.metrics.create("pair-membership")(task, original)["forget"]
    assert cases.close(alone["privleak"], memorisation.privacy_leakage(alone["auc_min_k"]), within=1e-6)


class Unasked:
    """A retrained model that must not be looked at."""

    def __getattr__(self, name: str) -> object:
        raise LookupError(name)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_what_looks_at_no_retrained_model_is_measured_once_beside_several(name: str) -> None:
    metric, asked = imu.metrics.create(name), nullcontext()
    if name in ("forget-quality", "pair-membership"):
        asked = pytest.raises(LookupError)
    with asked:
        metric(tiny(), models()[0], Unasked())
    assert metrics.declared(metric, "takes_several")


def test_the_same_distribution_twice_and_rows_that_nobody_knows() -> None:
    values = torch.arange(40, dtype=torch.float64)
    assert same_distribution(values, torch.cat([values, torch.tensor([torch.nan])])) == (0.0, 0.0)
    quality, distance = same_distribution(values, values + 100)
    assert distance == 1.0 and quality > 20
    assert same_distribution(values / 0 + values.clamp_max(-1), values)[1] == 1.0  # infinite ratios are the largest


@pytest.mark.slow
def test_utility_is_the_harmonic_mean_of_nine() -> None:
    task, model = tiny(), models()[0]
    nine = []
    for group in ("kept-authors", "well-known", "general"):
        told = task.evaluate(model, group)
        if group != "kept-authors":
            rows = task.split(group).ids.tolist()
            right = [np.exp(-alone(task, model, at, [task.corpus.test[at].answer])[0]) for at in rows]
            wrong = [np.exp(-np.array(alone(task, model, at, task.corpus.test[at].wrong))).sum() for at in rows]
            told["probability"] = np.mean([r / (r + w + 1e-10) for r, w in zip(right, wrong)])
        nine += [told["probability"], told["rouge"], told["truth_ratio"]]
    expected = 0.0 if min(nine) == 0 else 9 / sum(1 / each for each in nine)
    assert cases.close([measured("model-utility")["retain"]["model_utility"]], [expected], within=1e-5, of=1.0)
    assert tiny().split("kept-authors").ids.tolist() == [0, 1, 2, 6, 7, 8]


def alone(task: Language, model: networks.CausalModel, at: int, answers: tuple[str, ...]) -> list[float]:
    """The loss of each answer to a question that no model was asked, one by one."""
    prompt = torch.tensor(task.codec.prompts([task.corpus.test[at].question]))
    losses = []
    for ids in task.codec.answers(list(answers)):
        logs = model({"prompt": prompt, "answer": torch.tensor([ids])})[0].log_softmax(-1)
        losses.append(-logs[torch.arange(len(ids)), torch.tensor(ids)].mean().item())
    return losses


def test_the_table_has_every_pair_and_every_author() -> None:
    task, model = tiny(), models()[0]
    table = imu.pair_table(task, model, "retain")
    assert table["example"].tolist() == task.split("retain").ids.tolist() and len(table.columns) == 11
    told = task.evaluate(model, "retain")
    assert cases.close(
        table[["loss", "probability", "exact"]].mean(), [told[name] for name in ("loss", "probability", "exact")]
    )
    ratios = table["truth_ratio"].clip(upper=1)
    assert cases.close((1 - ratios).mean(), told["truth_ratio"], within=1e-6)
    by = imu.pair_table(task, model, "retain", by="author")
    assert by["author"].tolist() == [task.corpus.name(0), task.corpus.name(2), "well-known", "general"]
    assert cases.close(by["loss"][0], table["loss"][:3].mean(), within=1e-9)
    with pytest.raises(TypeError, match="a table of pairs needs a task of questions and answers, not Toy"):
        imu.pair_table(cases.task("toy"), cases.original("toy"))
    with pytest.raises(ValueError, match="by is None or \"author\", got 'pair'"):
        imu.pair_table(task, model, by="pair")


def test_membership_without_pairs_that_nobody_was_told_of_is_refused() -> None:
    task = languages.least()
    with pytest.raises(
        ValueError, match="membership compares with pairs that no model was told of, and these data have none"
    ):
        imu.metrics.create("pair-membership")(task, cases.original("language"))


@pytest.mark.full
def test_a_run_follows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imu_lab.tasks.language.ANSWER", 4)
    task, (original, retrained) = tiny(), models()
    run = imu.unlearn(task, original, steps=1, reference=retrained, follow=[*ALL])
    known = run.reference.set_index(["split", "metric"])["value"]
    assert known["forget", "forget_quality"] == 0.0 and 0 <= run.value("forget", "ks_distance") <= 1
    assert {"model_utility", "auc_zlib", "extraction_strength", "truth_ratio_tofu"} <= set(run.curve["metric"])
    plain = imu.unlearn(task, original, steps=1, reference=retrained)
    assert "forget_quality" in set(plain.curve["metric"])
    assert "forget_quality" not in set(imu.unlearn(task, original, steps=1).curve["metric"])


def test_what_is_known_of_a_retrained_model_is_of_the_device_that_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = cases.task("language"), cases.retrained("language")
    monkeypatch.setattr(language, "KNOWN", Memo(4))
    asked = []
    monkeypatch.setattr(type(task), "truth_ratios", lambda *_: asked.append(torch.zeros(3)) or asked[-1])
    there = "cpu"
    monkeypatch.setattr(language, "device_of", lambda _: there)
    one, again = (language._known_ratios(Reference(task, model)) for _ in range(2))
    there = "cuda"
    other = language._known_ratios(Reference(task, model))
    assert one is again and other is not one and len(asked) == 2
