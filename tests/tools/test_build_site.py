"""The site holds every public name, every registered thing and every lesson, and needs no network."""

from __future__ import annotations

import importlib.util
import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import build_notebooks
import build_site
import examples
import pytest

from imu_lab.core import quantities

DOCS = ["sphinx", "myst_nb", "furo"]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return build_site.pages()


def test_every_public_name_stands_in_the_reference_once() -> None:
    listed = Counter(name for names in build_site.contents().values() for name in names)
    assert set(listed) == set(examples.public()) and set(listed.values()) == {1}


def test_all_that_is_registered_and_each_quantity_are_explained(pages: dict[str, str]) -> None:
    for registry in build_site.REGISTRIES.values():
        for name in registry:
            assert f"\n| `{name}` |" in pages["registries.md"], name
    rows = re.findall(r"^\| `(.+?)` \|", pages["glossary.md"], re.M)
    assert rows == sorted(quantities.QUANTITIES)
    assert all(quantities.QUANTITIES[name].meaning for name in rows)


def test_words_stay_within_their_cell() -> None:
    assert build_site.cell("KL(a | b)\n x*y_z $ [a]") == r"KL(a \| b) x\*y\_z \$ \[a\]"


def test_the_first_page_begins_with_what_it_is_and_shows_no_badges(pages: dict[str, str]) -> None:
    assert "](pictures/workbench.webp)" in pages["index.md"] and "make lab" in pages["index.md"]
    assert "\n00 Start here: make a model forget the digit 3 <lessons/00_start_here>\n" in pages["index.md"]
    assert pages["index.md"].startswith("# imu_lab\n\nimu_lab is an interactive, notebook-first toolkit")
    assert "[![" not in pages["index.md"]


def test_guides_are_the_readme_s_and_the_course_links_to_lessons(pages: dict[str, str]) -> None:
    assert "@imu.intensity_rule" in pages["guides/add-your-own.md"]
    assert "](../course.md)" in pages["guides/set-up.md"] and "](../pictures/" in pages["guides/tour.md"]
    assert (
        "](benchmarks" not in pages["guides/pays.md"] and "The whole report has the settings" in pages["guides/pays.md"]
    )
    linked = re.findall(r"\]\(lessons/(\w+)\.ipynb\)", pages["course.md"])
    assert linked == [path.stem for path in sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))]
    with pytest.raises(ValueError, match="the README has no section 'Nothing'"):
        build_site.section("Nothing")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := [name for name in DOCS if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: make install installs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    start = time.perf_counter()
    build_site.build(folder)  # fails at the first warning
    assert time.perf_counter() - start < 180
    return folder / "html"


@pytest.mark.slow
def test_the_site_is_whole_and_needs_no_network(site: Path) -> None:
    everything = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    reference = "".join(text for name, text in everything.items() if name.startswith("reference/"))
    assert not [name for name in examples.public() if f'id="imu_lab.{name}"' not in reference]
    assert "Returns" in reference and "Return type" not in reference, "half a sentence is no type"
    for name, text in everything.items():
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*?(?:src|href)="([^"]+)"', text)
        assert not [each for each in loaded if re.match(r"(https?:)?//", each)], name
        for target in re.findall(r'<a[^>]*? href="([^"#:]+)(?:#[^"]*)?"', text):
            assert ((site / name).parent / unquote(target)).exists(), (name, target)
        words = re.findall(r'<img[^>]*? alt="([^"]*)"', text)
        assert len(words) == text.count("<img") and all(words), name
        assert not [each for each in words if each.endswith((".png", ".webp"))], name
    assert "<math" in everything["lessons/01_influence_by_hand.html"]
    assert 'href="01_influence_by_hand.html"><' in everything["lessons/00_start_here.html"]


def test_without_the_extra_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "furo", None)
    with pytest.raises(build_site.Missing, match=r"is not installed: make install, or pip install -e '\.\[docs\]'"):
        build_site.build(tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").write_text("mine")
    with pytest.raises(build_site.Missing, match="holds something else than a site"):
        build_site.build(tmp_path)
    assert (tmp_path / "thesis.md").read_text() == "mine"
