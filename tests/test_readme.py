"""The README's Python runs, in order, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.slow
def test_the_readme_runs() -> None:
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), names)  # the README itself is what is tested
    assert names["run"].value("forget", "accuracy") <= 0.01
    assert names["run"].value("retain", "accuracy", 0) == 1.0
    names["imu"].intensity_rules.unregister("cautious")


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert [name for name in pictures if not (README.parent / name).exists()] == []
