"""What is asked of every exercise: right answers are green, wrong ones red with hints, mistyped ones told what can be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import imu_lab as imu


def right(name: str, *answers: Any) -> None:
    """Each answer is right, and says why."""
    for answer in answers:
        found = imu.check(name, answer)
        assert found.right is True and found.state == "right", found
        assert len(found.words) > 20 and not found.hints


def wrong(name: str, *answers: Any) -> None:
    """Each answer is wrong, and leads on."""
    for answer in answers:
        found = imu.check(name, answer)
        assert found.right is False and found.state == "wrong", found
        assert len(found.words) > 10 and len(found.hints) >= 2


def mistyped(name: str, answers: Iterable[Any], words: str) -> None:
    """Each answer is of another kind, and is told in words, without an exception, what can be given."""
    for answer in answers:
        found = imu.check(name, answer)
        assert found.right is False and found.state == "mistyped", found
        assert words in found.words and found.words.endswith((".", "?")), found.words
