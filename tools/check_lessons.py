"""Run every lesson under several seeds, check each thing it says, and store what was seen. ``make lessons``.

What a lesson says stands in ``tests/lessons/claims/NAME.py`` as assertions about its variables. Under seed k every
``seed=0`` of its cells is ``seed=k``. What was seen is stored in ``notebooks/claims.json`` with a digest of the lesson's
cells and its claims; the tests verify that it speaks of the lessons of today.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import sys
import time
from pathlib import Path

import build_notebooks
import nbformat
from nbformat import NotebookNode

CLAIMS = build_notebooks.ROOT / "tests" / "lessons" / "claims"
SEEN = build_notebooks.NOTEBOOKS / "claims.json"
SEEDS = (0, 1, 2)
MARK = "claims seen: "


def lessons() -> list[Path]:
    """The lessons that have claims."""
    paths = sorted(build_notebooks.NOTEBOOKS.glob("*.ipynb"))
    return [path for path in paths if claims_of(path).exists()]


def claims_of(path: Path) -> Path:
    """The file of a lesson's claims."""
    return CLAIMS / f"{path.stem}.py"


def digest(path: Path) -> str:
    """A digest of a lesson's code and of its claims."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    text = json.dumps([cells, claims_of(path).read_text("utf-8")])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def with_seed(notebook: NotebookNode, seed: int) -> NotebookNode:
    """The notebook, in place, under another seed."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"\bseed=0\b", f"seed={seed}", cell.source)
    return notebook


def checking(claims: str) -> str:
    """Code that tries each claim by itself, and prints which hold."""
    tried = ["held = {}"]
    for part in ast.parse(claims).body:
        source = str(ast.get_source_segment(claims, part))
        if isinstance(part, ast.Assert):
            name = " ".join(source.removeprefix("assert ").split())
            indented = "\n".join(f"    {line}" for line in source.splitlines())
            tried.append(f"try:\n{indented}\n    held[{name!r}] = True\nexcept Exception:\n    held[{name!r}] = False")
        else:
            tried.append(source)
    return "\n".join([*tried, f"import json; print({MARK!r} + json.dumps(held))"])


def seen(path: Path, seed: int, folder: Path) -> dict[str, bool] | str:
    """Which claims of a lesson hold under a seed; a sentence where the lesson does not run at all."""
    copy = folder / path.name
    nbformat.write(with_seed(nbformat.read(path, as_version=4), seed), copy)
    try:
        executed = build_notebooks.execute(
            copy,
            {"PLOTLY_RENDERER": "plotly_mimetype"},
            arguments=["--IPKernelApp.log_level=ERROR"],
            after=checking(claims_of(path).read_text("utf-8")),
        )
    except build_notebooks.Refused as reason:
        return f"does not run: {str(reason).splitlines()[-1]}"
    printed = [output.text for _, output in build_notebooks.outputs(executed) if output.get("name") == "stdout"]
    return json.loads(next(text for text in reversed(printed) if MARK in text).split(MARK)[1])


def stored() -> dict[str, dict]:
    """What was seen last."""
    return json.loads(SEEN.read_text("utf-8")) if SEEN.exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns how many claims do not hold under the lessons' own seed."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="starts of file names, such as 00; all lessons without")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    given = parser.parse_args(arguments)
    chosen = [path for path in lessons() if not given.names or path.name.startswith(tuple(given.names))]
    if not chosen:
        parser.error(
            f"no lesson starts with {', '.join(given.names)}; there are {', '.join(p.stem for p in lessons())}"
        )
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in chosen:
            of, before = digest(path), stored().get(path.stem, {})
            known = before.get("seeds", {}) if before.get("digest") == of else {}
            for seed in given.seeds:
                start = time.perf_counter()
                known[str(seed)] = found = seen(path, seed, Path(folder))
                failed = [found] if isinstance(found, str) else [name for name, holds in found.items() if not holds]
                broken += len(failed) if seed == 0 else 0
                print(
                    f"{path.stem}, seed {seed}: {time.perf_counter() - start:.0f} s, {len(failed)} do not hold",
                    flush=True,
                )
                print("".join(f"    {name}\n" for name in failed), end="", flush=True)
            if digest(path) != of:
                print(f"{path.stem} was changed meanwhile: nothing is stored", flush=True)
                continue
            kept = stored() | {path.stem: {"digest": of, "seeds": known}}
            SEEN.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
