"""The left side of the workbench: everything a question consists of, as controls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as W

from ...core import registry
from ...core.quantities import describe
from ...lab.session import Session
from ...tasks.protocol import offered
from ..base.controls import STYLE, Menu, onward
from .pipeline import Question

SHOWN_FIRST = ("lr", "alpha", "step_norm", "scope", "rho", "curvature")
CONTROLS_FIRST = ("uniform", "shuffled", "gradient-norm")
TITLES = ("Influence", "Intensity", "Unlearning", "Compare with")
NEVER = "never"  # a menu cannot hold None


class Asking(W.VBox):
    """Menus, sliders and switches that say what to compute.

    Args:
        session: whose task gives the methods their defaults.
        chosen: the names of estimator, rule and method to start with.
        steps, seed, stop_at: as in :func:`imu_lab.unlearn`.
        compare_with: the rules that are ticked as controls at first.

    Attributes:
        estimator, rule, method: menus with the settings of what is chosen.
        steps, seed, stop_at: the other settings of a run.
        compared: a box per registered rule; ticked rules run beside the main one.
        parts: the parts of the question, of which one is open. note: a line about the retrained model.
    """

    def __init__(
        self,
        session: Session,
        chosen: tuple[str, str, str],
        steps: int,
        seed: int,
        stop_at: Any,
        compare_with: tuple[str, ...],
    ) -> None:
        estimator, rule, method = chosen
        self.estimator = Menu(registry.estimators, estimator, label="estimator")
        self.rule = Menu(registry.intensity_rules, rule, label="rule")
        start = partial(session.defaults, steps=steps)  # with the learning rate that fits so many updates
        self.method = Menu(registry.methods, method, label="method", start=start, first=SHOWN_FIRST)
        look = {"style": STYLE, "layout": W.Layout(width="auto")}
        self.steps = W.IntSlider(steps, 1, max(300, steps), description="steps", tooltip="Updates of each run.", **look)
        self.seed = W.IntSlider(seed, 0, max(20, seed), description="seed", tooltip="Of the order of batches.", **look)
        self.stop_at = W.Dropdown(
            options=stops(session.task, stop_at),
            description="stop_at",
            value=NEVER if stop_at is None else stop_at,
            **look,
        )
        self._heard: Callable[..., None] = lambda *_: None
        self.compared: dict[str, W.Checkbox] = {}
        self._boxes = W.HBox(layout=W.Layout(flex_flow="row wrap", grid_gap="0 14px"))
        self.note = W.HTML().add_class("imu-about").add_class("imu-reference")
        self._add_boxes(compare_with)
        super().__init__([self._arranged(), self.note])
        self._head()

    def _arranged(self) -> W.Accordion:
        """One part is open at a time: all of them are longer than a screen, and the sample's card stands below."""
        parts = [[self.estimator], [self.rule], [self.method, self.steps, self.stop_at, self.seed], [self._boxes]]
        self.parts = W.Accordion([W.VBox(widgets) for widgets in parts], selected_index=0).add_class("imu-parts")
        return self.parts

    def _head(self) -> None:
        """Above each part, what is chosen in it."""
        beside = ", ".join(name for name, box in self.compared.items() if box.value and not box.disabled)
        chosen = self.estimator.value.name, self.rule.value.name, self.method.value.name, beside or "nothing"
        self.parts.titles = [
            f"{number} · {title}: {name}" for number, (title, name) in enumerate(zip(TITLES, chosen), 1)
        ]

    def _add_boxes(self, ticked: tuple[str, ...] = ()) -> None:
        """A box for every rule that has none yet; the well-known controls come first."""
        names = sorted(registry.intensity_rules, key=lambda name: name not in CONTROLS_FIRST)
        for name in [name for name in names if name not in self.compared]:
            box = W.Checkbox(name in ticked, description=name, indent=False, layout=W.Layout(width="auto"))
            box.tooltip = f"Run the same with {name} weights."
            box.observe(lambda change: self._heard(change), "value")
            self.compared[name] = box.add_class(f"imu-compare-{name}")
            self._boxes.children = list(self.compared.values())

    def listen(self, callback: Callable[..., None]) -> None:
        """Call back whenever the question changes."""
        self._heard = callback
        for control in (self.estimator, self.rule, self.method, self.steps, self.seed, self.stop_at):
            control.observe(callback, "value")

    def refresh(self) -> None:
        """Take up what was registered since; runs after every notebook cell."""
        replaced = [menu.refresh() for menu in (self.estimator, self.rule, self.method)]
        self._add_boxes()
        if any(replaced):
            self._heard()  # its settings may be the same, its code is not

    def question(self) -> Question:
        """What the controls say now; a control equal to the main rule is left out."""
        self.refresh()
        rule = self.rule.value
        for name, box in self.compared.items():
            box.disabled = name == rule.name
        beside = tuple(name for name, box in self.compared.items() if box.value and name != rule.name)
        self._head()
        stop_at = None if self.stop_at.value == NEVER else self.stop_at.value
        return Question(
            self.estimator.value, rule, self.method.value, self.steps.value, self.seed.value, stop_at, beside
        )

    def onward(self, before: Question, now: Question) -> Question | None:
        """The question after these two, if one slider goes on as it went from the first to the second; else None."""
        moved = [name for name in Question._fields if getattr(before, name) != getattr(now, name)]
        if len(moved) != 1:
            return None
        name, was, at = moved[0], *(getattr(question, moved[0]) for question in (before, now))
        if name in ("steps", "seed"):
            further = onward(getattr(self, name), was, at)
        else:
            menu = getattr(self, name)
            further = menu.onward(was, at) if isinstance(menu, Menu) else None
        return None if further is None else now._replace(**{name: further})

    def start_equal_steps_at(self, length: float) -> None:
        """Place the slider of the equal step length, where the method has one and it is off."""
        control = self.method.controls.controls.get("step_norm")
        relative = self.method.value.settings.get("relative_steps")  # then it is no length
        if control is not None and control.value is None and length > 0 and not relative:
            control.place(length)


def stops(task: Any, given: Any) -> list[tuple[str, Any]]:
    """When a run may stop, as a menu: levels where the task's headline metric is a share, and what was given."""
    options = {"after all updates": NEVER, "at the retrained model's level": "retrained"}
    if offered(task).goal is not None:
        options["when the request counts as forgotten"] = "forgotten"
    metric = describe(offered(task).forgotten_when[0])
    if metric.unit == "share correct":
        options |= {f"forget accuracy ≤ {level:.0%}": level for level in (0.01, 0.1)}
    if given is not None and given not in options.values():
        options[f"at {given}"] = given
    return list(options.items())
