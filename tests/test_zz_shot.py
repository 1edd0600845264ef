import pytest
from test_browser_explorer import *
from test_browser import in_kernel
def test_look(notebook):
    page = notebook(WATCHING)
    page.wait_for_selector(f"{MAP} canvas", timeout=SECONDS * 1000)
    print(in_kernel(page, """
log=[]
old=explorer._lassoed
def spy(trace, points, selector):
    log.append((trace.meta["role"], len(points.point_inds), repr(selector)[:60])); 
for t in explorer.map.data: t.on_selection(spy)
from plotly.basewidget import BaseFigureWidget
def raw(change): log.append(("raw", None if change.new is None else change.new.get("event_type")))
explorer.map.observe(raw, "_js2py_pointsCallback")
"""))
    example = click_dot(page)
    wait_for(page, ".imu-card", f"example {example}")
    page.wait_for_timeout(1000)
    print("1", in_kernel(page, "print(log, explorer.selected and len(explorer.selected))"))
    for k in range(2):
        page.evaluate("figure => document.querySelector(figure).scrollIntoView({block: 'center'})", MAP)
        page.wait_for_timeout(1000)
        lasso(page, share=0.5)
        page.wait_for_timeout(3000)
        print("2", in_kernel(page, "print(log, explorer.selected and len(explorer.selected))"))
    print(page.evaluate("()=>document.querySelector('.imu-count').textContent"))
