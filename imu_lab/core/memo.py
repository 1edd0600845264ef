"""What was computed is kept by its content, up to a limit, and can be forgotten: ``imu.clear_caches()``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import RLock
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Value = TypeVar("Value")

_memos: WeakSet[Memo] = WeakSet()


class Memo(Generic[Value]):
    """Values by content: equal keys, one value. Those not used for longest go when their sizes exceed ``limit``.

    Args:
        limit: of the sizes together; at least the newest value stays.
        size_of: the size of a value, 1 by default: ``limit`` then counts values.
    """

    def __init__(self, limit: int, size_of: Callable[[Value], int] = lambda _: 1) -> None:
        self.limit, self._size_of = limit, size_of
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = RLock()
        _memos.add(self)

    @property
    def size(self) -> int:
        """The sizes of all values together."""
        with self._lock:
            return sum(map(self._size_of, self._kept.values()))

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable) -> Value | None:
        """The value under this key, which is the newest now; None where there is none."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def find(self, fits: Callable[[Hashable, Value], bool]) -> Value | None:
        """The newest of the values whose key and value fit; None where none does."""
        with self._lock:
            kept = list(self._kept.items())
        found = next((key for key, value in reversed(kept) if fits(key, value)), None)
        return None if found is None else self.get(found)

    def put(self, key: Hashable, value: Value) -> Value:
        """Keep a value, which is given back; the oldest go where there is no room."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self.size > self.limit:
                self._kept.popitem(last=False)
        return value

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value under this key, made if it is not there."""
        kept = self.get(key)
        return kept if kept is not None else self.put(key, make())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


def remembered(limit: int) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """A decorator: a function of hashable arguments whose last ``limit`` answers are kept."""

    def decorate(function: Callable[..., Value]) -> Callable[..., Value]:
        memo: Memo[tuple[Value]] = Memo(limit)

        @wraps(function)
        def answer(*given: Any, **named: Any) -> Value:
            key = (given, tuple(sorted(named.items())))
            return memo.once(key, lambda: (function(*given, **named),))[0]

        answer.cache_clear = memo.clear
        answer.knows = lambda *given, **named: (given, tuple(sorted(named.items()))) in memo
        return answer

    return decorate


def clear_caches() -> None:
    """Forget everything that is kept in memory: features, sessions, decoded data, runs behind open panels.

    Checkpoints and decoded pictures on disk stay; their folder can be deleted by hand.
    """
    for memo in list(_memos):
        memo.clear()
