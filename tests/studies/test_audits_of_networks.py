"""Audits of runs on the networks that papers use: each number beside what a plain loop over the models gives."""

from __future__ import annotations

import copy
from functools import cache

import networks
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wasserstein_distance
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.records import Run
from imu_lab.measures import layers
from imu_lab.studies import relearning

SPLITS = ("forget", "retain", "test", "test-forget")
WHOS = ("value", "original", "goal")  # columns: of the run, the original and the retrained model
RUNS = [("resnet-18", "imu"), ("small-vit", "bad-teacher"), ("vgg-16-bn", "bad-teacher")]
RUNS += [("transformer of Hugging Face", "bad-teacher"), ("ResNet of Hugging Face", "eu-k"), ("torchvision", "imu")]
EACH = pytest.mark.parametrize(("name", "method"), RUNS)

pytestmark = pytest.mark.full


@cache
def audited(name: str, method: str) -> tuple[Run, pd.DataFrame, dict[str, nn.Module]]:
    """A run of a network, its table of audits, and plain copies of the three models."""
    task, original, retrained = networks.given(name)
    run = imu.unlearn(task, original, method=method, steps=3, step_norm=0.5, reference=retrained)
    models = dict(zip(WHOS, (run.model, original, retrained)))
    table = imu.audit(run, draws=20).set_index(["name", "split"])
    return run, table, {who: copy.deepcopy(model).eval() for who, model in models.items()}


@cache
def said(name: str, method: str, who: str, split: str) -> tuple[Tensor, Tensor]:
    """(n, K) log-probabilities by a plain call of the model, in double precision, and (n,) the true classes."""
    run, _, models = audited(name, method)
    batch = run.task.split(split).batch()
    with torch.no_grad():
        return networks.logits(models[who], batch.inputs).double().log_softmax(1), batch.targets


@EACH
def test_membership(name: str, method: str) -> None:
    _, table, _ = audited(name, method)
    for who in WHOS:
        (mine, truth), (theirs, other) = (said(name, method, who, split) for split in ("forget", "test-forget"))
        entropies = [-(log.exp() * log).sum(1).numpy() for log in (mine, theirs)]
        own = [log.gather(1, at[:, None])[:, 0].numpy() for log, at in ((mine, truth), (theirs, other))]
        for score, (members, others) in (
            ("loss", own),
            ("confidence", own),
            ("entropy", [-each for each in entropies]),
        ):
            found = table.loc[(f"AUC by {score}", "forget against test-forget"), who]
            truths = [1] * len(members) + [0] * len(others)
            assert found == pytest.approx(roc_auc_score(truths, np.concatenate([members, others])), abs=1e-9)


@EACH
def test_distances_and_accuracies(name: str, method: str) -> None:
    _, table, _ = audited(name, method)
    rights = {}
    for who in WHOS:
        for split in SPLITS:
            (mine, truth), (goal, _) = said(name, method, who, split), said(name, method, "goal", split)
            middle = torch.log((mine.exp() + goal.exp()) / 2)
            kl = (goal.exp() * (goal - mine)).sum(1).mean().item()
            js = sum((each.exp() * (each - middle)).sum(1).mean().item() for each in (mine, goal)) / 2
            agree = (mine.argmax(1) == goal.argmax(1)).double().mean().item()
            own = [log.exp().gather(1, truth[:, None])[:, 0].numpy() for log in (mine, goal)]
            rights[who, split] = (mine.argmax(1) == truth).double().mean().item()
            for title, expected in (
                ("KL to the retrained model", kl),
                ("Jensen-Shannon divergence to the retrained model", js),
                ("agreement with the retrained model", agree),
                ("W1 of the true answer's probability", wasserstein_distance(*own)),
            ):
                assert table.loc[(title, split), who] == pytest.approx(expected, rel=1e-4, abs=1e-6), (title, split)
        parts = [1 - abs(rights[who, split] - said_right(name, method, split)) for split in SPLITS[:3]]
        assert table.loc[("tug of war", "all"), who] == pytest.approx(np.prod(parts))


def said_right(name: str, method: str, split: str) -> float:
    """The retrained model's accuracy."""
    goal, truth = said(name, method, "goal", split)
    return (goal.argmax(1) == truth).double().mean().item()


@EACH
def test_class_by_class(name: str, method: str) -> None:
    run, _, _ = audited(name, method)
    table = imu.class_accuracy(run).set_index(["class", "seen"])
    for who in WHOS:
        pairs = {True: ("forget", "retain"), False: ("test-forget", "test")}
        for seen, splits in pairs.items():
            log, truth = (torch.cat(each) for each in zip(*(said(name, method, who, split) for split in splits)))
            for number, label in enumerate(run.task.classes):
                mine = log.argmax(1)[truth == number]
                assert table.loc[(label, seen), who] == pytest.approx((mine == number).double().mean().item())
    for model, who in (("run", "value"), ("original", "original"), ("retrained", "goal")):
        log, truth = said(name, method, who, "retain")
        found = imu.prediction_matrix(run, "retain", model)
        for row, label in enumerate(run.task.classes):
            for column, answer in enumerate(run.task.classes):
                count = ((truth == row) & (log.argmax(1) == column)).sum().item()
                assert found.get(answer, {}).get(label, 0) == count, (label, answer)
        assert found.to_numpy().sum() == len(truth)


@EACH
def test_layers(name: str, method: str) -> None:
    """CKA by its dense formula and probes, on what plain hooks see."""
    run, table, models = audited(name, method)
    ends = layers.layers(run.task, run.model)
    seen = {
        (who, split): through(models[who], run.task.split(split).batch().inputs, ends)
        for who in WHOS
        for split in SPLITS
    }
    for layer in ends:
        for split in ("forget", "retain"):
            for who in WHOS[:2]:
                x, y = (each - each.mean(0) for each in (seen[who, split][layer], seen["goal", split][layer]))
                dense = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
                assert table.loc[(f"CKA of layer {layer}", split), who] == pytest.approx(dense, abs=1e-4), (layer, who)
    apart = [table.loc[(f"CKA of layer {layer}", "retain")] for layer in list(ends)[:-1]]
    same = all(row["value"] == pytest.approx(row["original"], abs=1e-6) for row in apart)
    assert same == (method != "bad-teacher"), "a run of the readout leaves every layer before it, another does not"


def through(model: nn.Module, inputs: object, ends: dict[str, str]) -> dict[str, np.ndarray]:
    """{layer: (n, d)} by a hook on each, the mean over pixels (n, d, h, w) or tokens (n, t, d)."""
    made: dict[str, Tensor] = {}
    hooks = [
        model.get_submodule(end).register_forward_hook(
            lambda _, __, out, layer=layer: made.update({layer: out.double()})
        )
        for layer, end in ends.items()
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    axes = {4: (2, 3), 3: (1,)}
    return {name: (out.mean(axes[out.ndim]) if out.ndim > 2 else out).numpy() for name, out in made.items()}


@EACH
def test_relearning(name: str, method: str) -> None:
    """Adam on the readout, through the whole network, until the accuracy is the original's again."""
    run, table, models = audited(name, method)
    batch, goal = run.task.split("forget").batch(), said_of(models["original"], run)
    for who in ("value", "goal"):
        model = copy.deepcopy(models[who])
        moving = [value for name, value in model.named_parameters() if name.startswith(readout_of(run))]
        optimizer, count = torch.optim.Adam(moving, lr=relearning.RATE), 0
        while said_of(model, run) < (1 - relearning.WITHIN) * goal - 1e-12 and count < relearning.UPDATES:
            optimizer.zero_grad()
            nn.functional.cross_entropy(networks.logits(model, batch.inputs), batch.targets).backward()
            optimizer.step()
            count += 1
        assert table.loc[("relearn time", "forget"), who] == count


def readout_of(run: Run) -> str:
    """The name of the readout."""
    return run.settings["readout"][0]


def said_of(model: nn.Module, run: Run) -> float:
    """Accuracy on the forget set."""
    batch = run.task.split("forget").batch()
    with torch.no_grad():
        return (networks.logits(model, batch.inputs).argmax(1) == batch.targets).double().mean().item()
