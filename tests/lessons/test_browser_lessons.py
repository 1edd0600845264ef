"""Predictions and cards in a real JupyterLab: entered with the mouse, they come back beside what is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import RUN_ALL_CELLS, in_kernel
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    "import imu_lab as imu",
    'share = imu.predict("Which share?")\nshare',
    'who = imu.predict("Who goes last?", ["the textbook ones", "<b>the odd ones</b>"])\nwho',
    'display(share.result(0.9))\nwho.result("the textbook ones")',
    'imu.check("09-2", 1)',
    'imu.check("09-2", 2.303)',
]


COVERED = [
    "import pandas as pd, plotly.graph_objects as go\nimport imu_lab as imu\nfrom IPython.display import Markdown",
    'share = imu.predict("Which share?")\nshare',
    'share.result(0.9, go.Figure(go.Scatter(y=[1, 2])), pd.DataFrame({"<b>a</b>": ["of the table"]}))',
    'go.Figure(go.Bar(y=[1, 2]), {"title.text": "drawn beside it"})',
    'Markdown("said of *it*")',
    new_markdown_cell("*It is nearly all.*\n\n- told below\n\n## The next part\n\n*not about it*"),
    'imu.predict("Who?", ["we", "they"]).result("we", Markdown("*of the second*"))',
    'imu.predict("When?").result(0.5, Markdown("*of the third*"))',
    "print('run' + ' through')",
]
WIDGETS = "from ipywidgets.widgets import widget\nprint(len(widget._instances))"


def written(path: Path, cells: list[str | NotebookNode]) -> Path:
    """A notebook of these cells."""
    made = new_notebook(cells=[new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(made, path)
    return path


def shown(page: Any) -> str:
    """All words that the cells have put out."""
    return " ".join(page.locator(".jp-Cell-outputArea").all_inner_texts())


def test_a_figure_is_covered_until_there_is_a_prediction(notebook: Callable[..., Any], tmp_path: Path) -> None:
    page = notebook(written(tmp_path / "covered.ipynb", COVERED))
    page.wait_for_selector("text=run through")  # nothing waited
    page.locator("text=Covered until you have entered your prediction.").nth(2).wait_for()
    page.wait_for_timeout(500)  # whatever is drawn unasked is there by then
    assert page.locator(".js-plotly-plot:visible").count() == 0, "neither the covered figure nor the one about it"
    assert "said of it" not in shown(page)
    assert not [
        words for words in ("of the table", "It is 0.9", "of the second", "of the third") if words in shown(page)
    ]
    prose = page.locator(".jp-MarkdownCell .jp-RenderedMarkdown").first
    page.wait_for_selector("text=What it shows is told here once you have predicted.")
    assert not [words for words in ("nearly all", "told below") if words in prose.inner_text()]
    assert "The next part" in prose.inner_text() and "not about it" in prose.inner_text()
    page.locator("[role=slider]").first.press("ArrowRight")
    page.click("text=This is my prediction")
    page.wait_for_selector("text=You said 0.01; it is 0.9.")
    page.wait_for_selector(".jp-RenderedMarkdown >> text=told below")
    assert "nearly all" in prose.inner_text() and "What it shows is told here" not in prose.inner_text()
    page.wait_for_selector("td:has-text('of the table')")
    for figure in page.locator(".js-plotly-plot").all():
        figure.wait_for(state="visible")
        assert figure.locator(".main-svg").first.bounding_box()["width"] > 300
    assert "said of it" in shown(page) and page.locator(".js-plotly-plot:visible").count() == 2
    assert "of the second" not in shown(page), "it waits for its own prediction"
    page.click("button:has-text('Show without predicting'):visible")
    page.wait_for_selector("em:has-text('of the second')")
    page.click("button:has-text('they')")
    page.wait_for_selector("text=You said “they”; the answer is “we”.")
    page.locator("[role=slider]").first.press("ArrowRight")
    page.click("text=This is my prediction")
    page.wait_for_selector("text=You said 0.02; it is 0.9.")
    assert page.locator(".js-plotly-plot").count() == 2 and shown(page).count("of the second") == 1


def test_what_is_covered_can_be_uncovered_on_a_page_that_was_loaded_again(
    notebook: Callable[..., Any], tmp_path: Path
) -> None:
    page = notebook(written(tmp_path / "again.ipynb", COVERED))
    before = in_kernel(page, WIDGETS)
    page.evaluate(RUN_ALL_CELLS)
    assert in_kernel(page, WIDGETS) == before, "what an earlier run of a cell has made is freed"
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload(wait_until="domcontentloaded")
    show = page.locator("button:has-text('Show without predicting')")
    show.nth(2).wait_for()
    assert "of the third" not in shown(page)
    for at in range(3):
        show.nth(at).click()
    page.wait_for_selector("em:has-text('of the third')")
    figure = page.locator(".js-plotly-plot .main-svg").first
    figure.wait_for(state="visible")
    assert figure.bounding_box()["width"] > 300 and shown(page).count("of the third") == 1


def test_a_reader_predicts_and_answers(notebook: Callable[..., Any], tmp_path: Path) -> None:
    page = notebook(written(tmp_path / "asking.ipynb", CELLS))
    text = page.locator(".jp-Notebook")
    page.wait_for_selector("text=It is 0.9.")  # Run All went through without an answer
    page.click("text=This is my prediction")
    page.wait_for_selector("text=You said 0; it is 0.9.")
    page.click("button:has-text('<b>the odd ones</b>')")
    page.wait_for_selector("text=You said “<b>the odd ones</b>”; the answer is “the textbook ones”.")
    cards = page.locator("[role=status][style*='border-left']")
    backgrounds = [cards.nth(at).evaluate("card => getComputedStyle(card).borderLeftColor") for at in range(2)]
    assert backgrounds == ["rgb(198, 40, 40)", "rgb(26, 127, 55)"], "red, and green"
    second = page.locator("summary", has_text="Hint 2 of 2")
    assert not second.is_visible()
    page.click("summary >> text=Hint 1 of 2")
    assert second.is_visible() and "09-2: Right." in text.inner_text()
