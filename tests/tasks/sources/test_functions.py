"""What tells one function from another: what it does and with what, not where it stands or who holds it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from imu_lab.tasks.sources.functions import code_of

EPOCHS = 3


def written(source: str, **known: object) -> Callable:
    """A function ``f`` from its source, among these globals."""
    room = dict(known)
    exec(source, room)
    return room["f"]


def closed(value: object) -> Callable:
    return lambda model: (model, value)


def recursive(n: int) -> int:
    return n and recursive(n - 1)


def test_the_same_words_among_the_same_values_are_the_same() -> None:
    assert code_of(None) == ""
    assert code_of(closed(3)) == code_of(closed(3)) and code_of(recursive) == code_of(recursive)
    assert code_of(written("def f(m): return m + g(m)", g=len)) == code_of(
        written("\n\ndef f(m): return m + g(m)", g=len)
    )
    assert code_of(closed(torch.ones(3))) == code_of(closed(torch.ones(3)))


@pytest.mark.parametrize(("one", "other"), [
    (closed(3), closed(4)),
    (closed([1, {"a": np.ones(2)}]), closed([1, {"a": np.zeros(2)}])),
    (closed(closed(1)), closed(closed(2))),
    (written("def f(m): return m + 1"), written("def f(m): return m + 2")),
    (written("def f(m): return m + n", n=1), written("def f(m): return m + n", n=2)),
    (written("def f(m): return g(m)", g=closed(1)), written("def f(m): return g(m)", g=closed(2))),
    (written("def f(m, n=1): return m"), written("def f(m, n=2): return m")),
    (written("def f(m): return m.train()"), written("def f(m): return m.eval()")),
    (written("def f(m): return [x + 1 for x in m]"), written("def f(m): return [x + 2 for x in m]")),
    (closed(torch.nn.Linear(2, 2)), closed(torch.nn.Linear(2, 2))),
    (functools.partial(recursive, 1), functools.partial(recursive, 2)),
    (torch.nn.ReLU, torch.nn.Tanh),
])  # fmt: skip
def test_an_edit_is_seen(one: Callable, other: Callable) -> None:
    assert code_of(one) != code_of(other)


CLASS = """
class Base:
    share = {share}
    def forward(self, x): return x + {added}
class Mine(Base):
    size = {size}
    @property
    def wide(self): return {wide}
    @staticmethod
    def of(x): return x * {by}
def f(m): return {used}
"""
USUAL = {"share": 1, "added": 1, "size": 1, "wide": 1, "by": 1}


@pytest.mark.parametrize("used", ["Mine()(m)", "Mine.size", "mine(m)"])
@pytest.mark.parametrize("edited", USUAL)
def test_an_edit_in_a_class_or_in_what_it_inherits_from_is_seen(edited: str, used: str) -> None:
    def key(**values: int) -> str:
        room: dict[str, object] = {"__name__": "__main__"}  # as in a notebook
        exec(CLASS.format(used=used, **{**USUAL, **values}), room)
        room["mine"] = room["Mine"]()  # type: ignore[operator]
        return code_of(room["f"])

    assert key() == key() != key(**{edited: 2})


def test_many_functions_are_told_whole() -> None:
    """What one works with is held while the next is looked at: a freed value's place must not stand for another."""
    told = set()
    for last in range(5):
        known = {f"g{k}": closed([k, [k, [last if k == 29 else 0]]]) for k in range(30)}
        source = "def f(m): return " + " + ".join(f"{name}(m)" for name in known)
        assert len({code_of(written(source, **known)) for _ in range(20)}) == 1
        told.add(code_of(written(source, **known)))
    assert len(told) == 5


def test_sets_of_words_are_told_in_one_order() -> None:
    one, other = (written(f"def f(m): return m in {{{words}}}") for words in ("'a', 'b', 'c'", "'c', 'b', 'a'"))
    assert code_of(one) == code_of(other)


def test_whole_packages_are_not_read() -> None:
    """A function that names torch is told by its own code, at once."""
    assert code_of(written("def f(m): return torch.nn.Linear(m, t)", torch=torch, t=2)) != code_of(None)
