"""Slides hold each heading and picture of a lesson, and nothing that only asks."""

from __future__ import annotations

import re
from pathlib import Path

import build_notebooks
import build_slides
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output


def test_what_a_cell_is_to_a_lecture() -> None:
    picture = new_output("display_data", data={"image/png": "..."})
    assert build_slides.kind(new_markdown_cell("## A part\n\nWords.")) == "slide"
    assert build_slides.kind(new_markdown_cell("Words, and # no heading")) == "fragment"
    assert build_slides.kind(new_code_cell("plot()", outputs=[picture])) == "subslide"
    assert build_slides.kind(new_code_cell('imu.check("00-1", None)')) == "skip"
    assert build_slides.kind(new_code_cell('guess = imu.predict("?")\nguess')) == "skip"
    assert build_slides.kind(new_code_cell("x = 1")) == "fragment"


def test_each_heading_begins_a_slide_also_within_a_cell() -> None:
    words = new_markdown_cell("What the table says.\n\n## Exercises\n\nDo them.\n\n### One\n\nThis.")
    assert [build_slides.kind(part) for part in build_slides.parts(words)] == ["fragment", "slide", "slide"]
    assert "".join(part.source for part in build_slides.parts(words)) == words.source
    code = new_markdown_cell("Type:\n\n```\n# a comment\n```")
    assert build_slides.parts(code) == [code]


def test_a_folder_of_reveal_is_called_from_where_the_slides_lie(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build_slides.main(["01", "--folder", str(tmp_path / "made"), "--reveal", str(tmp_path)]) == 1
    assert "no dist/reveal.js" in capsys.readouterr().err and not (tmp_path / "made").exists()
    unpacked(tmp_path / "reveal")
    monkeypatch.chdir(tmp_path)
    assert build_slides.address("reveal", Path("here/slides")) == "../../reveal"
    assert build_slides.address("https://here/reveal", tmp_path) == "https://here/reveal"
    assert build_slides.address(None, tmp_path).startswith("https://")


def unpacked(folder: Path) -> Path:
    """A folder that looks like reveal.js."""
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "reveal.js").write_text("")
    return folder


@pytest.mark.slow
def test_a_lesson_becomes_slides(tmp_path: Path) -> None:
    reveal = unpacked(tmp_path / "reveal")
    assert build_slides.main(["01", "--folder", str(tmp_path / "made"), "--reveal", str(reveal)]) == 0
    (page,) = (tmp_path / "made").iterdir()
    text = page.read_text("utf-8")
    headings = [
        line
        for cell in build_notebooks.nbformat.read(build_notebooks.selected(["01"])[0], as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert text.count("<section") >= len(headings) > 5 and "reveal/dist/reveal" in text
    called = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="((?!data:)[^"]*)"', text)
    formulas = [each for each in called if "mathjax" in each.lower()]
    assert [each for each in called if each not in formulas] == [
        f"../reveal/dist/{name}" for name in ("reveal.css", "theme/white.css", "reveal.js")
    ]
    assert "require(" not in text and "import(" not in text
    assert "imu.check(" not in text and "imu.predict(" not in text
