"""The README's Python runs, in order, as a reader would run it, and whatever it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import imu_lab as imu

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
CODE = re.findall(r"```.*?```|`[^`\n]+`", TEXT, re.S)


@pytest.mark.slow
def test_the_readme_runs() -> None:
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), names)  # the README itself is what is tested
    assert names["run"].value("forget", "accuracy") <= 0.01
    assert names["run"].value("retain", "accuracy", 0) == 1.0
    names["imu"].intensity_rules.unregister("cautious")


def test_every_picture_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT)
    assert pictures
    assert [name for name in pictures if not (ROOT / name).exists()] == []


def test_a_badge_says_what_is_so_and_asks_no_service() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    oldest, license = (
        re.search(rf'^{key} = "(?:>=)?(.+?)"$', project, re.M)[1] for key in ("requires-python", "license")
    )
    badges = re.findall(r"\[!\[(.+?)\]\((.+?\.svg)\)\]", TEXT)
    assert [words for words, _ in badges] == [f"python: {oldest} or newer", f"license: {license}"]
    for words, picture in badges:
        assert f'aria-label="{words}"' in (ROOT / picture).read_text("utf-8")


def test_every_file_that_is_linked_or_named_is_there() -> None:
    linked = {name for name in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)\)", TEXT) if "://" not in name and name}
    spans = {code.strip("`") for code in CODE if not code.startswith("```")}
    named = {span for span in spans if re.fullmatch(r"[\w.]+(/[\w.]+)*/?", span) and ("/" in span or "." in span[1:])}
    paths = {name for name in named if "/" in name or Path(name).suffix in (".md", ".toml", ".yml", ".cff", ".ipynb")}
    assert {"data/README.md", "LICENSE", "CITATION.cff"} <= linked and {"pyproject.toml"} <= paths
    assert [name for name in sorted(linked | paths) if not (ROOT / name).exists()] == []


def test_every_command_of_make_is_explained_and_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    mentioned = set(re.findall(r"\bmake ([a-z]+)", "\n".join(CODE)))
    assert mentioned == targets - {"help"}


def test_the_table_of_notebooks_is_the_folder() -> None:
    listed = re.findall(r"^\| `(\d\d_\w+)` \|", TEXT, re.M)
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_every_public_name_that_is_mentioned_exists() -> None:
    named = set(re.findall(r"\bimu\.(\w+(?:\.\w+)?)", "\n".join(CODE)))
    assert {"influence", "unlearn", "compare", "tasks.Sequence"} <= named
    for name in named:
        found: object = imu
        for part in name.split("."):
            found = getattr(found, part)
