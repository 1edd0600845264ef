"""Slides of each lesson, with its stored pictures. ``make slides``.

A heading begins a slide, a picture a step down; cells that only ask are left out. The slides need reveal.js, which they load
from the network, or from a folder that ``--reveal`` names (``npm pack reveal.js@4`` gets one): then they need no network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import build_notebooks
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

# nbconvert's own page loads four libraries from the network to start a fifth, and stays white without any one of them.
TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- if resources.formulas -%}{{ super() }}{%- endif -%}{%- endblock -%}
{%- block html_head_css -%}<style>
:root { --jp-cell-prompt-width: 0px; --jp-content-font-size1: 22px; --jp-code-font-size: 17px }
.reveal .slides { text-align: left } .reveal .slides img { max-width: 100%; max-height: none; margin: 0 }
.reveal .jp-InputPrompt, .reveal .jp-OutputPrompt { display: none }
.reveal .slides section.long { height: 100%; overflow-y: auto; overflow-x: hidden }
.reveal :is(h1, h2, h3) { text-transform: none !important; letter-spacing: normal }
.reveal .jp-OutputArea-output { overflow-x: auto }
</style>{%- endblock -%}
{% block footer_js %}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script>
const fit = () => document.querySelectorAll(".slides section:not(.stack)").forEach(each =>
  each.classList.toggle("long", each.scrollHeight > Reveal.getConfig().height));  // else it would be cut off
Reveal.initialize({ width: 1200, height: 720, margin: 0.03, center: false, hash: true, transition: "none", slideNumber: true });
Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
Reveal.on("fragmentshown", ({ fragment }) => {
  const slide = fragment.closest("section"), top = fragment.offsetTop;
  slide.scrollTop = Math.min(top, top + fragment.offsetHeight - slide.clientHeight);  // what is new is in view
});
</script>
{% endblock %}
"""


class NoReveal(Exception):
    """The folder holds no reveal.js: the message says how to get one."""


def kind(cell: NotebookNode) -> str:
    """What a cell is to a lecture: a slide, a step on it, or nothing."""
    if cell.cell_type == "markdown":
        return "slide" if re.match(r"#{1,3} ", cell.source) else "fragment"
    if re.match(r"(imu\.check\(|\w+ = imu\.predict\()", cell.source):
        return "skip"
    return (
        "subslide" if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])) else "fragment"
    )


def parts(cell: NotebookNode) -> list[NotebookNode]:
    """Words with headings among them as several cells, one from each heading on."""
    if cell.cell_type != "markdown" or "```" in cell.source:
        return [cell]
    pieces = [piece for piece in re.split(r"(?m)^(?=#{1,3} )", cell.source) if piece.strip()]
    return [new_markdown_cell(piece, metadata=dict(cell.metadata)) for piece in pieces] if len(pieces) > 1 else [cell]


def tagged(notebook: NotebookNode) -> NotebookNode:
    """The notebook with each cell's part in the slides, in place; a lesson's own tags are kept."""
    notebook.cells = [part for cell in notebook.cells for part in parts(cell)]
    for cell in notebook.cells:
        cell.metadata.setdefault("slideshow", {"slide_type": kind(cell)})
    return notebook


def slides(path: Path, reveal: str) -> str:
    """One lesson as a page of slides."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(embed_images=True, raw_template=TEMPLATE, reveal_url_prefix=reveal, reveal_theme="white")
    notebook = tagged(nbformat.read(path, as_version=4))
    build_notebooks.drop_views(notebook)
    for _, output in build_notebooks.outputs(notebook):
        output.get("data", {}).pop("application/vnd.plotly.v1+json", None)  # its picture stands beside it
    words = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    formulas = any(re.search(r"\$[^$\n]+\$", each) for each in words)
    return exporter.from_notebook_node(notebook, {"formulas": formulas})[0]


def address(reveal: str | None, folder: Path) -> str:
    """What slides in this folder call reveal.js: its address, by default nbconvert's own, or the way to its folder.

    Raises:
        NoReveal: nothing is there.
    """
    if reveal is None:
        from nbconvert import SlidesExporter

        return SlidesExporter().reveal_url_prefix
    if "://" in reveal:
        return reveal
    if not (Path(reveal) / "dist" / "reveal.js").is_file():
        raise NoReveal(f"there is no dist/reveal.js in {reveal}; unpack what `npm pack reveal.js@4` gets there")
    return Path(os.path.relpath(Path(reveal).resolve(), folder.resolve())).as_posix()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="starts of file names, such as 00; all lessons without")
    parser.add_argument("--folder", default=str(build_notebooks.ROOT / "slides"))
    parser.add_argument("--reveal", help="where reveal.js lies, for a room without a network: a folder or an address")
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    try:
        reveal = address(given.reveal, folder)
    except NoReveal as error:
        print(error, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for path in build_notebooks.selected(given.names):
        if path.parent == build_notebooks.NOTEBOOKS:
            (folder / f"{path.stem}.html").write_text(slides(path, reveal), "utf-8")
            print(folder / f"{path.stem}.html")
    if not given.reveal:
        print("the slides load reveal.js from the network; ARGS='--reveal FOLDER' names a copy for a room without one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
