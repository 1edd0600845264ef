"""An estimator, a rule, a method and a metric of a user's, written from the public names alone, through every verb."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cases
import numpy as np
import pytest
import torch

import imu_lab as imu
from imu_lab.unlearning import objectives

OURS = {"estimator": "loss", "rule": "heaviest", "method": "bounded-ascent", "metric": "doubt"}


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """What a notebook of a user's would hold, without one import but ``imu_lab``."""

    @imu.estimator(OURS["estimator"])
    @dataclass(frozen=True)
    class Loss:
        """I_i = −ℓ_i: what the model knows least is pressed most."""

        power: float = imu.knob(1.0, help="The exponent of the loss.", valid="(0, inf)", range=(0.1, 3.0))

        def __call__(self, task: Any, model: torch.nn.Module, forget: Any, target: Any) -> torch.Tensor:
            with torch.no_grad():
                return -(task.example_loss(model, forget.batch()) ** self.power)

    @imu.intensity_rule(OURS["rule"])
    @dataclass(frozen=True)
    class Heaviest:
        """The share of the samples with the most negative influence, all alike."""

        share: float = imu.knob(0.1, help="Press this share of the samples.", valid="(0, 1]", range=(0.05, 1.0))

        def __call__(self, influence: np.ndarray) -> np.ndarray:
            return (influence <= np.quantile(influence, self.share)).astype(float)

    @imu.method(OURS["method"])
    @dataclass(frozen=True)
    class BoundedAscent(imu.Descent):
        """Weighted ascent up to a ceiling: a sample whose loss has passed it is left alone."""

        ceiling: float = imu.knob(3.0, help="The loss in nats at which to leave off.", valid="(0, inf)", range=(1, 9))

        def __call__(self, task: Any, model: torch.nn.Module, request: imu.Request) -> Iterator[imu.Update]:
            return imu.descend(self, imu.moving_parameters(task, model), self.objectives(task, model, request))

        def objectives(self, task: Any, model: torch.nn.Module, request: imu.Request) -> Iterator[imu.Objective]:
            for positions, batch in imu.forget_batches(self, model, request):
                losses = task.example_loss(model, batch).clamp(max=self.ceiling)
                shares = request.weights[positions] / request.weights[positions].sum().clamp(min=1e-12)
                yield imu.Objective({"ascent": -(shares.to(losses) * losses).sum()}, positions, shares)

    @imu.metric(OURS["metric"], unit="share", good="on forget: high; elsewhere: low", title="doubt")
    @dataclass(frozen=True)
    class Doubt:
        """Share of examples with a loss above one nat."""

        threshold: float = 1.0

        def __call__(self, task: Any, model: torch.nn.Module, reference: Any) -> dict[str, dict[str, float]]:
            found = {}
            for split in ("forget", "retain"):
                with torch.no_grad():
                    losses = task.example_loss(model, task.split(split).batch())
                found[split] = {"doubt": (losses > self.threshold).float().mean()}
            return found

    yield
    for registry, kind in ((imu.estimators, "estimator"), (imu.intensity_rules, "rule"), (imu.methods, "method"),
                           (imu.metrics, "metric")):  # fmt: skip
        registry.unregister(OURS[kind])


@pytest.fixture(scope="module", params=["toy", "digits class", "own data"])
def name(request: pytest.FixtureRequest) -> str:
    """A task of vectors, one of pictures, one of a user's."""
    return request.param


@pytest.fixture(scope="module")
def run(name: str) -> imu.Run:
    """All four together."""
    task, model = cases.task(name), cases.original(name)
    scores = imu.influence(task, model, OURS["estimator"], power=2.0)
    weights = imu.intensity(scores, OURS["rule"], share=0.5)
    return imu.unlearn(
        task,
        model,
        weights,
        method=OURS["method"],
        steps=6,
        lr=0.2,
        ceiling=4.0,
        reference=cases.retrained(name),
        follow=[OURS["metric"], "kl-retrained"],
        record_every=2,
    )


def test_influence_and_intensity(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    scores = imu.influence(task, model, OURS["estimator"], power=2.0)
    forget = task.split("forget")
    losses = task.example_loss(model, forget.batch()).detach().double()
    assert cases.close(scores.values, -(losses**2).numpy(), within=1e-4)
    assert scores.settings["estimator"] == "loss" and scores.settings["settings"] == {"power": 2.0}
    weights = imu.intensity(scores, OURS["rule"], share=0.5)
    assert 0.4 <= weights.frame["selected"].mean() <= 0.7
    assert weights.settings["rule"] == "heaviest" and weights.settings["settings"] == {"share": 0.5}
    shuffled = imu.intensity(scores, "shuffled", of=imu.intensity_rules.create(OURS["rule"], share=0.5), seed=2)
    assert np.array_equal(np.sort(shuffled.values), np.sort(weights.values))


def test_the_run_records_what_the_method_says(run: imu.Run, name: str) -> None:
    assert run.label == "bounded-ascent · heaviest" and run.events["steps"] == 6
    pressed = run.samples["selected"].to_numpy()
    assert (run.samples["pressure"].to_numpy()[pressed] > 0).all()
    assert (run.samples["pressure"].to_numpy()[~pressed] == 0).all()
    assert run.value("forget", "loss") > run.value("forget", "loss", 0)
    assert {"ascent", "ascent_gradient", "update_norm", "examples"} == set(run.terms["term"])
    assert run.settings["settings"]["ceiling"] == 4.0


def test_the_metric_is_followed_and_measured_of_the_retrained_model(run: imu.Run, name: str) -> None:
    task = cases.task(name)
    assert run.series("forget", "doubt").index.tolist() == [0, 2, 4, 6]
    for model, found in (
        (run.model, run.value("forget", "doubt")),
        (cases.original(name), run.value("forget", "doubt", 0)),
    ):
        losses = task.example_loss(model, task.split("forget").batch())
        assert found == pytest.approx((losses > 1).double().mean().item())
    retrained = run.reference.set_index(["split", "metric"])["value"][("forget", "doubt")]
    losses = task.example_loss(cases.retrained(name), task.split("forget").batch())
    assert retrained == pytest.approx((losses > 1).double().mean().item())


def test_it_stops_at_the_users_metric(name: str) -> None:
    task, model = cases.task(name), cases.original(name)
    strict = imu.metrics.create(OURS["metric"], threshold=2.0)
    goal = ("doubt", ">=", 0.5)
    made = imu.unlearn(task, model, method=OURS["method"], steps=90, lr=0.1, follow=[strict], stop_at=goal)
    assert made.events["stopped_at"] and made.value("forget", "doubt") >= 0.5
    assert made.value("forget", "doubt", made.steps[-2]) < 0.5


def test_one_metric_may_be_named_without_a_list() -> None:
    made = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=1, follow=OURS["metric"])
    assert not np.isnan(made.value("forget", "doubt"))


def test_compare_and_resistance(run: imu.Run, name: str) -> None:
    control = imu.unlearn(cases.task(name), cases.original(name), steps=6, follow=[OURS["metric"]])
    table = imu.compare([run, control])
    assert {run.label, control.label} <= set(table["run"]) and "forget doubt" in table
    found = imu.resistance(run)
    assert found["example"].tolist() == run.samples["example"].tolist()
    assert set(found.loc[~found["pressed"], "example"]) == set(run.samples.loc[~run.samples["selected"], "example"])


def test_saved_and_loaded_it_is_the_same_and_can_be_made_again(run: imu.Run, name: str, tmp_path: Path) -> None:
    task = cases.task(name)
    loaded = imu.load_run(run.save(tmp_path / "mine.imu"), task=task)
    assert loaded.curve.equals(run.curve) and loaded.settings["follow"][0] == {
        "metric": "doubt",
        "settings": {"threshold": 1.0},
    }
    first, other = run.model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(first[key], other[key]) for key in first)
    repeated = imu.again(loaded, reference=cases.retrained(name))
    assert repeated.curve.equals(run.curve)


def test_it_is_drawn_with_its_unit(run: imu.Run) -> None:
    figure = imu.plot_curves([run], metric="doubt")
    assert "doubt" in figure.to_json() and "share" in figure.to_json()


def test_it_is_explored(run: imu.Run, name: str) -> None:
    explorer = imu.explore(run)
    try:
        explorer.choose(int(run.samples["example"].iloc[0]))
        assert not explorer.error.value
    finally:
        explorer.close()


def test_a_method_that_declares_nothing_sees_no_retain_set(name: str) -> None:
    seen = []

    @dataclass(frozen=True)
    class Curious:
        scope: ClassVar[str] = "all"

        def __call__(self, task: Any, model: torch.nn.Module, request: imu.Request) -> Iterator[None]:
            seen.append(request)
            yield None

    made = imu.unlearn(cases.task(name), cases.original(name), method=Curious(), steps=1)
    (request,) = seen
    assert request.retain is None and made.label.startswith("Curious")
    assert torch.equal(request.forget.ids, cases.task(name).split("forget").ids)


@pytest.mark.parametrize(("contract", "asked"), [
    (imu.Estimator, ["task", "model", "forget", "target"]),
    (imu.IntensityRule, ["influence"]),
    (imu.Method, ["task", "model", "request"]),
    (imu.Metric, ["task", "model", "reference"]),
])  # fmt: skip
def test_a_contract_can_be_opened_and_read(contract: type, asked: list[str]) -> None:
    assert list(inspect.signature(contract.__call__).parameters) == ["self", *asked]
    assert "Register a frozen dataclass" in contract.__doc__ and contract.__call__.__doc__
    declared = [name for name in contract.__annotations__ if name not in ("return",)]
    assert declared and all(f"{name}:" in contract.__doc__ for name in declared), "what may be declared is explained"


REGISTRIES = (imu.estimators, imu.intensity_rules, imu.methods, imu.metrics)


@pytest.mark.parametrize(("doc", "made", "kind"), [
    (imu.Estimator.__doc__, "scores", imu.Influence),
    (imu.IntensityRule.__doc__, "weights", imu.Intensity),
    (imu.Method.__doc__, "run", imu.Run),
    (imu.Metric.__doc__, "run", imu.Run),
    (objectives.__doc__ + "\n        run = imu.unlearn(task, original, method='bounded-ascent')\n", "run", imu.Run),
], ids=["estimator", "rule", "method", "metric", "kit"])  # fmt: skip
def test_the_lines_of_a_docstring_run_as_they_stand_there(doc: str, made: str, kind: type) -> None:
    doc = inspect.cleandoc(doc) + "\n"  # from Python 3.13 on docstrings come without their indentation
    blocks = re.findall(r"(?:^ {4,}.*\n|^\n)+", doc.split("::\n", 1)[1].split("\nAttributes:")[0], re.M)
    task, original = cases.task("toy"), cases.original("toy")
    names = {"imu": imu, "np": np, "torch": torch, "dataclass": dataclass, "task": task, "original": original}
    if made == "weights":
        names["scores"] = imu.influence(task, original)
    before = [dict(registry) for registry in REGISTRIES]
    try:
        exec(compile("\n".join(textwrap.dedent(block) for block in blocks), "docstring", "exec"), names)
        assert isinstance(names[made], kind) and [dict(registry) for registry in REGISTRIES] != before
    finally:
        for registry, known in zip(REGISTRIES, before):
            for added in set(registry) - set(known):
                registry.unregister(added)
            for name, item in known.items():
                registry.register(name)(item)
