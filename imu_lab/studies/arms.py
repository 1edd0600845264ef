"""What a sweep tries: methods times settings as arms with their names, and the controls that always stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import product
from typing import Any

import numpy as np

from ..core import registry
from ..core.knobs import name_of
from ..core.messages import kind_of, listed, near, shown
from ..lab.session import AUTO
from .cells import drawn

Settings = Mapping[str, Any]
UNIFORM, SHUFFLED = "uniform", "shuffled"
WEIGHTED, USUAL = "imu", "sqrt-clipped"  # the method of the controls, and the rule of weights that are shuffled
ALSO = ("estimator", "rule")  # what an arm may set beside the settings of its method; of one that takes weights
NOT_AN_AXIS = (str, bytes, tuple, Mapping)


@dataclass(frozen=True, eq=False)
class Arm:
    """A method under some settings.

    Attributes:
        of: what it was called by whoever asked for it: the method's name, or a name of its own.
        about: the method and all settings that were asked, as :func:`imu_lab.trial` takes them.
        asked: those of the settings that differ between the arms of one name, or were asked for every method.
    """

    of: str
    about: Settings
    asked: Settings

    @property
    def setting(self) -> str:
        """Its settings in words: ``"lr 0.1, rule uniform"``; empty where all are left as they are."""
        return ", ".join(f"{name} {_words(value)}" for name, value in self.asked.items())

    @property
    def name(self) -> str:
        """What it is called in a table."""
        return f"{self.of} ({self.setting})" if self.setting else self.of


def arms_of(methods: Any, settings: Any) -> list[Arm]:
    """Each method under each of its settings, checked.

    Raises:
        UnknownName, TypeError, ValueError: a name that is not there, a setting that a method does not have or that lies
            outside its values, or nothing to try.
    """
    arms = []
    for of, method, own in _methods(methods):
        for shared, mine in product(_grid(settings, "settings"), _grid(own, repr(of))):
            asked = {**shared, **mine}
            arms.append(Arm(of, {"method": method, **asked}, asked))
    for arm in arms:
        check_arm(arm)
    return _once(arms)


def controls_of(arms: list[Arm], settings: Any) -> list[Arm]:
    """Uniform weights, and weights on the wrong samples, of the method ``"imu"``.

    They are tried under the settings under which the sweep tries ``"imu"``; where it does not, under those of the shared
    settings that ``"imu"`` has.
    """
    bases = [arm.about for arm in arms if arm.about["method"] == WEIGHTED]
    bases = [about for about in bases if about.get("rule", USUAL) not in (UNIFORM, SHUFFLED)] or bases
    if not bases:
        known = (*_settings_of(WEIGHTED), "estimator")
        grid = [{name: value for name, value in each.items() if name in known} for each in _grid(settings, "settings")]
        bases = [{"method": WEIGHTED, **each} for each in grid]
    made = []
    for about in bases:
        plain = {name: value for name, value in about.items() if name not in ("method", *ALSO)}
        made.append(Arm(UNIFORM, {"method": WEIGHTED, "rule": UNIFORM, **plain}, plain))
        asked = {name: value for name, value in about.items() if name != "method"}
        rule = asked.get("rule", USUAL)
        rule = USUAL if rule in (UNIFORM, SHUFFLED) else rule
        asked |= {"rule": (SHUFFLED, {"of": _instance(rule)})} if rule != USUAL else {"rule": SHUFFLED}
        shown_of = {name: value for name, value in asked.items() if asked["rule"] != SHUFFLED or name != "rule"}
        made.append(Arm(SHUFFLED, {"method": WEIGHTED, **asked}, shown_of))
    taken = {arm.of for arm in arms}
    return [arm for arm in _once(made) if arm.of not in taken]


def check_arm(arm: Arm) -> None:
    """Raise where an arm names what is not there; the message says which arm, and what there is."""
    about = dict(arm.about)
    method = about.pop("method")
    weighted = _takes_weights(method)
    for name in ALSO:
        if name in about and not weighted:
            raise TypeError(
                f"method {arm.of!r} takes no weights, so {name}={about[name]!r} would change nothing in it; give it to "
                "those that take weights"
            )
    drawn(registry.estimators, about.pop("estimator", "fisher-diagonal"), 0)
    drawn(registry.intensity_rules, about.pop("rule", USUAL), 0)
    known = _settings_of(method)
    for name in about:
        if name not in known:
            more = [*known, *(ALSO if weighted else ())]
            raise TypeError(
                f"method {arm.of!r} has no setting {name!r}.{near(name, more)} It has: {', '.join(more) or 'none'}."
            )
    given = {name: value for name, value in about.items() if not isinstance(value, str) or value != AUTO}
    registry.methods.create(method, **given)


def _methods(given: Any) -> Iterator[tuple[str, Any, Any]]:
    """What each is called, the method, and its own settings."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping):
        for of, own in given.items():
            if isinstance(own, Mapping) and "method" in own:
                yield of, _known(own["method"]), {name: value for name, value in own.items() if name != "method"}
            else:
                yield of, _known(of), own
        return
    if not isinstance(given, Iterable):
        raise TypeError(
            f"methods are names in imu.methods, one or several, or {{name: settings}}; got {kind_of(given)}"
        )
    names = list(given)
    if twice := sorted({name for name in names if isinstance(name, str) and names.count(name) > 1}):
        raise ValueError(
            f"methods names {listed(twice)} more than once; one entry with several settings tries them all"
        )
    yield from ((name, _known(name), None) for name in names)


def _known(method: Any) -> str:
    """The name of a registered method."""
    if not isinstance(method, str):
        raise TypeError(f"a method is named as in imu.methods, its settings beside it; got {shown(method)}")
    registry.methods[method]
    return method


def _grid(given: Any, whose: str) -> list[dict[str, Any]]:
    """Each combination of settings: of ``{"lr": [0.01, 0.1]}`` two, of a list those in it; one empty one of None."""
    if given is None:
        return [{}]
    if isinstance(given, Mapping):
        axes = {name: _axis(name, value) for name, value in given.items()}
        return [dict(zip(axes, values)) for values in product(*axes.values())]
    found = list(given) if isinstance(given, Iterable) and not isinstance(given, NOT_AN_AXIS) else []
    if found and all(isinstance(each, Mapping) for each in found):
        return [combined for each in found for combined in _grid(each, whose)]
    raise TypeError(
        f"{whose} takes settings such as {{'lr': [0.01, 0.1]}}, every combination of which is tried, or a list of such; got "
        f"{shown(given)}"
    )


def _axis(name: str, value: Any) -> list[Any]:
    """The values of one setting: several in a list or a range, else one."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    several = isinstance(value, Iterable) and not isinstance(value, NOT_AN_AXIS)
    if several and not (value := list(value)):
        raise ValueError(f"there is no value of {name!r} to try: its list is empty")
    return value if several else [value]


def _once(arms: list[Arm]) -> list[Arm]:
    """The arms without those that are another one over again: a name tells all of an arm's settings, whatever their type.

    Under one name two arms would be pooled as if they were seeds of one.
    """
    return list({arm.name: arm for arm in reversed(arms)}.values())[::-1]


def _takes_weights(method: str) -> bool:
    return registry.methods.declared(method, "takes_weights") and not registry.methods.declared(method, "finds_shares")


def _settings_of(method: str) -> list[str]:
    return [each.name for each in fields(registry.methods[method]) if each.init]


def _instance(rule: Any) -> Any:
    """A rule as an instance, which ``shuffled`` may be of."""
    if isinstance(rule, tuple):
        return registry.intensity_rules.create(rule[0], **rule[1])
    return registry.intensity_rules.create(rule)


def _words(value: Any) -> str:
    """A setting for a reader: a name with its settings in a row."""
    if is_dataclass(value) and not isinstance(value, type):
        own = {
            each.name: getattr(value, each.name) for each in fields(value) if getattr(value, each.name) != each.default
        }
        value = (name_of(value), own)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
        return " ".join([str(value[0]), *(f"{name} {_words(each)}" for name, each in value[1].items())])
    value = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
    return exact(value) if isinstance(value, float) else str(value)


def exact(value: float) -> str:
    """A number in as few figures as tell it: ``0.1``, ``0.1234567``, ``1e-05``."""
    return few if float(few := f"{value:g}") == value else repr(float(value))
