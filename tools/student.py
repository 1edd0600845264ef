"""A folder for students: the lessons without solutions and without stored outputs. ``make student DIR=lab``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import build_notebooks
import nbformat
from nbformat import NotebookNode


class Exists(Exception):
    """The folder is there already; the message says what to do."""


def emptied(notebook: NotebookNode) -> NotebookNode:
    """The notebook without its outputs, in place."""
    notebook.metadata.pop("imu_lab", None)  # what the outputs were made from
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def hand_out(folder: Path, lessons: Path = build_notebooks.NOTEBOOKS) -> list[Path]:
    """Write the lessons into a new folder and say which; solutions, pictures and the course's own notes stay behind.

    Raises:
        Exists: there is something of that name. It is left as it is: a student's work may be in it.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise Exists(f"{folder} exists and is left as it is; give another DIR, or delete it yourself") from None
    written = []
    for path in sorted(lessons.glob("*.ipynb")):
        copy = folder / path.name
        nbformat.write(emptied(nbformat.read(path, as_version=4)), copy)
        written.append(copy)
    return written


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder that does not exist yet")
    given = parser.parse_args(arguments)
    if not given.folder:
        parser.error("which folder? make student DIR=lab")
    try:
        written = hand_out(Path(given.folder))
    except Exists as reason:
        parser.error(str(reason))
    print(f"{given.folder}: {len(written)} lessons, without solutions and stored outputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
