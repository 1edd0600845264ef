"""Panels by keyboard alone: what Tab reaches, in which order, under which name, and that it leaves again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PANELS = """
import imu_lab as imu
task = imu.tasks.Toy(forget_blob=0, per_class=20)
model = imu.train(task, "train", recipe=imu.tasks.Recipe(epochs=20, lr=0.1))
run = imu.unlearn(task, model, steps=6)
imu.workbench(task, model)
""", "imu.explore(run)", "imu.run_table([run])", 'imu.predict("How many?", low=0, high=1)'  # fmt: skip

# Where the focus is: in which panel, the control's box, its ring and whether it is one of a grid of samples.
FOCUSED = """() => {
    const it = document.activeElement, panel = it.closest('.imu-panel, .imu-reachable'), box = it.getBoundingClientRect();
    const all = [...document.querySelectorAll('.imu-panel, .imu-reachable')], style = getComputedStyle(it);
    const column = ['.imu-side', '.imu-main'].findIndex(each => it.closest(each));
    return { panel: panel ? all.indexOf(panel) : null, column: column < 0 ? 2 : column,
             top: box.top - (panel?.getBoundingClientRect().top ?? 0),
             ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) };
}"""

NAMED = """() => [...document.querySelectorAll('.imu-panel, .imu-reachable')].every(panel =>
    [...panel.querySelectorAll('.noUi-handle')].every(each => each.getAttribute('aria-label')))"""


def written(folder: Path) -> Path:
    notebook = new_notebook(cells=[new_code_cell(code.strip()) for code in PANELS])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(notebook, folder / "reach.ipynb")
    return folder / "reach.ipynb"


def test_tab_goes_through_panels_in_reading_order_and_each_control_has_a_name(
    notebook: Callable[..., Any], tmp_path: Path
) -> None:
    page = notebook(written(tmp_path))
    page.wait_for_selector(".imu-explorer .imu-histogram svg")
    page.wait_for_function("document.querySelectorAll('.imu-panel').length === 3")
    page.wait_for_function(NAMED)
    page.wait_for_timeout(500)
    reached = tabbed(page)

    names = [each["name"] for each in reached]
    assert all(re.search(r"\w", name) and not re.search("[\ue000-\uf8ff\u200b]", name) for name in names), names
    assert all(each["ring"] for each in reached), [each["name"] for each in reached if not each["ring"]]
    for panel in range(4):
        mine = [each for each in reached if each["panel"] == panel]
        assert [each["column"] for each in mine] == sorted(each["column"] for each in mine), "side, views, then below"
        for column in range(3):
            tops = [each["top"] for each in mine if each["column"] == column]
            assert all(later > earlier - 30 for earlier, later in zip(tops, tops[1:])), (panel, column, tops)
    wanted = ["2 · Intensity: sqrt-clipped", "damping", "sort by", "update", "Show all", "Add", "filter", "How many?"]
    assert not [each for each in wanted if not any(each in name for name in names)], names
    assert any(name.startswith("Histogram of") for name in names)
    grids = page.locator(".imu-overlay:has(button)").evaluate_all("all => all.filter(each => each.offsetParent).length")
    assert sum(bool(re.fullmatch(r"example \d+", name)) for name in names) == grids >= 2, (
        "one stop for each grid of samples"
    )
    parts_open_and_bars_are_marked(page)
    arrow_keys_go_from_sample_to_sample(page)


def parts_open_and_bars_are_marked(page: Any) -> None:
    header = page.locator(".imu-parts .jupyter-widget-Collapse-header", has_text="3 · Unlearning")
    assert header.get_attribute("aria-expanded") == "false"
    header.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".imu-lr .noUi-handle")
    assert header.get_attribute("aria-expanded") == "true"
    page.keyboard.press(" ")
    page.wait_for_function("document.querySelectorAll('.imu-lr .noUi-handle').length === 0 || "
                           "!document.querySelector('.imu-lr .noUi-handle').offsetParent")  # fmt: skip

    bars = page.locator(".imu-histogram svg").last
    bars.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('.imu-histogram .brush').length === 1")
    assert re.fullmatch(r"bar 1 of \d+ marked", bars.get_attribute("aria-valuetext"))
    page.keyboard.press("Shift+ArrowRight")
    assert re.fullmatch(r"bars 1 to 2 of \d+ marked", bars.get_attribute("aria-valuetext"))
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelectorAll('.imu-histogram .brush').length === 0")
    assert bars.get_attribute("aria-valuetext").startswith("nothing marked")


def arrow_keys_go_from_sample_to_sample(page: Any) -> None:
    """Through the pictures of the explorer, which stand in rows; the last one reached is where Tab comes back to."""
    grid = page.locator(".imu-explorer .imu-rows > .imu-overlay")
    buttons = grid.locator("button")
    one_stop = """at => [...document.querySelectorAll('.imu-explorer .imu-rows > .imu-overlay button')]
        .every((each, mine) => each.tabIndex === (mine === at ? 0 : -1))"""
    cell = page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    buttons.first.focus()
    for key, expected in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowUp", 0), ("ArrowUp", 0), ("End", 7),
                          ("ArrowDown", 7), ("Home", 0), ("ArrowRight", 1)):  # fmt: skip
        page.keyboard.press(key)
        assert buttons.evaluate_all("all => all.indexOf(document.activeElement)") == expected, key
        page.wait_for_function(one_stop, arg=expected)
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == cell
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.imu-explorer .imu-rows .imu-marked, .imu-explorer .imu-chosen')")
    page.wait_for_timeout(400)
    page.wait_for_function(one_stop, arg=1)
    assert buttons.evaluate_all("all => all.indexOf(document.activeElement)") == 1
    page.keyboard.press("Shift+Tab")
    assert buttons.evaluate_all("all => all.indexOf(document.activeElement)") == -1, "the grid is left by one step"
    page.keyboard.press("Tab")
    assert buttons.evaluate_all("all => all.indexOf(document.activeElement)") == 1


def tabbed(page: Any) -> list[dict]:
    """All that Tab reaches, from the first control of the first panel to the first thing after the last panel."""
    session = page.context.new_cdp_session(page)
    page.locator(".imu-panel .jupyter-widget-Collapse-header").first.focus()
    reached, last = [], False
    for _ in range(250):
        here = page.evaluate(FOCUSED)
        if here["panel"] is None:
            if last:
                return reached
        else:
            element = session.send("Runtime.evaluate", {"expression": "document.activeElement"})["result"]["objectId"]
            tree = session.send("Accessibility.getPartialAXTree", {"objectId": element, "fetchRelatives": False})
            reached.append({**here, "name": tree["nodes"][0].get("name", {}).get("value", "")})
            last = last or here["panel"] == 3
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came out again; it was last at {reached[-3:]}")
