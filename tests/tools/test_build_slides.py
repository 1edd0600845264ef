"""Slides hold each heading and picture of a lesson, and nothing that only asks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import build_notebooks
import build_slides
import pytest
from described import FIGURE, described
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


def test_without_reveal_one_is_told_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build_slides.main(["01", "--folder", str(tmp_path / "made"), "--reveal", str(tmp_path)]) == 1
    assert "no dist/reveal.js" in capsys.readouterr().err and not (tmp_path / "made").exists()
    monkeypatch.setattr(build_slides, "find_spec", lambda name: None)
    assert build_slides.main(["01", "--folder", str(tmp_path / "made")]) == 1
    assert "pip install -e '.[docs]'" in capsys.readouterr().err and not (tmp_path / "made").exists()
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "reveal.js").write_text("")
    assert build_slides.folder_of_reveal(str(tmp_path)) == tmp_path


def needs(*names: str) -> None:
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: make install installs the extra docs")


def test_formulas_become_mathml() -> None:
    needs("docutils")
    html = build_slides.with_formulas("Of $a_i$:\n\n$$b^2 = \\sum_j c_j$$\n\nnot `$x$`")
    assert html.count("<math") == 2 and '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"' in html
    assert re.search(r"<msub>\s*<mi>a</mi>\s*<mi>i</mi>\s*</msub>", html) and "<code>$x$</code>" in html


def test_pictures_are_told_in_words() -> None:
    cell = new_code_cell("x = 1\nimu.gallery(task, [1])\n")
    titled = {"layout": {"title": {"text": "Who &lt; whom?<br><span style='a'>Left: those.<br>Right</span>"}}}
    picture = {"image/png": "..."}
    assert described(cell, new_output("display_data", data=picture)) == "What this shows: imu.gallery(task, [1])"
    figure = new_output("display_data", data={**picture, FIGURE: titled})
    assert described(cell, figure) == "Who < whom? Left: those. Right"
    assert described(cell, new_output("display_data", data={"text/plain": "1"})) == ""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("docutils", "sphinx_revealjs")
    folder = tmp_path_factory.mktemp("slides")
    assert build_slides.main(["01", "--folder", str(folder)]) == 0
    (page,) = folder.iterdir()
    return page


@pytest.mark.slow
def test_a_lesson_becomes_slides(page: Path) -> None:
    text = page.read_text("utf-8")
    headings = [
        line
        for cell in build_notebooks.nbformat.read(build_notebooks.selected(["01"])[0], as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert text.count("<section") >= len(headings) > 5 and "<title>Influence by hand slides</title>" in text
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?!data:)[^"]*"', text)
    assert "require(" not in text and "import(" not in text and len(text) < 2_000_000
    assert "imu.check(" not in text and "imu.predict(" not in text


@pytest.mark.slow
@pytest.mark.browser
def test_slides_run_and_draw_their_formulas_without_a_network(page: Path, chromium: Any) -> None:
    seen = chromium.new_page()
    asked, told = [], []
    seen.on("request", lambda request: asked.append(request.url))
    seen.on("console", lambda message: message.type == "error" and told.append(message.text))
    seen.on("pageerror", lambda error: told.append(str(error)))
    seen.goto(page.as_uri())
    seen.wait_for_function("window.Reveal?.isReady()")
    assert [each for each in asked if not each.startswith("data:")] == [page.as_uri()] and not told
    drawn = seen.evaluate(FORMULAS)
    assert len(drawn) == 3 and all(fraction > 1.3 for fraction in drawn), "an index stands lower than its letter"
    assert seen.evaluate("[...document.images].every(each => each.naturalWidth && each.alt)")
    seen.close()


# For each formula, on its own slide: how high it is, in heights of a line of its own letters.
FORMULAS = """() => [...document.querySelectorAll('math')].map(formula => {
    const {h, v} = Reveal.getIndices(formula.closest('section'));
    Reveal.slide(h, v ?? 0, 99);
    const letter = formula.querySelector('mi').getBoundingClientRect().height;
    return formula.getBoundingClientRect().height / letter;
})"""
