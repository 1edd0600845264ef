"""The course's page says of each lesson what the lesson says of itself, and whatever it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import build_notebooks
import nbformat
import pytest

from imu_lab.lessons.exercise import exercises

COURSE = build_notebooks.NOTEBOOKS / "README.md"
TEXT = COURSE.read_text("utf-8")
LESSONS = sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))
ROWS = dict(re.findall(r"^\| (\d\d) (.+) \|$", TEXT, re.M))
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])


def top(path: Path) -> str:
    """The first cell of a lesson."""
    return nbformat.read(path, as_version=4).cells[0].source


def numbers(words: str) -> set[str]:
    """The lessons named in words: ``"lessons 00 to 02"`` are three."""
    ends = re.findall(r"(\d\d) to (\d\d)", words)
    return set(re.findall(r"\b\d\d\b", words)) | {f"{each:02d}" for a, b in ends for each in range(int(a), int(b) + 1)}


def test_every_lesson_has_a_row() -> None:
    assert list(ROWS) == [path.stem[:2] for path in LESSONS]


@every_lesson
def test_a_row_says_what_the_lesson_says(path: Path) -> None:
    name, _, time, before = (each.strip() for each in ROWS[path.stem[:2]].split(" | "))
    head = top(path)
    assert name.lower().replace(" ", "_") == path.stem[3:].lower()
    assert f"**Time:** {time.removesuffix(' min')} minutes" in head
    known = numbers(re.search(r"\*\*You should know:\*\*(.*?)\*\*", head)[1])
    assert numbers(before.split("better")[0]) <= known, "what it builds on, one should know"
    assert not [each for each in known if each >= path.stem[:2]], "one has had it before"


@every_lesson
def test_exercises_stand_under_a_heading(path: Path) -> None:
    asked = [cell.source for cell in nbformat.read(path, as_version=4).cells if "in the place of `None`" in cell.source]
    assert len(asked) == 1 and "## Exercises\n\nPut your answer in the place of `None` and run the cell." in asked[0]


@pytest.mark.parametrize("path", LESSONS[:-1], ids=[path.stem for path in LESSONS[:-1]])
def test_a_lesson_leads_to_the_next(path: Path) -> None:
    after = LESSONS[LESSONS.index(path) + 1].stem
    last = nbformat.read(path, as_version=4).cells[-1].source
    for words in (re.search(r"\*\*Next:\*\*(.*)", top(path))[1], re.search(r"Next: (.*)", last)[1]):
        assert after in words or f"lesson {after[:2]}" in words


def test_whatever_it_names_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert target.startswith("http") or (COURSE.parent / target).exists(), target
    targets = re.findall(r"^([a-z]+):", (build_notebooks.ROOT / "Makefile").read_text("utf-8"), re.M)
    assert set(re.findall(r"`make ([a-z]+)", TEXT)) <= set(targets)
    assert set(re.findall(r"exercise (\d\d-\d)", TEXT)) <= set(exercises())
    titles = {path.stem[:2]: nbformat.read(path, as_version=4).cells for path in LESSONS}
    for lesson, number in re.findall(r"\b(\d\d),? section (\d)", TEXT):
        headings = "\n".join(cell.source for cell in titles[lesson] if cell.cell_type == "markdown")
        assert re.search(rf"^## {number}\. ", headings, re.M), f"lesson {lesson} has no section {number}"
