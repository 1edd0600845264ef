"""Slides of each lesson, with its stored pictures. ``make slides``.

A heading begins a slide, a cell after it a step down; cells that only ask are left out. nbconvert's slides load
reveal.js from the network unless a folder holds it, so ``--reveal`` may name one; without, the page says so itself.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import build_notebooks
import nbformat
from nbformat import NotebookNode


def kind(cell: NotebookNode) -> str:
    """What a cell is to a lecture: a slide, a step on it, or nothing."""
    if cell.cell_type == "markdown":
        return "slide" if re.match(r"#{1,3} ", cell.source) else "fragment"
    if re.match(r"(imu\.check\(|\w+ = imu\.predict\()", cell.source):
        return "skip"
    return (
        "subslide" if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])) else "fragment"
    )


def tagged(notebook: NotebookNode) -> NotebookNode:
    """The notebook with each cell's part in the slides, in place; a lesson's own tags are kept."""
    for cell in notebook.cells:
        cell.metadata.setdefault("slideshow", {"slide_type": kind(cell)})
    return notebook


def slides(path: Path, reveal: str | None) -> str:
    """One lesson as a page of slides."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(embed_images=True, reveal_scroll=True)  # or what is longer than a screen would be cut off
    if reveal:
        exporter.reveal_url_prefix = reveal
    notebook = tagged(nbformat.read(path, as_version=4))
    build_notebooks.drop_views(notebook)
    for _, output in build_notebooks.outputs(notebook):
        output.get("data", {}).pop("application/vnd.plotly.v1+json", None)  # its picture stands beside it
    return exporter.from_notebook_node(notebook)[0]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="starts of file names, such as 00; all lessons without")
    parser.add_argument("--folder", default=str(build_notebooks.ROOT / "slides"))
    parser.add_argument("--reveal", help="where reveal.js lies, for a room without a network: a folder or an address")
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in build_notebooks.selected(given.names):
        if path.parent == build_notebooks.NOTEBOOKS:
            (folder / f"{path.stem}.html").write_text(slides(path, given.reveal), "utf-8")
            print(folder / f"{path.stem}.html")
    if not given.reveal:
        print("the slides load reveal.js from the network; ARGS='--reveal FOLDER' names a copy for a room without one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
