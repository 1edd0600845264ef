"""What makes a comparison honest, asked of what the workbench answers after its sliders have been moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cases
import numpy as np
import pytest

import imu_lab as imu
from imu_lab.widgets.base.controls import Choice
from imu_lab.widgets.base.job import Job
from imu_lab.widgets.workbench.workbench import Workbench, workbench

SECONDS = 60.0

# Positions of sliders, each far from the default.
MOVED = [
    Choice("sqrt-clipped", {"quantile": 0.3, "top": 0.4}),
    Choice("softmax", {"temperature": 0.2}),
    Choice("inverse", {"quantile": 0.5}),
    Choice("top-fraction", {"top": 0.6}),
]


@pytest.fixture
def panel() -> Iterator[Workbench]:
    Job.errors.clear()
    made = workbench(
        cases.task("digits class"),
        cases.original("digits class"),
        reference=cases.retrained("digits class"),
        steps=6,
        compare_with=("uniform", "shuffled", "gradient-norm"),
    )
    assert made.wait(SECONDS)
    yield made
    made.close()
    assert not Job.errors, Job.errors


def weights(panel: Workbench) -> dict[str, np.ndarray]:
    """The share of the pressure of each forget sample, in each run that the panel answers with."""
    assert panel.wait(SECONDS) and panel.answer.complete
    return {run.settings["weights"]["rule"]: run.samples["weight"].to_numpy() for run in panel.answer.runs}


def is_permutation(found: np.ndarray, of: np.ndarray) -> bool:
    """Whether these are the very same numbers in another order, but for the rounding of the sum that they add up to."""
    return cases.relative(np.sort(found), np.sort(of)) <= 1e-12 and cases.relative(found, of) > 1e-3


@pytest.mark.few(2)
@pytest.mark.parametrize("rule", MOVED, ids=lambda rule: rule.name)
def test_the_controls_are_controls_of_the_main_run_wherever_its_sliders_stand(panel: Workbench, rule: Choice) -> None:
    before = weights(panel)
    panel.controls.estimator.controls.controls["damping"].editor.value = 1e-4
    panel.controls.rule.value = rule
    found = weights(panel)
    assert not np.array_equal(np.sort(found[rule.name]), np.sort(before["sqrt-clipped"])), "else nothing was moved"
    assert is_permutation(found["shuffled"], of=found[rule.name])
    assert np.ptp(found["uniform"]) == 0
    assert np.array_equal(found["gradient-norm"], before["gradient-norm"]), "it knows nothing of influences"
    norms = panel.answer.scores.context["gradient_norm"].to_numpy()
    assert cases.close(found["gradient-norm"], norms / norms.sum(), within=1e-5)


def test_a_slider_of_the_rule_alone_makes_another_shuffled_run(panel: Workbench) -> None:
    for top in (0.5, 0.2, 0.5):  # and back, where runs are kept
        panel.controls.rule.controls.controls["top"].editor.value = top
        found = weights(panel)
        assert is_permutation(found["shuffled"], of=found["sqrt-clipped"])
        assert (found["shuffled"] > 0).sum() == np.ceil(top * (panel.answer.scores.values < 0).sum())


def test_equal_steps_are_equally_long_in_every_run(panel: Workbench) -> None:
    panel.controls.rule.value = MOVED[0]
    panel.controls.method.controls.controls["step_norm"].switch.value = True
    assert panel.wait(SECONDS) and panel.answer.complete and len(panel.answer.runs) == 4
    length = panel.controls.method.value.settings["step_norm"]
    for run in panel.answer.runs:
        lengths = run.terms.loc[run.terms["term"] == "update_norm", "value"]
        assert len(lengths) == 6 and cases.close(lengths, length, within=1e-4)


def test_uniform_as_the_main_rule_tells_of_todays_influences(panel: Workbench) -> None:
    panel.controls.rule.names.value = "uniform"
    for damping in (1e-3, 1e-1):
        panel.controls.estimator.controls.controls["damping"].editor.value = damping
        assert panel.wait(SECONDS)
        assert np.array_equal(panel.answer.run.samples["influence"], panel.answer.scores.values)


@pytest.fixture
def backwards() -> Iterator[None]:
    """A control of a user's own, that refers to another rule under a name of its own."""

    @imu.intensity_rule("backwards")
    @dataclass(frozen=True)
    class Backwards:
        """Another rule's weights in reverse order."""

        base: Any = imu.knob("linear", help="whose", choices=lambda: ("linear", "softmax", "sqrt-clipped"))
        power: float = imu.knob(1.0, help="of the weights", valid="(0, inf)", range=(0.5, 2.0))

        def __call__(self, influence: np.ndarray) -> np.ndarray:
            return imu.intensity_rules.create(self.base)(influence)[::-1] ** self.power

    yield
    imu.intensity_rules.unregister("backwards")


def test_any_rule_that_refers_to_another_is_a_control_of_the_main_one(backwards: None, panel: Workbench) -> None:
    panel.controls.compared["backwards"].value = True
    for rule in MOVED[:2]:
        panel.controls.rule.value = rule
        found = weights(panel)
        assert cases.close(found["backwards"], found[rule.name][::-1], within=1e-12)
    panel.controls.rule.names.value = "rank"  # which it does not take: its own default then
    negative = -np.minimum(panel_influence(panel), 0)
    assert cases.close(weights(panel)["backwards"], negative[::-1] / negative.sum(), within=1e-5)


def panel_influence(panel: Workbench) -> np.ndarray:
    """The influences that the panel answers with."""
    assert panel.wait(SECONDS)
    return panel.answer.scores.values


def test_a_control_is_made_again_where_the_rule_it_refers_to_was_registered_again(panel: Workbench) -> None:
    first, known = weights(panel), imu.intensity_rules["sqrt-clipped"]

    @dataclass(frozen=True)
    class Again(known):
        def __call__(self, influence: np.ndarray) -> np.ndarray:
            return super().__call__(influence) + 1.0

    with imu.intensity_rules.temporarily("sqrt-clipped", Again):
        panel.controls.refresh()
        found = weights(panel)
        assert not np.array_equal(found["sqrt-clipped"], first["sqrt-clipped"])
        assert is_permutation(found["shuffled"], of=found["sqrt-clipped"])
