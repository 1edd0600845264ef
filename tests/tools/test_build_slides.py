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


@pytest.mark.slow
def test_a_lesson_becomes_slides(tmp_path: Path) -> None:
    assert build_slides.main(["01", "--folder", str(tmp_path), "--reveal", "reveal"]) == 0
    (page,) = tmp_path.iterdir()
    text = page.read_text("utf-8")
    headings = [
        line
        for cell in build_notebooks.nbformat.read(build_notebooks.selected(["01"])[0], as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert text.count("<section") >= len(headings) > 5 and "reveal/dist/reveal" in text
    assert not re.search(r'(src|href)="https?://[^"]*reveal', text)
    assert "var scroll = true" in text, "a slide longer than a screen can be scrolled"
    assert "imu.check(" not in text and "imu.predict(" not in text
