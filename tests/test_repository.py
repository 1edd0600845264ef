"""The repository stays installable, documented and free of large files and of paths of one machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 1_500_000

# The folders of a person or a job on one machine. Not inside base64 or a longer path, hence the look-behind.
MACHINE_PATH = re.compile(r"(?<![\w.+/:-])/(?:home|root|tmp|Users|work)/\w")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """The files in git, and those that could be added to it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    # safe.directory: in a container the checkout often belongs to another user.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_dependencies_are_written_once(files: list[Path]) -> None:
    others = {"setup.py", "setup.cfg", "Pipfile", "requirements.txt"}
    assert not [path.name for path in files if path.name in others or re.match(r"requirements.*\.txt", path.name)]
    environment = (ROOT / "environment.yml").read_text()
    listed = re.findall(r"^\s*- (.*)$", environment.split("dependencies:")[1], re.MULTILINE)
    assert {re.split(r"[<>=:]", line)[0].strip('"') for line in listed} == {"python", "pip", "-e .[dev]"}


def test_every_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    assert targets() == set(re.findall(r"^([a-z]+):.* ## .+", text, re.MULTILINE))


COMPARISONS = re.compile(r"\b(allclose|isclose|assert_allclose|assert_close|array_almost_equal)\(")


def test_numbers_are_compared_in_one_way() -> None:
    """An entry's own size says nothing of its rounding: elementwise tolerances fail on the next processor."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    found = {path.name: match.group() for path in tests if (match := COMPARISONS.search(path.read_text("utf-8")))}
    assert not found, "use cases.close, or cases.relative where it may be far"


def test_no_large_files(files: list[Path]) -> None:
    assert not [path.name for path in files if path.stat().st_size > MAX_BYTES]


def test_no_paths_of_one_machine(files: list[Path]) -> None:
    found = {
        path.relative_to(ROOT).as_posix(): match.group()
        for path in files
        if (match := MACHINE_PATH.search(path.read_text("utf-8", errors="replace")))
    }
    assert not found


def test_nothing_made_at_run_time_is_in_git(files: list[Path]) -> None:
    assert [path.name for path in files if path.parent == ROOT / "data"] == ["README.md"]
