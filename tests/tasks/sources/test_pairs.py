"""Question-answer pairs from files and lists: what is read, how copies in another order are joined, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imu_lab.tasks.sources import pairs

ROWS = [{"question": f"Who is {at}?", "answer": f"It is {at}."} for at in range(40)]


def written(path: Path, rows: list[Any]) -> Path:
    """A JSON-lines file; words that are no object stand there as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def perturbed(row: dict, wrong: int = 2) -> dict:
    """A row with its answer in other words, and wrong ones."""
    others = [f"{row['answer']} no {at}" for at in range(wrong)]
    return row | {"paraphrased_answer": f"{row['answer']} yes", "perturbed_answer": others}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two authors in TOFU's layout; each file has the rows in an order of its own."""
    written(tmp_path / "full.json", ROWS)
    written(tmp_path / "forget50.json", ROWS[:19:-1])
    written(tmp_path / "forget50_perturbed.json", [perturbed(row) for row in (*ROWS[30:], *ROWS[20:30])])
    written(tmp_path / "retain50.json", ROWS[:20])
    written(tmp_path / "retain_perturbed.json", [perturbed(row) for row in ROWS[3:0:-1]])
    written(tmp_path / "real_authors_perturbed.json", [{"question": "Q", "answer": "A", "perturbed_answer": ["B"]}])
    written(tmp_path / "holdout50.json", [{"question": "Who is 99?", "answer": "Nobody."}])
    return tmp_path


def test_a_folder_is_joined_by_question_and_answer(folder: Path) -> None:
    found = pairs.tofu(str(folder))
    assert found.requests == {"forget50": tuple(range(20, 40))} and found.authors == (0, 1)
    assert [pair.author for pair in found.train] == [0] * 20 + [1] * 20 and found.name(1) == "author 1"
    for at, pair in enumerate(found.train):
        told = at in (1, 2, 3) or at >= 20
        assert pair.paraphrased == (f"It is {at}. yes" if told else None)
        assert pair.wrong == ((f"It is {at}. no 0", f"It is {at}. no 1") if told else ())
    assert found.holdout == (pairs.Pair("Who is 99?", "Nobody."),)
    assert found.test == (pairs.Pair("Q", "A", group="well-known", wrong=("B",)),)


def test_a_question_may_have_two_answers_and_is_joined_by_both(folder: Path) -> None:
    twice = [*ROWS[:39], {"question": "Who is 0?", "answer": "Someone else."}]
    written(folder / "full.json", twice)
    written(folder / "forget50.json", [twice[39]])
    (folder / "forget50_perturbed.json").unlink()
    assert pairs.tofu(str(folder)).requests == {"forget50": (39,)}


def test_rows_of_another_data_set_are_named(folder: Path) -> None:
    written(folder / "forget50.json", [ROWS[0], {"question": "Who is 1?", "answer": "Another."}])
    with pytest.raises(ValueError, match="line 2 of forget50.json is not among the pairs of full: 'Who is 1"):
        pairs.tofu(str(folder))


def test_a_folder_without_full_says_what_it_holds(tmp_path: Path) -> None:
    written(tmp_path / "forget01.json", ROWS[:3])
    with pytest.raises(FileNotFoundError, match="holds no full.json; .* It holds 'forget01'"):
        pairs.tofu(str(tmp_path))


def test_files_lists_and_frames_are_the_same_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "own.jsonl", [*ROWS[:2], "", *ROWS[2:4]])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # as Windows calls it
    given = [file, str(file), "~/own.jsonl", ROWS[:4], pd.DataFrame(ROWS[:4])]
    made = [pairs.supplied(each) for each in given]
    assert len(set(made)) == 1 and made[0].train[3] == pairs.Pair("Who is 3?", "It is 3.")
    assert pairs.supplied(ROWS[:4], ROWS[4:5]) not in made and pairs.supplied(ROWS[:3]) not in made


def test_keys_are_given_or_found() -> None:
    row = {"prompt": "a", "completion": "b", "q": "c", "a": "d"}
    assert pairs.supplied([row]).train[0][:2] == ("a", "b")
    assert pairs.supplied([row], keys=("q", "a")).train[0][:2] == ("c", "d")
    with pytest.raises(ValueError, match="row 0 of train has no 'text'; it has 'prompt', 'completion', 'q', 'a'"):
        pairs.supplied([row], keys=("q", "text"))
    with pytest.raises(ValueError, match=r"has 'q', 'a', in which no question and answer can be told; .*keys=\("):
        pairs.supplied([{"q": "c", "a": "d"}])
    with pytest.raises(ValueError, match="several: .*'completion'.* or .*'response'"):
        pairs.supplied([row | {"response": "e"}])


def test_authors_are_numbers_or_names() -> None:
    named = pairs.supplied([row | {"author": name} for row, name in zip(ROWS, ("Mo", "Al", "Mo"))])
    assert [pair.author for pair in named.train] == [0, 1, 0] and named.name(0) == "Mo" and named.name(-1) == ""
    assert [pair.author for pair in pairs.supplied([row | {"author": 7} for row in ROWS[:2]]).train] == [7, 7]
    words = pairs.supplied([ROWS[0] | {"author": "1"}, ROWS[1] | {"author": "0"}, ROWS[2]])
    assert [pair.author for pair in words.train] == [1, 0, pairs.NOBODY] and words.name(1) == "1", (
        "no places in the file"
    )
    with pytest.raises(
        ValueError, match="authors are numbers, such as 0, and names, such as 'Mo'; give all in one way"
    ):
        pairs.supplied([ROWS[0] | {"author": "Mo"}, ROWS[1] | {"author": 0}, ROWS[2]])
    with pytest.raises(ValueError, match=r"the author in row 0 of train is \['Mo'\]"):
        pairs.supplied([ROWS[0] | {"author": ["Mo"]}])


@pytest.mark.parametrize(
    "rows, message",
    [
        ([ROWS[0], '{"question": "a", "ans'], r"line 2 of .* is no JSON \(.* at character \d+\): '\{"),
        ([ROWS[0], "", "[1, 2]"], r"line 3 of own.jsonl is \[1, 2\], not an object"),
        ([ROWS[0], {"question": "a", "answer": " \n"}], "the answer in line 2 of own.jsonl is empty"),
        ([ROWS[0], {"question": "", "answer": "b"}], "the question in line 2 of own.jsonl is empty"),
        ([ROWS[0], {"question": "a"}], "the answer in line 2 of own.jsonl is missing"),
        ([ROWS[0], {"question": "a", "answer": 3}], "the answer in line 2 of own.jsonl is 3"),
        ([ROWS[0], ROWS[1], ROWS[0]], "line 3 of own.jsonl holds the same question and answer as line 1"),
        ([ROWS[0] | {"perturbed_answer": ["a", ""]}], "perturbed_answer in line 1 of own.jsonl holds something"),
        ([], "there are no pairs to train on"),
        ([ROWS[0], '{"question": "a", "answer": "b", "answer": "c"}'], "line 2 of .* names 'answer' twice"),
        (
            ["[", '{"question": "a", "answer": "b"}', "]"],
            "line 1 of .* the file is one JSON document over several lines",
        ),
        (
            ['[[{"question": "a", "answer": "b"}]]'],
            r'line 1 of own.jsonl is \[\[.*such as {"question": "...", "answer"',
        ),
        (
            [ROWS[0], {"question": "a", "answer": "\u200b\ufeff\x07\u3000"}],
            "the answer in line 2 of own.jsonl is empty",
        ),
        (
            [ROWS[0] | {"perturbed_answer": {"a": "b"}}],
            "perturbed_answer in line 1 .* is no answer: .*give a list of texts",
        ),
        ([ROWS[0] | {"perturbed_answer": 5}], "perturbed_answer in line 1 .* is no answer: 5"),
        (
            [ROWS[0] | {"perturbed_answer": ["It  is 0.", "x"]}],
            "in line 1 of own.jsonl holds the right answer, too: 'It is 0",
        ),
        ([perturbed(ROWS[0]) | {"perturbed_answer": ["It is 0. yes"]}], "holds the right answer, too: 'It is 0. yes'"),
    ],
)
def test_bad_rows_are_named_by_their_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pairs.supplied(written(tmp_path / "own.jsonl", rows))


def test_other_encodings_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes('{"question": "Où?", "answer": "Là."}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match="latin.jsonl is not written in UTF-8"):
        pairs.supplied(tmp_path / "latin.jsonl")
    with pytest.raises(FileNotFoundError, match="no file .*none.jsonl; a file of pairs holds one JSON object a line"):
        pairs.supplied(tmp_path / "none.jsonl")


def test_text_is_data(tmp_path: Path) -> None:
    """Tags, directions, emoji, separators of lines inside a string: all come back as they were written."""
    words = "<b>x</b> \u202eאב 👩\u200d🚀 \u2028 </s> {who}"
    file = written(tmp_path / "own.jsonl", [{"question": words, "answer": f"{words} \x07 end"}])
    assert pairs.supplied(file).train[0][:2] == (words, f"{words} \x07 end")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ends_of_lines_and_marks_of_encoding_are_no_content(ending: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes((mark + ending.join(map(json.dumps, ROWS[:3])) + ending).encode("utf-8"))
    assert pairs.supplied(path) == pairs.supplied(ROWS[:3])


def test_what_is_no_rows_is_refused() -> None:
    for given in (None, 5, {"question": ["a"], "answer": ["b"]}):
        with pytest.raises(TypeError, match="train is rows with a question and an answer, such as a list of dicts"):
            pairs.supplied(given)
    for keys in ({"question": "q", "answer": "a"}, ("q", "q"), ("q",), "qa"):
        with pytest.raises(ValueError, match="keys is the names of question and answer, two different ones"):
            pairs.supplied([{"q": "c", "a": "d"}], keys=keys)


def test_wrong_answers_may_come_as_an_array() -> None:
    frame = pd.DataFrame([perturbed(ROWS[0])])
    frame["perturbed_answer"] = [np.array(frame["perturbed_answer"][0], dtype=object)]
    assert pairs.supplied(frame) == pairs.supplied([perturbed(ROWS[0])])


def test_a_list_that_is_written_as_a_text_is_no_wrong_answer() -> None:
    with pytest.raises(
        ValueError, match='perturbed_answer in row 0 of train is a list written as one text: \'\\["a", "b"\\]\''
    ):
        pairs.supplied([ROWS[0] | {"perturbed_answer": '["a", "b"]'}])
