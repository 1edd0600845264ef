"""The folder for students holds no answers, and never takes the place of one that exists."""

from __future__ import annotations

import re
from pathlib import Path

import build_notebooks
import nbformat
import pytest
import student


def test_lessons_without_solutions_and_outputs(tmp_path: Path) -> None:
    written = student.hand_out(tmp_path / "a" / "lab")
    names = [path.name for path in sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))]
    assert (
        [path.name for path in written] == names == [path.name for path in sorted((tmp_path / "a" / "lab").iterdir())]
    )
    for path in written:
        notebook = nbformat.read(path, as_version=4)
        assert not list(build_notebooks.outputs(notebook)) and "imu_lab" not in notebook.metadata
        source = nbformat.read(build_notebooks.NOTEBOOKS / path.name, as_version=4)
        changed = [(one.source, other.source) for one, other in zip(notebook.cells, source.cells, strict=True)]
        changed = [(one, other) for one, other in changed if one != other]
        assert len(changed) == 1, "the sentence on solutions alone is left out"
        assert "solutions/" in changed[0][1] and not re.search("[Ss]olution", changed[0][0])
        assert "Put your answer in the place of `None` and run the cell." in changed[0][0]


@pytest.mark.parametrize("kind", ["full", "empty", "file"])
def test_what_exists_is_left_alone(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    there = tmp_path / "lab"
    if kind == "file":
        there.write_text("mine")
    else:
        there.mkdir()
    if kind == "full":
        (there / "00_start_here.ipynb").write_text("a student's work")
    before = [(path, path.is_file() and path.read_text()) for path in tmp_path.rglob("*")]
    with pytest.raises(SystemExit) as stopped:
        student.main([str(there)])
    assert stopped.value.code == 2 and "exists and is left as it is" in capsys.readouterr().err
    assert [(path, path.is_file() and path.read_text()) for path in tmp_path.rglob("*")] == before


def test_a_folder_that_cannot_be_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file" / "lab", tmp_path / ("x" * 400)):
        with pytest.raises(SystemExit) as stopped:
            student.main([str(folder)])
        assert stopped.value.code == 2 and "; give another DIR" in capsys.readouterr().err


def test_no_folder_is_asked_for(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        student.main([""])
    assert "make student DIR=lab" in capsys.readouterr().err
