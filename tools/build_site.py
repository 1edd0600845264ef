"""Build the pages: the course, its lessons with pictures, the reference, the glossary. ``make site``.

Nothing is written twice: lessons are the stored notebooks, guides are sections of the README, the reference is made of
docstrings in the order of ``imu_lab/__init__.py``, the glossary of what registries and quantities say of themselves.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import build_notebooks
import nbformat
from described import described
from examples import examples
from nbformat import NotebookNode

import imu_lab as imu
from imu_lab.core import quantities
from imu_lab.core.registry import Registry

ROOT = build_notebooks.ROOT
SETTINGS = Path(__file__).parent / "site"
REGISTRIES = {
    "Estimators": imu.estimators, "Rules": imu.intensity_rules, "Methods": imu.methods, "Metrics": imu.metrics,
}  # fmt: skip
GUIDES = {
    "set-up": "Set up", "tour": "A tour in one cell", "own-data": "Your own pictures", "add-your-own": "Add your own",
    "pays": "Does influence pay?", "cost": "Who gets there at what cost?", "honest": "What is honest about it",
}  # fmt: skip


NEITHER = "neither"


class Missing(Exception):
    """There is no site to make: the message says what is missing or in the way, and what to do."""


def contents() -> dict[str, list[str]]:
    """The public names under the headings of ``imu_lab/__init__.py``, in its order."""
    source = (ROOT / "imu_lab" / "__init__.py").read_text("utf-8")
    words = {
        at: line[2:] for at, line in enumerate(source.splitlines()) if line.startswith("# ") and "noqa" not in line
    }
    found: dict[str, list[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.level and (above := [at for at in words if at < node.lineno]):
            names = [each.name for each in node.names if each.asname is None]
            found.setdefault(words[above[-1]], []).extend(names)
    for name, module in imu._LATER.items():
        under = {"figures": "Figures", "widgets": "Panels"}.get(module.split(".")[0], "The notebooks' own")
        found.setdefault(under, []).append(name)
    names = [
        name for name in found.pop("What can be forgotten, and how models of it are trained", []) if name != "tasks"
    ]
    tasks = [f"tasks.{name}" for name in task_names()]
    return {"What can be forgotten, and how models of it are trained": names, "Tasks": tasks, **found}


def task_names() -> list[str]:
    """The public names of ``imu.tasks``."""
    source = (ROOT / "imu_lab" / "tasks" / "__init__.py").read_text("utf-8")
    return re.findall(r"^from \.\S+ import \w+ as (\w+)", source, re.M)


def found(name: str) -> Any:
    """What a public name, dotted or not, stands for."""
    thing: Any = imu
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def entry(name: str) -> str:
    """One name of the reference: its signature, its docstring, an example."""
    thing = found(name)
    if isinstance(thing, Registry):
        text = (
            f".. py:data:: imu_lab.{name}\n\n   {thing.kind}s by name: {', '.join(f'``{each}``' for each in thing)}.\n"
        )
    elif inspect.isclass(thing):
        members = "   :members:\n" if not issubclass(thing, BaseException) else ""
        text = f".. autoclass:: imu_lab.{name}\n{members}"
    else:
        text = f".. autofunction:: imu_lab.{name}\n"
    code = "\n".join(f"      {line}" for line in examples()[name].splitlines())
    shown = (
        ""
        if ">>>" in (inspect.getdoc(thing) or "")
        else f"\n.. code-block:: python\n   :caption: An example\n\n{code}\n"
    )
    return f"```{{eval-rst}}\n{text}{shown}```\n"


def registry_table(registry: Registry) -> str:
    """What is registered: its name, its settings, what it is."""
    rows = [
        f"| `{name}` | {', '.join(f'`{field.name}`' for field in fields(item)) or 'none'} | {cell(quantities.meaning_of(item))} |"
        for name, item in registry.items()
    ]
    return "\n".join(["| name | settings | what it is |", "|---|---|---|", *rows])


def cell(words: str) -> str:
    """Words within a table: a bar would end the cell, a star or a dollar would be read as a mark."""
    return re.sub(r"([|*_$<\[\]\\])", r"\\\1", " ".join(words.split()))


def quantity_table(rows: dict[str, quantities.Quantity]) -> str:
    """What columns and metrics mean."""
    lines = [
        f"| `{name}` | {cell(each.title)} | {cell(each.unit)} | {cell(each.meaning)} | {cell(each.good or NEITHER)} |"
        for name, each in sorted(rows.items())
    ]
    return "\n".join(
        ["| name | title | unit | formula, or what it is | which direction is good |", "|---|---|---|---|---|", *lines]
    )


def section(title: str) -> str:
    """A section of the README, up to the next of its level, as a page of its own."""
    text = (ROOT / "README.md").read_text("utf-8")
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", text, re.M | re.S)
    if match is None:
        raise ValueError(f"the README has no section {title!r}")
    return linked(f"# {title}\n{match.group(2)}".replace("```py\n", "```python\n"))


def linked(text: str) -> str:
    """A guide of the README as one of the site: the course is a page here; files of the repository are words, for they are not."""
    text = text.replace("](notebooks/README.md)", "](../course.md)").replace("](notebooks/pictures/", "](../pictures/")
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!\.\./|[a-z]+://|#)[^)]*\)", r"\1", text)


def pages() -> dict[str, str]:
    """Every page that is made, by its path."""
    made = {f"guides/{name}.md": section(title) for name, title in GUIDES.items()}
    for number, (heading, names) in enumerate(contents().items()):
        made[f"reference/{number:02d}.md"] = f"# {heading}\n\n" + "\n".join(map(entry, names))
    tables = "\n\n".join(f"## {title}\n\n{registry_table(registry)}" for title, registry in REGISTRIES.items())
    made["registries.md"] = f"# Estimators, rules, methods and metrics\n\nAll that is registered.\n\n{tables}\n"
    words, columns = (SETTINGS / "words.md").read_text("utf-8"), quantity_table(quantities.QUANTITIES)
    made["glossary.md"] = f"# Glossary\n\n## Words\n\n{words}\n## Columns and metrics\n\n{columns}\n"
    made["course.md"] = course()
    made["index.md"] = index()
    return made


def course() -> str:
    """The course's own page; lessons become links."""
    text = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    lessons = {path.stem[:2]: path.stem for path in lesson_files()}
    return re.sub(
        r"^\| (\d\d) ([^|]+?) \|",
        lambda row: f"| [{row[1]} {row[2]}](lessons/{lessons[row[1]]}.ipynb) |" if row[1] in lessons else row[0],
        text,
        flags=re.M,
    )


def tree(caption: str, *paths: str) -> str:
    """A part of the table of contents."""
    return f"```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n" + "\n".join(paths) + "\n```\n"


def index() -> str:
    """The first page: what it is, how to start and what is true about the method, as the README begins."""
    text = (ROOT / "README.md").read_text("utf-8")
    first = re.search(
        r"^# imu_lab\n+(?:\[!\[[^\n]*\n)*\n*(.*?)(?=\nThe rest of this section|\n### )", text, re.M | re.S
    )
    words = (
        first.group(1).replace("](notebooks/pictures/", "](pictures/").replace("the seven tasks below", "seven tasks")
    )
    lessons = [f"{number_and_title(path)} <lessons/{path.stem}>" for path in lesson_files()]
    return "\n".join(
        [
            "# imu_lab\n", words.strip(), "",
            "The evidence: [does influence pay?](guides/pays.md) and [who gets there at what cost?](guides/cost.md)\n",
            tree("The course", "course", *lessons),
            tree("Guides", *(f"guides/{name}" for name in GUIDES)),
            tree("Reference", "glossary", "registries", *(f"reference/{k:02d}" for k in range(len(contents())))),
        ]
    )  # fmt: skip


def lesson_files() -> list[Path]:
    """The lessons, in their order."""
    return sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))


def number_and_title(path: Path) -> str:
    """What a lesson is called in the table of contents."""
    first = nbformat.read(path, as_version=4).cells[0].source
    return f"{path.stem[:2]} {first.splitlines()[0].lstrip('# ')}"


def shown(notebook: NotebookNode) -> NotebookNode:
    """A lesson as it stands on the site, in place: pictures have words, lessons that are named are links."""
    build_notebooks.drop_views(notebook)
    known = {path.stem for path in lesson_files()}
    for cell in notebook.cells:
        if words := [each for output in cell.get("outputs", []) if (each := described(cell, output))]:
            cell.metadata["mystnb"] = {"image": {"alt": "; ".join(words)}}
        if cell.cell_type == "markdown":
            cell.source = re.sub(
                r"`(\d\d_\w+)`", lambda it: f"[{it[1]}]({it[1]}.ipynb)" if it[1] in known else it[0], cell.source
            )
    return notebook


def write(source: Path) -> None:
    """All sources of the site, in an empty folder."""
    shutil.copytree(SETTINGS, source, ignore=shutil.ignore_patterns("__pycache__", "words.md"))
    for path, text in pages().items():
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(text, "utf-8")
    shutil.copytree(build_notebooks.NOTEBOOKS / "pictures", source / "pictures")
    (source / "lessons").mkdir()
    for path in lesson_files():
        nbformat.write(shown(nbformat.read(path, as_version=4)), source / "lessons" / path.name)


def build(folder: Path) -> None:
    """The site, in ``folder``; what was there before is replaced.

    Raises:
        Missing: Sphinx, myst-nb or the theme is not installed, or the folder holds something else than a site.
        subprocess.CalledProcessError: Sphinx found something to warn of.
    """
    source = folder / "source"
    if folder.exists() and any(folder.iterdir()) and not (source / "conf.py").exists():
        raise Missing(f"{folder} holds something else than a site, which would be replaced; give another folder")
    try:
        import furo  # noqa: F401
        import myst_nb  # noqa: F401
        import sphinx  # noqa: F401
    except ImportError as error:
        raise Missing(f"{error.name} is not installed: make install, or pip install -e '.[docs]'") from None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(source)
    environment = {"PYTHONPATH": f"{source}:{ROOT}"}
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(source),
        str(folder / "html"),
    ]
    subprocess.run(command, check=True, env={**os.environ, **environment})


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=str(ROOT / "site"))
    folder = Path(parser.parse_args(arguments).folder)
    try:
        build(folder)
    except Missing as reason:
        parser.error(str(reason))
    except subprocess.CalledProcessError:
        print("the site was not built: see above", file=sys.stderr)
        return 1
    print(f"open {folder / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
