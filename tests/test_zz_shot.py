"""Debug: open nb08 and look."""
import sys; sys.path.insert(0,'/work/main/tests'); sys.path.insert(0,'/work/main')
import pytest
pytest_plugins=["browser"]
from test_browser_explorer import *
def test_look(notebook):
    page = notebook(WATCHING)
    page.wait_for_selector(f"{MAP} canvas", timeout=60000)
    page.set_viewport_size({"width":1600,"height":1500})
    page.evaluate("figure => document.querySelector(figure).scrollIntoView({block: 'center'})", MAP)
    page.wait_for_timeout(1500)
    page.screenshot(path="/tmp/x1.png")
    e=click_dot(page); page.wait_for_timeout(1500)
    page.screenshot(path="/tmp/x2.png")
    lasso(page, share=.5); page.wait_for_timeout(2500)
    page.screenshot(path="/tmp/x3.png")
    print("EXAMPLE", e, page.evaluate("()=>document.querySelector('.imu-count').textContent"), page.evaluate("()=>document.querySelector('.imu-card').textContent"))
    print(page.problems)
