"""What was seen of the lessons' claims belongs to the lessons of today."""

from __future__ import annotations

import build_notebooks
import check_lessons
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def run(claims: str) -> dict[str, bool]:
    """What the checking code prints for claims about x = 3."""
    import contextlib
    import io
    import json

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(check_lessons.checking(claims), {"x": 3})
    return json.loads(printed.getvalue().split(check_lessons.MARK)[1])


def test_each_claim_is_tried_by_itself() -> None:
    claims = '"""About x."""\n\nassert x == 3\ny = x + 1\nassert y == 5, "wrong"\nassert (\n    x\n    < z\n)\nassert y == 4\n'
    assert run(claims) == {"x == 3": True, 'y == 5, "wrong"': False, "( x < z )": False, "y == 4": True}


def test_another_seed_is_another_seed_everywhere() -> None:
    cells = [new_code_cell("imu.train(task, seed=0)\nf(my_seed=0, seed=01)"), new_markdown_cell("seed=0")]
    changed = check_lessons.with_seed(new_notebook(cells=cells), 2).cells
    assert [cell.source for cell in changed] == ["imu.train(task, seed=2)\nf(my_seed=0, seed=01)", "seed=0"]


@pytest.mark.parametrize("path", check_lessons.lessons(), ids=lambda path: path.stem)
def test_claims_are_assertions_with_names(path) -> None:
    claims = check_lessons.claims_of(path).read_text("utf-8")
    assert claims.count("\nassert ") >= 4
    compile(check_lessons.checking(claims), str(path), "exec")


@pytest.mark.full
@pytest.mark.parametrize("path", check_lessons.lessons(), ids=lambda path: path.stem)
def test_what_was_seen_is_of_today_and_holds(path) -> None:
    """Under each of three seeds every claim holds: a sentence that does not is too strong."""
    found = check_lessons.stored().get(path.stem)
    if found is None:
        pytest.skip(f"{path.stem} was not run under three seeds yet: make lessons ARGS={path.stem[:2]}")
    assert found["digest"] == check_lessons.digest(path), f"{path.stem} was changed: run `make lessons`"
    assert found["seeds"].keys() >= {"0", "1", "2"}
    for seed, seen in found["seeds"].items():
        assert isinstance(seen, dict), f"under seed {seed}: {seen}"
        assert [claim for claim, holds in seen.items() if not holds] == [], f"under seed {seed}"


def test_the_digest_follows_code_and_claims(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_lessons, "CLAIMS", tmp_path)
    path = tmp_path / "a.ipynb"

    def digest(code: str, prose: str, claims: str) -> str:
        nbformat.write(new_notebook(cells=[new_code_cell(code), new_markdown_cell(prose)]), path)
        (tmp_path / "a.py").write_text(claims)
        return check_lessons.digest(path)

    before = digest("1", "a", "assert 1")
    assert digest("1", "b", "assert 1") == before
    assert len({before, digest("2", "a", "assert 1"), digest("1", "a", "assert 2")}) == 3


def test_an_unknown_lesson_is_named(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        check_lessons.main(["99"])
    assert "no lesson starts with 99; there are 00_start_here" in capsys.readouterr().err
    assert build_notebooks.NOTEBOOKS.is_dir()


def test_a_lesson_that_is_changed_meanwhile_is_not_stored(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    path = tmp_path / "00_a.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    (tmp_path / "00_a.py").write_text("assert True\n")
    monkeypatch.setattr(check_lessons, "CLAIMS", tmp_path)
    monkeypatch.setattr(check_lessons, "SEEN", tmp_path / "claims.json")
    monkeypatch.setattr(check_lessons, "lessons", lambda: [path])
    monkeypatch.setattr(check_lessons, "seen", lambda *_: {"True": True})
    assert check_lessons.main(["00", "--seeds", "0", "1"]) == 0
    assert check_lessons.stored()["00_a"] == {
        "digest": check_lessons.digest(path),
        "seeds": {"0": {"True": True}, "1": {"True": True}},
    }
    before = check_lessons.stored()

    def changed(*_):
        nbformat.write(new_notebook(cells=[new_code_cell("2")]), path)
        return {"True": False}

    monkeypatch.setattr(check_lessons, "seen", changed)
    assert check_lessons.main(["00", "--seeds", "0"]) == 1
    assert check_lessons.stored() == before and "was changed meanwhile" in capsys.readouterr().out
