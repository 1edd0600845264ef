"""A dict that explains itself: how new estimators, rules, methods and metrics join the toolkit.

A registered thing is a frozen dataclass with ``__call__``. Its fields are its settings, its repr is its provenance, its
equality is its memo key. What each kind is asked and what it answers is written down in one class each:
:class:`imu_lab.Estimator`, :class:`imu_lab.IntensityRule`, :class:`imu_lab.Method`, :class:`imu_lab.Metric`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from html import escape
from inspect import cleandoc
from typing import Any

from . import quantities
from .contracts import check_contract
from .knobs import check, described, name_of
from .messages import listed, unknown


class Registry(Mapping):
    """Names to dataclasses. Registering a name again replaces it: running a notebook cell twice is normal."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, type] = {}
        self._contract: type | None = None

    def __getitem__(self, name: str) -> type:
        if name not in self._items:
            raise unknown(self.kind, name, self._items)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __repr__(self) -> str:
        return f"<{self.kind}: {', '.join(self)}>"

    def _repr_html_(self) -> str:
        """A table for notebooks: each name, its settings, and what it says of itself."""
        rows = [
            f"<tr><th>{escape(name)}</th><td>{escape(', '.join(f.name for f in fields(item)))}</td>"
            f"<td>{escape(quantities.meaning_of(item))}</td></tr>"
            for name, item in self.items()
        ]
        head = f"<tr><th>{escape(self.kind)}</th><th>settings</th><th>what it is</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"

    def contract(self, item: type) -> type:
        """A decorator for the class that says what this registry's items are asked, answer and may declare."""
        for name, known in self._items.items():
            check_contract(self.kind, name, known, item)
        self._contract = item
        return item

    def declared(self, thing: Any, name: str) -> Any:
        """What an item, its class or the item known as ``thing`` declares under ``name``; else what the contract says."""
        thing = self._items.get(thing) if isinstance(thing, str) else thing
        return getattr(thing, name, getattr(self._contract, name))

    def register(self, name: str) -> Callable[[type], type]:
        """A decorator that makes a frozen dataclass with ``__call__`` known under ``name``.

        Raises:
            TypeError: the class is no frozen dataclass, or cannot be called as its contract says.
        """
        if not isinstance(name, str):  # the name was forgotten: what is decorated stands in its place
            check_contract(self.kind, name, None, self._contract)

        def keep(item: type) -> type:
            check_contract(self.kind, name, item, self._contract)
            item.name = name
            _explain(item)
            self._items[name] = item
            return item

        return keep

    def unregister(self, name: str) -> type:
        """Forget a name, and give back what was known under it.

        Raises:
            UnknownName: nothing is.
        """
        item = self[name]
        del self._items[name]
        return item

    @contextmanager
    def temporarily(self, name: str, item: type) -> Iterator[type]:
        """Know ``item`` under ``name`` within a ``with`` block, and afterwards what was known before."""
        before = self._items.get(name)
        try:
            yield self.register(name)(item)
        finally:
            self._items.pop(name, None)
            if before is not None:
                self._items[name] = before

    def create(self, name: Any, **given: Any) -> Any:
        """The registered dataclass under ``name`` with these settings; an instance is checked and passed through.

        Raises:
            UnknownName: no such name.
            TypeError: a setting that this item does not have, or one that it needs and was not given.
            ValueError: a setting outside its valid values.
        """
        if not isinstance(name, str):
            return check(self._instance(name, given), self._owner(name_of(name)))
        item = self[name]
        known = [f.name for f in fields(item) if f.init]
        for wrong in [key for key in given if key not in known]:
            near = difflib.get_close_matches(wrong, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"{self.kind} {name!r} has no setting {wrong!r}.{hint} It has: {', '.join(known) or 'none'}."
            )
        needed = [f.name for f in fields(item) if f.init and f.default is MISSING and f.default_factory is MISSING]
        if missing := [key for key in needed if key not in given]:
            raise TypeError(f"{self.kind} {name!r} needs a value for {listed(missing)}; it has no default there.")
        return check(item(**given), self._owner(name))

    def _instance(self, thing: Any, given: Mapping[str, Any]) -> Any:
        """An instance that stands in a name's place, once it can be used as one of this registry's."""
        if given:
            raise TypeError(f"{thing!r} already has its settings; got {listed(list(given))} beside it")
        if isinstance(thing, type) or not is_dataclass(thing):
            example = f"imu.{self.kind.replace(' ', '_')}s.create(name, ...)"
            raise TypeError(
                f"expected the name of a registered {self.kind} or an instance such as {example} gives, got {thing!r}; "
                f"known: {', '.join(self)}"
            )
        check_contract(self.kind, name_of(thing), type(thing), self._contract)
        return thing

    def _owner(self, name: str) -> str:
        """What a setting's owner is called in a message."""
        return f"{self.kind.split()[-1]} {name}"


SETTINGS = "Settings:"


def _explain(item: type) -> None:
    """Let ``help`` of a registered class say what its settings mean, behind what the class says of itself."""
    words = vars(item).get("__doc__")
    if words and SETTINGS not in words and (lines := described(item)):
        item.__doc__ = f"{cleandoc(words)}\n\n{SETTINGS}\n{lines}\n"


estimators = Registry("estimator")
intensity_rules = Registry("intensity rule")
methods = Registry("method")
metrics = Registry("metric")

estimator = estimators.register
intensity_rule = intensity_rules.register
method = methods.register


def metric(
    name: str, unit: str = "", good: str = "", title: str = "", goal: float | None = None
) -> Callable[[type], type]:
    """A decorator that makes a frozen dataclass with ``__call__`` known as the metric ``name``.

    Args:
        unit: of its values, for axes and tables, such as ``"nats per prediction"``.
        good: which direction is good, in words, such as ``"low everywhere; 0 is the retrained model"``.
        title: of its values in figures; ``name`` in words where it is left out.
        goal: what the retrained model itself has, for a metric that tells how far a model is from it: 0 for a distance, 1 for
            an agreement. Comparisons then say whether a model is farther from it than one that did nothing.

    Raises:
        TypeError: the class is no frozen dataclass, or cannot be called with ``(task, model, reference)``.
    """
    keep_known = metrics.register(name)

    def keep(item: type) -> type:
        keep_known(item)
        quantities.declare(name, quantities.Quantity(title, unit, quantities.meaning_of(item), good, goal))
        return item

    return keep
