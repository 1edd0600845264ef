"""Which cases of a test stand for all of them: `make check` takes these, `make test` all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def few(cases: Sequence[Mapping[str, Any]], most: int | None = None) -> list[int]:
    """Where the cases stand that together hold as many values of each parameter as they can.

    Of cases that hold as many new values, the one whose values were taken least often, and the first of these.

    Args:
        cases: the values of each case's parameters, by name.
        most: how many to take; by default as many as hold every value of each parameter.
    """
    values = [set(case.items()) for case in cases]
    left, taken, used = set(range(len(cases))), [], Counter()
    while left and (most is None or len(taken) < most):
        new = {place: sum(not used[value] for value in values[place]) for place in left}
        best = min(left, key=lambda place: (-new[place], sum(used[value] for value in values[place]), place))
        if most is None and not new[best]:
            break
        taken.append(best)
        left.remove(best)
        used.update(values[best])
    return taken
