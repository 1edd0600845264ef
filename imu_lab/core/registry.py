"""A dict that explains itself: how new estimators, rules, methods and metrics join the toolkit.

A registered thing is a frozen dataclass with ``__call__``. Its fields are its settings, its repr is its provenance, its
equality is its memo key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from .knobs import check
from .messages import listed, unknown


class Registry(Mapping):
    """Names to dataclasses. Registering a name again replaces it: running a notebook cell twice is normal."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, type] = {}

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

    def register(self, name: str) -> Callable[[type], type]:
        """A decorator that makes a frozen dataclass with ``__call__`` known under ``name``."""

        def keep(item: type) -> type:
            item.name = name
            self._items[name] = item
            return item

        return keep

    def create(self, name: Any, **given: Any) -> Any:
        """The registered dataclass under ``name`` with these settings; an instance is checked and passed through.

        Raises:
            UnknownName: no such name.
            TypeError: a setting that this item does not have.
            ValueError: a setting outside its valid values.
        """
        if not isinstance(name, str):
            if given:
                raise TypeError(f"{name!r} already has its settings; got {listed(list(given))} beside it")
            return check(name)
        item = self[name]
        known = [f.name for f in fields(item)]
        for wrong in [key for key in given if key not in known]:
            near = difflib.get_close_matches(wrong, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"{self.kind} {name!r} has no setting {wrong!r}.{hint} It has: {', '.join(known) or 'none'}."
            )
        return check(item(**given))


estimators = Registry("estimator")
intensity_rules = Registry("intensity rule")
methods = Registry("method")
metrics = Registry("metric")

estimator = estimators.register
intensity_rule = intensity_rules.register
method = methods.register
metric = metrics.register
