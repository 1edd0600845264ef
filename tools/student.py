"""A folder for students: the lessons without solutions and without stored outputs. ``make student DIR=lab``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import build_notebooks
import nbformat
from nbformat import NotebookNode

SOLUTIONS = re.compile(r" ?Solutions(?: are in|:) `solutions/[^`]+`\.")


class Refused(Exception):
    """The folder is there already, or cannot be made; the message says what to do."""


def emptied(notebook: NotebookNode) -> NotebookNode:
    """The notebook without its outputs, and without the sentence that says where solutions are, in place."""
    notebook.metadata.pop("imu_lab", None)  # what the outputs were made from
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = SOLUTIONS.sub("", cell.source)
    return notebook


def hand_out(folder: Path, lessons: Path = build_notebooks.NOTEBOOKS) -> list[Path]:
    """Write the lessons into a new folder and say which; solutions, pictures and the course's own notes stay behind.

    Raises:
        Refused: there is something of that name, which is left as it is, for a student's work may be in it; or there
            can be no folder of that name.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise Refused(f"{folder} exists and is left as it is; give another DIR, or delete it yourself") from None
    except OSError as error:
        raise Refused(f"{folder} cannot be made ({error.strerror}); give another DIR") from None
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
        written = hand_out(Path(given.folder).expanduser())
    except Refused as reason:
        parser.error(str(reason))
    print(f"{given.folder}: {len(written)} lessons, without solutions and stored outputs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
