"""Slides of each lesson, with its stored pictures. ``make slides``.

A heading begins a slide, a picture a step down; cells that only ask are left out. Each page holds all that it needs, reveal.js
and the formulas among it, so that it can be carried into a room without a network.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import build_notebooks
import nbformat
from described import described
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

# nbconvert's own page loads five libraries from the network, and stays white without any one of them.
TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block data_png -%}<img alt="{{ output.metadata.described | escape_html }}" src="data:image/png;base64,\
{{ output.data['image/png'] | escape_html }}">{%- endblock -%}
{%- block html_head_css -%}<style>
:root { --jp-cell-prompt-width: 0px; --jp-content-font-size1: 22px; --jp-code-font-size: 17px }
.reveal .slides { text-align: left } .reveal .slides img { max-width: 100%; max-height: none; margin: 0 }
.reveal .jp-InputPrompt, .reveal .jp-OutputPrompt { display: none }
.reveal .slides section.long { height: 100%; overflow-y: auto; overflow-x: hidden }
.reveal :is(h1, h2, h3) { text-transform: none !important; letter-spacing: normal }
.reveal .jp-OutputArea-output { overflow-x: auto }
.reveal math { font-size: 1.1em } .reveal math[display=block] { margin: 0.6em 0 }
</style>{%- endblock -%}
{% block footer_js %}
<script src="./dist/reveal.js"></script>
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


class Missing(Exception):
    """What slides are made with is not here: the message says how to get it."""


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


def slides(path: Path, reveal: Path) -> str:
    """One lesson as a page of slides, with the reveal.js of this folder in it."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(embed_images=True, raw_template=TEMPLATE, reveal_url_prefix=".", reveal_theme="white")
    exporter.register_filter("markdown2html", with_formulas)
    notebook = tagged(nbformat.read(path, as_version=4))
    build_notebooks.drop_views(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.setdefault("metadata", {})["described"] = described(cell, output)
            output.get("data", {}).pop("application/vnd.plotly.v1+json", None)  # its picture stands beside it
    title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
    page = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]
    return held(page, reveal)


def with_formulas(source: str) -> str:
    """Markdown as HTML with its formulas as MathML, which browsers draw by themselves."""
    from docutils.utils.math.latex2mathml import tex2mathml
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return tex2mathml(body, as_block=True)

        def inline_math(self, body: str) -> str:
            return tex2mathml(body, as_block=False)

    return MarkdownWithMath(renderer=Renderer(escape=False)).render(source)


def held(page: str, reveal: Path) -> str:
    """The page with the files of reveal.js in it, instead of their names."""
    for name in ("reveal.css", "theme/white.css"):
        style = re.sub(r"@import url[^;]*;", "", (reveal / "dist" / name).read_text("utf-8"))  # a font; others do
        page = re.sub(rf'<link [^>]*href="./dist/{name}"[^>]*>', lambda _: f"<style>{style}</style>", page)
    script = (reveal / "dist" / "reveal.js").read_text("utf-8").replace("</script", r"<\/script")
    return page.replace('<script src="./dist/reveal.js"></script>', f"<script>{script}</script>")


def folder_of_reveal(given: str | None) -> Path:
    """Where reveal.js lies: in the folder that is given, by default in an installed package.

    Raises:
        Missing: nothing is there.
    """
    if given is not None:
        if not (Path(given) / "dist" / "reveal.js").is_file():
            raise Missing(f"there is no dist/reveal.js in {given}; unpack what `npm pack reveal.js@4` gets there")
        return Path(given)
    if find_spec("sphinx_revealjs") is None:
        raise Missing(
            "sphinx-revealjs, which holds reveal.js, is not installed: make install, or pip install -e '.[docs]'"
        )
    return Path(find_spec("sphinx_revealjs").origin).parent / "_static" / "revealjs"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="starts of file names, such as 00; all lessons without")
    parser.add_argument("--folder", default=str(build_notebooks.ROOT / "slides"))
    parser.add_argument("--reveal", help="a folder with another reveal.js than the installed one")
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    try:
        reveal = folder_of_reveal(given.reveal)
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for path in build_notebooks.selected(given.names):
        if path.parent == build_notebooks.NOTEBOOKS:
            (folder / f"{path.stem}.html").write_text(slides(path, reveal), "utf-8")
            print(folder / f"{path.stem}.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
