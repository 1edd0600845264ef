"""A page that is late with the code of its widgets draws all the same what Python says, and goes on following."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser import in_kernel
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Each module of more than so many bytes is there so many seconds late.
LATE = """(() => {
    const address = URL.createObjectURL.bind(URL);
    URL.createObjectURL = code => {
        if (code.size < BYTES || !/javascript/.test(code.type)) return address(code);
        const late = `await new Promise(done => setTimeout(done, SECONDS * 1000)); const module = await import("${address(code)}");
            export default module.default; export const FigureView = module.FigureView;`;
        return address(new Blob([late], {type: "text/javascript"}));
    };
})()"""

IMPORTS = """import ipywidgets as W, pandas as pd, plotly.graph_objects as go
from imu_lab.studies.brushing import bars
from imu_lab.widgets.base.bundle import FigureWidget
from imu_lab.widgets.base.histogram import Histogram"""

FIRST = """figure = FigureWidget(go.Figure(go.Scatter(y=[1, 2, 3])))
figure.add_class("late")
figure.data[0].y = [3, 2, 1]
figure.update_layout(height=200)
histogram = Histogram("pressure", bars(pd.Series([0.0, 1.0, 2.0, 3.0])), print, print)
W.VBox([figure, histogram])"""

IS_DRAWN = """([points, height]) => {
    const plot = document.querySelector('.late.js-plotly-plot'), box = plot?.querySelector('.main-svg');
    return box?.getAttribute('height') == height && plot.querySelectorAll('.scatterlayer .trace').length === 1
        && Array.from(plot.data[0].y).join() === points;
}"""
MARKED = "document.querySelectorAll('.imu-histogram .brush').length === 1"


# anywidget waits two seconds: for plotly's bundle first, then for the code of every widget. The last case is later than
# messages wait for the bundle.
@pytest.mark.parametrize(("seconds", "size"), [(4, 10**6), (3, 0), (12, 10**6)])
def test_nothing_is_lost_where_code_is_late(
    notebook: Callable[..., Any], tmp_path: Path, seconds: int, size: int
) -> None:
    path = tmp_path / "late.ipynb"
    made = new_notebook(cells=[new_code_cell(IMPORTS), new_code_cell(FIRST)])
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(made, path)
    script = LATE.replace("BYTES", str(size)).replace("SECONDS", str(seconds))
    page = notebook(path, script=script, forgiven=("page: [anywidget] Failed to initialize model.",))
    page.wait_for_function(IS_DRAWN, arg=["3,2,1", 200], timeout=60_000)
    in_kernel(page, "figure.data[0].y = [5, 6, 7]; figure.update_layout(height=240); histogram.span = [0, 0]")
    page.wait_for_function(IS_DRAWN, arg=["5,6,7", 240], timeout=60_000)
    page.wait_for_function(MARKED, timeout=60_000)
