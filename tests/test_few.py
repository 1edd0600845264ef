"""What `make check` takes of a test with many cases."""

from __future__ import annotations

from itertools import product

import pytest
from few import few

CASES = [{"name": name, "method": method} for name, method in product("ab", "xyz")]


def test_every_value_of_each_parameter_is_held() -> None:
    taken = [CASES[place] for place in few(CASES)]
    assert len(taken) == 3 < len(CASES)
    assert {case["name"] for case in taken} == set("ab") and {case["method"] for case in taken} == set("xyz")


def test_so_many_and_the_first_of_equals() -> None:
    assert few(CASES, 1) == [0]
    first, second = (CASES[place] for place in few(CASES, 2))
    assert first["name"] != second["name"] and first["method"] != second["method"]
    assert few([{"n": n} for n in range(9)], 2) == [0, 1]
    assert sorted(few(CASES, 99)) == list(range(len(CASES))), "no more than there are"


@pytest.mark.few
@pytest.mark.parametrize("letter", "xyz")
@pytest.mark.parametrize(("number", "settings"), [(1, {}), (2, {"a": 1}), (3, {})])
def test_the_mark_is_read(request: pytest.FixtureRequest, number: int, settings: dict, letter: str) -> None:
    """The cases that do not belong to the few carry the mark by which `make check` leaves them out."""
    mine = [item for item in request.session.items if getattr(item, "originalname", "") == request.function.__name__]
    taken = [item.callspec.params for item in mine if item.get_closest_marker("full") is None]
    assert 0 < len(taken) <= 3
    if len(mine) in (3, 9):  # those of `make check` or all, and not some that were asked for by name
        assert {case["letter"] for case in taken} == set("xyz") and {case["number"] for case in taken} == {1, 2, 3}
