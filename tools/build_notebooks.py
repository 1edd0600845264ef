"""Execute the notebooks and store them with a picture of every figure and panel: ``make notebooks``.

A stored notebook is for readers without a kernel (GitHub, an editor, a printed page), so every figure and panel carries
a PNG. The pictures cannot go stale unseen: a notebook stores a digest of what its outputs were made from, and
``--check`` and the tests compare it with that of today. A comment, a docstring or a line of prose decides no output.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
MAX_BYTES = 1_500_000
HEAVY_BYTES = 200_000
CELL_SECONDS = 600
PROGRESS = re.compile(r"\[\d\d:\d\d[<,].*\]|\d%\|")  # a bar with many words is cut before its times

WIDGET = "application/vnd.jupyter.widget-view+json"
FIGURES = ("application/vnd.plotly.v1+json", WIDGET)

# What the kernels of stored notebooks see, beside the environment of this process.
STATIC = {
    "IMU_LAB_STATIC": "1",  # imu_lab's panels add a PNG to their output
    "PLOTLY_RENDERER": "plotly_mimetype+png",  # so do plain figures
}
KERNEL_ARGUMENTS = [
    # One browser per kernel draws all plain figures, as one draws those of panels: 0.3 s each instead of 3 s.
    "--IPKernelApp.exec_lines=__import__('kaleido').start_sync_server()",
    "--IPKernelApp.log_level=ERROR",  # every kernel would warn that it talks to this process without encryption
]


class Refused(Exception):
    """A notebook that must not be stored; the message says why."""


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The lessons, then their solutions, each in the order of their names."""
    return sorted(folder.glob("*.ipynb")) + sorted(folder.glob("solutions/*.ipynb"))


def digest(notebook: NotebookNode, root: Path = ROOT) -> str:
    """A digest of what decides a notebook's outputs: the code in its cells, and all of imu_lab that a cell can reach."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    files = [(path.relative_to(root).as_posix(), deciding(path)) for path in library(root)]
    return hashlib.blake2b(json.dumps([cells, files]).encode(), digest_size=16).hexdigest()


def library(root: Path = ROOT) -> list[Path]:
    """The files of imu_lab, sorted by their path; styles and scripts of widgets, where there are any, are among them."""
    files = [path for path in (root / "imu_lab").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted(files, key=lambda path: path.relative_to(root).as_posix())


def deciding(path: Path) -> str:
    """A digest of what a file does: of Python the code alone, of anything else all of it."""
    return _code(path.read_text("utf-8")) if path.suffix == ".py" else hashlib.blake2b(path.read_bytes()).hexdigest()


@cache
def _code(source: str) -> str:
    """A digest of Python source that comments, docstrings and the looks of the code leave alone.

    It walks the syntax tree by itself: what ``ast.dump`` writes differs from one version of Python to the next.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None and not _is_registered(node):
                node.body = node.body[1:] or [ast.Pass()]
    return hashlib.blake2b(json.dumps(_nested(tree)).encode(), digest_size=16).hexdigest()


def _is_registered(node: ast.AST) -> bool:
    """Whether a class is registered under a name: what its docstring says is shown beside its numbers."""
    calls = [each for each in getattr(node, "decorator_list", []) if isinstance(each, ast.Call) and each.args]
    return isinstance(node, ast.ClassDef) and any(isinstance(each.args[0], ast.Constant) for each in calls)


def _nested(part: Any) -> Any:
    """A part of a syntax tree as plain lists; fields that hold nothing are left out, for newer versions add some."""
    if isinstance(part, list):
        return [_nested(each) for each in part]
    if not isinstance(part, ast.AST):
        return repr(part)
    held = [(name, value) for name, value in ast.iter_fields(part) if value not in (None, []) or name == "value"]
    return [type(part).__name__, *([name, _nested(value)] for name, value in held)]


def stored_digest(notebook: NotebookNode) -> str | None:
    """The digest that was stored with the outputs; None for a notebook that was never built."""
    return notebook.metadata.get("imu_lab", {}).get("sources")


def execute(
    path: Path,
    environment: Mapping[str, str],
    timeout: int = CELL_SECONDS,
    arguments: Sequence[str] = (),
    after: str = "",
) -> NotebookNode:
    """Run a notebook in its own folder, as JupyterLab does, and return it with its outputs; the file is left alone.

    Args:
        environment: variables for the kernel beside those of this process.
        timeout: seconds that one cell may take.
        arguments: of the kernel's command line.
        after: code to run after the last cell, in a cell of its own; what it asserts must hold.

    Raises:
        Refused: a cell failed, took too long or ended the kernel.
    """
    notebook = nbformat.read(path, as_version=4)
    if after:
        notebook.cells.append(new_code_cell(after))
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        extra_arguments=list(arguments),
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
    )
    try:
        return client.execute(env={**os.environ, **environment})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise Refused(str(error).strip()) from error


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Every output with the number of its cell, counted from 0."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield number, output


def problems(notebook: NotebookNode) -> list[str]:
    """Why a notebook should not be stored: errors, figures or panels without a picture, too large a file."""
    found = []
    for number, output in outputs(notebook):
        data = output.get("data", {})
        if output.output_type == "error":
            found.append(f"cell {number}: {output.ename}: {output.evalue}")
        said = WIDGET in data and FIGURES[0] not in data and "text/html" in data  # a widget of words alone
        if any(figure in data for figure in FIGURES) and "image/png" not in data and not said:
            found.append(f"cell {number}: a figure or panel without image/png: {data.get('text/plain', '')[:80]}")
    if (size := len(nbformat.writes(notebook).encode())) > MAX_BYTES:
        found.append(f"{size:,} bytes, more than {MAX_BYTES:,}: show fewer or smaller figures")
    return found


def is_noise(output: NotebookNode) -> bool:
    """Whether an output is about the run alone: warnings, and tqdm's progress bars (``[00:01<00:02, ...]``)."""
    text = output.get("data", {}).get("text/plain", "")
    return output.get("name") == "stderr" or bool(WIDGET in output.get("data", {}) and PROGRESS.search(text))


def drop_noise(notebook: NotebookNode) -> None:
    """Take out, in place, what changes from run to run and what differs between machines."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_noise(output)]


def drop_views(notebook: NotebookNode) -> None:
    """Take out, in place, the views of widgets, which leaves their pictures.

    A view names a model that died with its kernel: JupyterLab shows "model not found" for it where the file is trusted.
    """
    for _, output in outputs(notebook):
        output.get("data", {}).pop(WIDGET, None)
        output.get("metadata", {}).pop(WIDGET, None)


def drop_heavy(notebook: NotebookNode) -> None:
    """Make figures of photographs lighter, in place: no second copy of the pixels as data, and 256 colours.

    A kernel makes the live figure again.
    """
    for _, output in outputs(notebook):
        data = output.get("data", {})
        heavy = [figure for figure in FIGURES if len(json.dumps(data.get(figure, ""))) > HEAVY_BYTES]
        for figure in heavy if "image/png" in data else ():
            del data[figure]
        if len(data.get("image/png", "")) > HEAVY_BYTES:
            data["image/png"] = with_few_colours(data["image/png"])


def with_few_colours(picture: str) -> str:
    """A base64 PNG with a palette of 256 colours, a third of the size."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    image.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def store(notebook: NotebookNode, path: Path) -> None:
    """Replace the file in one step, so that an interrupted build leaves the old one."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(nbformat.writes(notebook) + "\n", "utf-8", newline="\n")
    temporary.replace(path)


def build(path: Path) -> None:
    """Execute one notebook, check it and store it.

    Raises:
        Refused: it must not be stored; the file is left as it was.
    """
    sources = digest(nbformat.read(path, as_version=4))
    notebook = execute(path, STATIC, arguments=KERNEL_ARGUMENTS)
    drop_noise(notebook)
    drop_heavy(notebook)
    if found := problems(notebook):
        raise Refused("\n".join(found))
    drop_views(notebook)
    notebook.metadata["imu_lab"] = {"sources": sources}
    store(notebook, path)


def stale(paths: list[Path]) -> list[Path]:
    """The notebooks whose outputs were made from other sources than those of today."""
    return [path for path in paths if is_stale(nbformat.read(path, as_version=4))]


def is_stale(notebook: NotebookNode) -> bool:
    """Whether a notebook's outputs were made from other sources than those of today."""
    return stored_digest(notebook) != digest(notebook)


def selected(names: list[str]) -> list[Path]:
    """The notebooks whose file names start with one of ``names``; all of them when there are no names."""
    paths = notebooks()
    if unknown := [name for name in names if not any(path.name.startswith(name) for path in paths)]:
        known = ", ".join(path.stem for path in paths) or "none"
        raise Refused(f"no notebook starts with {', '.join(map(repr, unknown))}. Known: {known}.")
    return [path for path in paths if not names or path.name.startswith(tuple(names))]


def require_browser() -> None:
    """Raise Refused where no Chromium is found: kaleido would wait for one for ever."""
    from choreographer.browsers.chromium import Chromium  # kaleido's own way to look for one

    if Chromium.find_browser(skip_local=False) is None:
        raise Refused("no Chromium or Chrome was found to draw the pictures with; on Debian: apt install chromium")


def build_all(paths: list[Path]) -> int:
    """Build one notebook after the other, saying how long each took; returns how many were refused."""
    refused = 0
    for path in paths:
        name, start = path.relative_to(NOTEBOOKS), time.perf_counter()
        try:
            build(path)
            print(f"{name}: {time.perf_counter() - start:.1f} s, {path.stat().st_size / 1000:,.0f} kB", flush=True)
        except Refused as reason:
            refused += 1
            print(f"{name}: not stored\n{reason}\n", file=sys.stderr, flush=True)
    return refused


def check_all(paths: list[Path]) -> int:
    """Name the notebooks that must be built again; returns how many there are."""
    old = stale(paths)
    for path in old:
        print(f"{path.relative_to(NOTEBOOKS)}: made from other sources; run `make notebooks`", file=sys.stderr)
    return len(old)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="starts of file names, such as 00; all notebooks without")
    parser.add_argument("--check", action="store_true", help="execute nothing; fail if any outputs are out of date")
    options = parser.parse_args(arguments)
    try:
        paths = selected(options.names)
        if not paths:
            print("there are no notebooks")
        if paths and not options.check:
            require_browser()
    except Refused as reason:
        parser.error(str(reason))
    return 1 if (check_all if options.check else build_all)(paths) else 0


if __name__ == "__main__":
    sys.exit(main())
