"""Predictions and cards in a real JupyterLab: entered with the mouse, they come back beside what is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    "import imu_lab as imu",
    'share = imu.predict("Which share?")\nshare',
    'who = imu.predict("Who goes last?", ["the textbook ones", "<b>the odd ones</b>"])\nwho',
    'display(share.result(0.9))\nwho.result("the textbook ones")',
    'imu.check("09-2", 1)',
    'imu.check("09-2", 2.303)',
]


def test_a_reader_predicts_and_answers(notebook: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "asking.ipynb"
    asking = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    asking.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(asking, path)
    page = notebook(path)
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
