"""Controls made from settings: every knob of a registered dataclass becomes a slider, a menu or a switch.

A control reads its range, scale and help from the knob, so what a user registers in a notebook cell has its sliders
without a line of widget code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from html import escape
from math import log10
from typing import Any, NamedTuple

import ipywidgets as W
import traitlets
from IPython import get_ipython

from ...core.knobs import Knob, knobs
from ...core.messages import unknown
from ...core.registry import Registry

LABEL_WIDTH = "104px"
STYLE = {"description_width": LABEL_WIDTH}
SWITCH_WIDTH, BESIDE_SWITCH = "22px", "78px"  # a switch and the name beside it take the room of a name alone
DIGITS = 4  # significant ones that a slider keeps: its position is no more precise, and provenance stays readable
SLACK = 1e-6  # steps, of what a page computes


class Choice(NamedTuple):
    """A registered name with its settings."""

    name: str
    settings: dict[str, Any]


class Control(W.HBox):
    """One knob: an editor that bears the setting's name, and a switch where the setting may be off.

    Attributes:
        value: the setting; None (or 0 on a logarithmic scale) while the switch is off.
    """

    value = traitlets.Any(allow_none=True)

    def __init__(self, name: str, about: Knob, value: Any) -> None:
        self.name, self.about, self.whole, self._showing = name, about, _is_whole(value), False
        self.off = 0.0 if about.scale == "log" and not about.optional else None
        can_be_off = about.optional or (self.off == 0.0 and (value == 0 or about.valid.startswith("[0")))
        on = not can_be_off or value not in (None, 0)
        width = BESIDE_SWITCH if can_be_off else LABEL_WIDTH
        self._meant = self._clean(value if on else _middle(about))  # what the slider's position stands for
        self.editor = editor(name, about, value if on else _middle(about), width)
        self.switch = W.Checkbox(on, indent=False, tooltip=f"Use {name}.") if can_be_off else None
        super().__init__(self._parts(), value=self._clean(value))
        self.add_class(f"imu-{name.replace('_', '-')}")
        self.observe(self._show, "value")
        for part in filter(None, (self.switch, self.editor)):
            part.observe(self._read, "value")

    @traitlets.validate("value")
    def _checked(self, proposal: Any) -> Any:
        """A value that the knob does not allow is refused before anything moves."""
        self.about.check("the control", self.name, proposal.value)
        return proposal.value

    def _parts(self) -> list[W.Widget]:
        if self.switch is None:
            return [self.editor]
        self.switch.layout = W.Layout(width=SWITCH_WIDTH, min_width=SWITCH_WIDTH)
        self.switch.add_class("imu-switch")
        self.editor.disabled = not self.switch.value
        return [self.switch, self.editor]

    def place(self, value: float) -> None:
        """Move the slider of a setting that is off: where it will stand when a person switches it on."""
        if self.switch is not None and not self.switch.value:
            self._meant = self._clean(value)
            _set(self.editor, self._meant)

    def onward(self, before: Any, now: Any) -> Any:
        """The value that comes after these two if the slider goes on as it went; None if there is none."""
        off = None in (before, now) or self.about.scale == "log" and 0 in (before, now)
        return None if off or (further := onward(self.editor, before, now)) is None else self._clean(further)

    def _clean(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        return round(value) if self.whole else float(f"{value:.{DIGITS}g}")

    def _read(self, _: Any) -> None:
        """Something was moved. The page itself moves a slider, too, to a position that it can show: that says nothing."""
        on = self.switch is None or self.switch.value
        self.editor.disabled = not on
        if not self._showing:
            if on and not _is_nearest(self.editor, self._meant):
                self._meant = self._clean(self.editor.value)
            self.value = self._meant if on else self.off

    def _show(self, change: Any) -> None:
        """A program set the value: move the widgets without reading them half-way."""
        self._showing = True
        try:
            if self.switch is not None:
                self.switch.value = change.new is not None and not (self.off == 0.0 and change.new == 0)
            if (self.switch is None or self.switch.value) and self._meant != change.new:
                self._meant = change.new
                _set(self.editor, change.new)
        finally:
            self._showing = False


def editor(name: str, about: Knob, value: Any, width: str = LABEL_WIDTH) -> W.Widget:
    """The widget that edits one setting, by what its knob says; ``width`` of its name."""
    common = {
        "description": name,
        "tooltip": about.help,
        "style": {"description_width": width},
        "layout": W.Layout(width="auto", flex="1 1 auto", min_width="0"),
    }
    options = about.options()
    if options is not None:
        return W.Dropdown(options=list(options), value=value if value in options else None, **common)
    if isinstance(value, bool):
        return W.Checkbox(value, **common | {"indent": True})
    if isinstance(value, str):
        return W.Text(value, continuous_update=False, **common)
    if about.range is None:
        return (W.IntText if _is_whole(value) else W.FloatText)(value, **common)
    low, high = min(about.range[0], value), max(about.range[1], value)
    if _is_whole(value):
        return W.IntSlider(value, int(low), int(high), continuous_update=True, **common)
    if about.scale == "log":
        return W.FloatLogSlider(
            value,
            base=10,
            min=log10(low),
            max=log10(high),
            step=0.05,
            readout_format=".3g",
            continuous_update=True,
            **common,
        )
    return W.FloatSlider(
        value, min=low, max=high, step=_step(high - low), readout_format=".3g", continuous_update=True, **common
    )


def _is_nearest(slider: W.Widget, value: Any) -> bool:
    """Whether a slider stands at the one of its positions that is nearest to a value, where a page puts it for that value."""
    if not isinstance(slider, (W.FloatSlider, W.FloatLogSlider)):
        return False
    scale = log10 if isinstance(slider, W.FloatLogSlider) else float
    at, wanted = scale(slider.value), scale(value)
    steps = (at - slider.min) / slider.step
    return abs(steps - round(steps)) < SLACK and abs(at - wanted) <= slider.step * (0.5 + SLACK)


def _step(span: float) -> float:
    """A round step that gives a slider 100 to 1,000 positions."""
    return 10.0 ** (round(log10(span)) - 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _middle(about: Knob) -> Any:
    """Mid-slider: the geometric mean of a logarithmic range."""
    if about.range is None:
        options = about.options()
        return options[0] if options else 0.0
    low, high = about.range
    return float(f"{(low * high) ** 0.5:.1g}") if about.scale == "log" else (low + high) / 2


def _set(slider: W.Widget, value: Any) -> None:
    """Set a slider, widening it where the value lies outside."""
    if isinstance(slider, W.FloatLogSlider):
        slider.min, slider.max = min(slider.min, log10(value)), max(slider.max, log10(value))
    elif isinstance(slider, (W.FloatSlider, W.IntSlider)):
        slider.min, slider.max = min(slider.min, value), max(slider.max, value)
    slider.value = value


class Controls(W.VBox):
    """The controls of one settings dataclass.

    Args:
        thing: the class, or an instance whose values are the ones to start from.
        start: values to start from instead of the fields' own defaults; others are ignored.
        first: the settings shown at once; the others open under "more settings". None shows all.
        hide: settings without a control.

    Attributes:
        value: dict of the settings; observe it, or set some of them (the others stay).
    """

    value = traitlets.Dict()

    def __init__(
        self,
        thing: Any,
        start: Mapping[str, Any] | None = None,
        *,
        first: Iterable[str] | None = None,
        hide: Iterable[str] = (),
    ) -> None:
        given = defaults_of(thing) | dict(start or {})
        shown = {name: about for name, about in knobs(thing).items() if name not in hide}
        self.controls = {name: Control(name, about, given[name]) for name, about in shown.items()}
        super().__init__(self._arranged(first), value=self._read())
        for control in self.controls.values():
            control.observe(lambda _: self.set_trait("value", self._read()), "value")
        self.observe(self._show, "value")

    def _arranged(self, first: Iterable[str] | None) -> list[W.Widget]:
        shown = [c for name, c in self.controls.items() if first is None or name in first]
        rest = [c for name, c in self.controls.items() if first is not None and name not in first]
        if not rest:
            return shown
        more = W.Accordion([W.VBox(rest)], titles=("more settings",), selected_index=None)
        more.add_class("imu-more")
        return [*shown, more]

    @traitlets.validate("value")
    def _checked(self, proposal: Any) -> dict[str, Any]:
        """All or nothing: settings that do not exist or are not allowed are refused before anything moves."""
        for name, value in proposal.value.items():
            if name not in self.controls:
                raise unknown("setting", name, self.controls)
            self.controls[name].about.check("the control", name, value)
        return self._read() | proposal.value

    def _read(self) -> dict[str, Any]:
        return {name: control.value for name, control in self.controls.items()}

    def _show(self, change: Any) -> None:
        for name, value in change.new.items():
            self.controls[name].value = value


def defaults_of(thing: Any) -> dict[str, Any]:
    """The values a settings dataclass starts with; where a field has no default, the middle of its slider."""
    values = {}
    for item in fields(thing):
        if not isinstance(thing, type):
            values[item.name] = getattr(thing, item.name)
        elif item.default is not MISSING:
            values[item.name] = item.default
        elif item.default_factory is not MISSING:
            values[item.name] = item.default_factory()
        elif "knob" in item.metadata:
            values[item.name] = _middle(item.metadata["knob"])
    return values


class Menu(W.VBox):
    """A menu over a registry; the controls of the chosen item stand below it.

    What a user registers later appears at ``refresh``, which runs after every notebook cell.

    Args:
        registry: what to choose from.
        name: the item chosen at first.
        label: before the menu.
        start: from a name to the settings it starts with; None takes the fields' own defaults.
        first, hide: see :class:`Controls`.

    Attributes:
        value: a :class:`Choice`; observe it, or set it.
    """

    value = traitlets.Any()

    def __init__(
        self,
        registry: Registry,
        name: str,
        *,
        label: str,
        start: Callable[[str], Mapping] | None = None,
        first: Iterable[str] | None = None,
        hide: Iterable[str] = (),
    ) -> None:
        self.registry, self._start, self._how = registry, start or (lambda name: {}), {"first": first, "hide": hide}
        self._kept: dict[str, dict] = {}
        self._shown = registry[name]
        self.names = W.Dropdown(
            options=list(registry), value=name, description=label, style=STYLE, layout=W.Layout(width="auto")
        )
        self.about = W.HTML().add_class("imu-about")
        self._fill(name)
        super().__init__([self.names, self.about, self.controls], value=self._read())
        self.names.observe(self._choose, "value")
        self.observe(self._show, "value")

    def refresh(self) -> bool:
        """Take up what was registered, or registered again, since; True if the chosen item is another one now."""
        if list(self.names.options) != list(self.registry):
            self.names.unobserve(self._choose, "value")  # new options choose the first one for a moment
            name = self.names.value
            self.names.options = list(self.registry)
            self.names.value = name
            self.names.observe(self._choose, "value")
        replaced = self.registry[self.names.value] is not self._shown
        if replaced:
            self._choose(None)
        return replaced

    def onward(self, before: Choice, now: Choice) -> Choice | None:
        """The choice after these two, if the slider of one setting goes on as it went; else None."""
        moved = [name for name in now.settings if before.settings.get(name) != now.settings[name]]
        if before.name != now.name or now.name != self.value.name or len(moved) != 1:
            return None
        control = self.controls.controls[moved[0]]
        further = control.onward(before.settings[moved[0]], now.settings[moved[0]])
        return None if further is None else now._replace(settings=now.settings | {moved[0]: further})

    def _fill(self, name: str) -> None:
        self._shown = self.registry[name]
        start = dict(self._start(name)) | allowed(self._shown, self._kept.get(name, {}))
        self.controls = Controls(self._shown, start, **self._how)
        self.controls.observe(lambda _: self.set_trait("value", self._read()), "value")
        self.about.value = f"<p>{escape(summary(self._shown))}</p>"

    def _choose(self, _: Any) -> None:
        self._fill(self.names.value)
        self.children = [self.names, self.about, self.controls]
        self.value = self._read()

    def _read(self) -> Choice:
        self._kept[self.names.value] = self.controls.value
        return Choice(self.names.value, dict(self.controls.value))

    def _show(self, change: Any) -> None:
        name, settings = change.new
        self.names.value = name
        if settings != self.controls.value:
            self.controls.value = settings


def onward(slider: W.Widget, before: float, now: float) -> float | None:
    """The value as far beyond ``now``, in positions of a slider, as ``before`` lies behind it; None where there is none."""
    if not isinstance(slider, (W.FloatSlider, W.FloatLogSlider, W.IntSlider)):
        return None
    scale, value = (log10, lambda at: 10**at) if isinstance(slider, W.FloatLogSlider) else (float, type(now))
    first, second = (round((scale(each) - slider.min) / slider.step) for each in (before, now))
    at = slider.min + (2 * second - first) * slider.step
    return value(at) if first != second and slider.min <= at <= slider.max else None


def allowed(thing: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a settings dataclass still takes: it may have been written anew meanwhile."""
    about, fitting = knobs(thing), {}
    for name in about.keys() & values.keys():
        try:
            about[name].check("the control", name, values[name])
        except ValueError:
            continue
        fitting[name] = values[name]
    return fitting


def summary(thing: type) -> str:
    """The first sentence of a class's docstring: what it does, in one line."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return "" if text.startswith(f"{thing.__name__}(") else text  # a dataclass without one documents its signature


def after_each_cell(callback: Callable[[], None]) -> None:
    """Call back after every cell of the notebook that this runs in; nothing outside a notebook."""
    if (shell := get_ipython()) is not None:
        shell.events.register("post_run_cell", lambda *_: callback())
