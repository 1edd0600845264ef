"""Every notebook runs, is short enough to read, and its stored pictures were made from the sources of today."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import build_notebooks
import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from imu_lab.lessons.exercise import exercises

PATHS = build_notebooks.notebooks()
every_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])

CLAIMS = Path(__file__).parent / "lessons" / "claims"  # what each lesson says, as assertions about its variables
SOLUTIONS = [path for path in PATHS if path.parent.name == "solutions"]
LESSONS = [path for path in PATHS if path not in SOLUTIONS]
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
every_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=[path.stem for path in SOLUTIONS])

MAX_CODE_CELLS = 25  # beside those that only ask: a prediction, an exercise
MAX_CELL_LINES = 20
MAX_CODE_LINES = 130


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: NotebookNode) -> list[str]:
    """The source of each code cell."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def asks(source: str) -> bool:
    """Whether a cell only asks the reader something: a prediction to enter, or an exercise."""
    return bool(re.match(r"(\w+ = imu\.predict\(|imu\.check\()", source)) and len(source.splitlines()) <= 3


@pytest.mark.slow
@every_notebook
def test_runs(path: Path) -> None:
    """Run All: no error, no warning; what a lesson says is so, and what a solution answers is right."""
    says = CLAIMS / f"{path.stem}.py"
    after = says.read_text("utf-8") if path in LESSONS and says.exists() else ""
    executed = build_notebooks.execute(path, {"PLOTLY_RENDERER": "plotly_mimetype"}, timeout=400, after=after)
    found = [output for _, output in build_notebooks.outputs(executed)]
    assert not [output for output in found if output.output_type == "error"]
    assert not [output.text for output in found if output.get("name") == "stderr" and "Warning" in output.text]
    if path in SOLUTIONS:
        words = [output.get("data", {}).get("text/plain", "") for output in found]
        verdicts = [each for each in words if re.match(r"\d\d-\d: ", each)]
        assert verdicts and all(re.match(r"\d\d-\d: Right\.", each) for each in verdicts)


def code_lines(notebook: NotebookNode) -> list[int]:
    """The number of lines of each code cell that does more than ask."""
    return [len(source.splitlines()) for source in code(notebook) if not asks(source)]


HEADER = ["**Time:**", "**You should know:**", "**You will be able to:**", "**Next:**"]


@every_lesson
def test_a_lesson_says_at_its_top_what_it_takes_and_gives(path: Path) -> None:
    top = read(path).cells[0].source
    assert [words for words in HEADER if words in top] == HEADER and re.search(r"\*\*Time:\*\* .*minute", top)
    assert "## What to " in read(path).cells[-1].source, "a lesson ends with what to take home"


@every_lesson
def test_a_lesson_asks_its_exercises_and_holds_no_answers(path: Path) -> None:
    sources = code(read(path))
    asked = [name for source in sources for name in re.findall(r'imu\.check\("(\d\d-\d)", None\)', source)]
    assert asked == [name for name in exercises() if name.startswith(path.stem[:2])] and len(asked) >= 3
    assert not [source for source in sources if "not answered" in source or re.search(r"^assert ", source, re.M)]
    assert (CLAIMS / path.name).with_suffix(".py").exists(), "what the lesson says is to be checked"


@every_lesson
def test_predictions_can_be_entered_and_come_back(path: Path) -> None:
    sources = code(read(path))
    asked = {name for source in sources for name in re.findall(r"^(\w+) = imu\.predict\(", source, re.M)}
    assert len(asked) >= 2
    assert all(any(f"{name}.result(" in source for source in sources) for name in asked)
    assert not [cell for cell in read(path).cells if cell.cell_type == "markdown" and "**Predict" in cell.source]
    answered = [source for source in sources if re.search(r"\w\.result\(", source)]
    assert not [source for source in answered if "display(" in source], "what shows the truth is given to the result"
    calls = [each for source in answered for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Call)]
    results = [each for each in calls if getattr(each.func, "attr", "") == "result"]
    assert len(results) == len(asked) and all(len(each.args) > 1 for each in results), "a prediction unlocks something"


@every_solution
def test_every_exercise_has_its_solution(path: Path) -> None:
    answered = {name for source in code(read(path)) for name in re.findall(r'imu\.check\("(\d\d-\d)"', source)}
    assert answered == {name for name in exercises() if name.startswith(path.stem[:2])}
    assert not re.search(r'imu\.check\("\d\d-\d", None\)', "\n".join(code(read(path))))


def test_every_lesson_has_solutions_and_every_exercise_a_lesson() -> None:
    assert [path.stem for path in SOLUTIONS] == [path.stem for path in LESSONS]
    assert {name[:2] for name in exercises()} == {path.stem[:2] for path in LESSONS}


@every_notebook
def test_is_short_enough_to_read(path: Path) -> None:
    lines = code_lines(read(path))
    assert len(lines) <= MAX_CODE_CELLS
    assert max(lines, default=0) <= MAX_CELL_LINES
    assert sum(lines) <= MAX_CODE_LINES


@every_notebook
def test_is_readable_without_a_kernel(path: Path) -> None:
    notebook = read(path)
    assert path.stat().st_size <= build_notebooks.MAX_BYTES
    assert "widgets" not in notebook.metadata
    assert notebook.metadata["kernelspec"]["name"] == "python3"  # without it JupyterLab asks which kernel to start
    assert build_notebooks.problems(notebook) == []


@pytest.mark.full
@every_notebook
def test_outputs_are_of_today(path: Path) -> None:
    stale = build_notebooks.is_stale(read(path))
    assert not stale, f"{path.name} was made from other sources: run `make notebooks`"


def notebook_with(*outputs: NotebookNode) -> NotebookNode:
    return new_notebook(cells=[new_code_cell("1", outputs=list(outputs))])


@pytest.mark.parametrize("figure", build_notebooks.FIGURES)
def test_refuses_a_figure_without_a_picture(figure: str) -> None:
    without = new_output("display_data", data={figure: {}})
    beside = new_output("display_data", data={figure: {}, "image/png": "..."})
    assert "without image/png" in build_notebooks.problems(notebook_with(without))[0]
    assert build_notebooks.problems(notebook_with(beside)) == []
    words = new_output("display_data", data={figure: {}, "text/html": "<p>It is 0.4.</p>"})
    assert bool(build_notebooks.problems(notebook_with(words))) == (figure != build_notebooks.WIDGET), "words will do"


def test_refuses_an_error_and_a_large_file() -> None:
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    large = new_output("stream", text="x" * build_notebooks.MAX_BYTES)
    assert build_notebooks.problems(notebook_with(error)) == ["cell 0: ValueError: no"]
    assert "more than 1,500,000" in build_notebooks.problems(notebook_with(large))[0]


def test_only_pictures_and_text_are_stored() -> None:
    view = {build_notebooks.WIDGET: {"model_id": "1"}}
    panel = new_output("display_data", data={**view, "image/png": "..."})
    bar = new_output("display_data", data={**view, "text/plain": "  0%|          | 0/3 [00:00<?, ?it/s]"})
    notebook = notebook_with(new_output("stream", name="stderr", text="warning"), bar, panel)
    notebook.metadata["widgets"] = {}
    build_notebooks.drop_noise(notebook)
    build_notebooks.drop_views(notebook)
    assert "widgets" not in notebook.metadata
    assert [output.data for output in notebook.cells[0].outputs] == [{"image/png": "..."}]


SOURCE = '''"""What it is."""

@metric("mine", unit="nats")
class Mine:
    """Its formula."""

    share: float = 0.5

    def __call__(self, x):
        """What it does."""
        return f"<b style='color: red'>{x:.2f}</b>" if x else None
'''


def digest_with(folder: Path, source: str = SOURCE, notebook: NotebookNode | None = None, **files: str) -> str:
    """The digest over a library of this source and further files."""
    shutil.rmtree(folder / "imu_lab", ignore_errors=True)
    for name, text in {"module.py": source, **files}.items():
        path = folder / "imu_lab" / "room" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return build_notebooks.digest(notebook or notebook_with(), folder)


def test_digest_follows_the_code_of_cells_but_not_prose_and_outputs(tmp_path: Path) -> None:
    before = digest_with(tmp_path)
    printed = notebook_with(new_output("stream", text="1"))
    prose = new_notebook(cells=[new_markdown_cell("# A lesson"), new_code_cell("1")])
    assert digest_with(tmp_path, notebook=printed) == digest_with(tmp_path, notebook=prose) == before
    assert digest_with(tmp_path, notebook=new_notebook(cells=[new_code_cell("2")])) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("share: float = 0.5\n", "share: float = 0.5  # half and half\n"),
        ("What it is.", "What it really is."),
        ("What it does.", "Does it.\n\n        At length."),
        ('        """What it does."""\n', ""),
        ('"mine", unit', "'mine',  unit"),
        ("share: float = 0.5\n", "share: float = 0.5\n\n\n"),
    ],
)
def test_a_comment_a_docstring_and_the_looks_of_code_make_nothing_stale(tmp_path: Path, old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert digest_with(tmp_path) == digest_with(tmp_path, SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"), ("share", "part"), ("red", "blue"), (".2f", ".3f"), ("nats", "bits"), ("if x", "if not x"),
        ("None", "0"), ('unit="nats"', ""), ("float", "int"), ("Its formula", "Another formula"),
    ],
)  # fmt: skip
def test_whatever_can_be_seen_makes_it_stale(tmp_path: Path, old: str, new: str) -> None:
    assert digest_with(tmp_path) != digest_with(tmp_path, SOURCE.replace(old, new))


def test_new_modules_and_files_that_are_no_python_count(tmp_path: Path) -> None:
    found = [
        digest_with(tmp_path, **more) for more in ({}, {"other.py": "b = 1"}, {"look.css": "a"}, {"look.css": "b"})
    ]
    assert len(set(found)) == 4
    assert digest_with(tmp_path, **{"old.pyc": "x"}) == found[0]


@pytest.mark.full
def test_a_failing_cell_is_refused_and_the_file_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "failing.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), path)
    before = path.read_bytes()
    with pytest.raises(build_notebooks.Refused, match="ZeroDivisionError"):
        build_notebooks.execute(path, {})
    assert path.read_bytes() == before


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(build_notebooks.Refused, match="no notebook starts with 'nothing'"):
        build_notebooks.selected(["nothing"])
