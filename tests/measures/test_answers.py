"""Own answers side by side: what they are, and that words of strangers are shown and never read as HTML."""

from __future__ import annotations

import cases
import pandas as pd
import pytest
from languages import models, tiny

import imu_lab as imu
from imu_lab.measures.answers import COLUMNS, Answers

HOSTILE = "<script>alert(1)</script> &amp; \"'"
RTL, EMOJI = "شكرا جزيلا", "🙂 e\u0301"


def test_each_answer_is_the_models_own() -> None:
    task, (original, retrained) = tiny(), models()
    ids = task.split("forget").ids.tolist()
    found = imu.own_answers(task, {"before": original, "retrained": retrained}, ids[::-1]).frame
    assert found["example"].drop_duplicates().tolist() == ids[::-1], "in the order that was asked for"
    for name, model in (("before", original), ("retrained", retrained)):
        mine = found[found["model"] == name].set_index("example").loc[ids]
        assert mine["said"].tolist() == task.answers_of(model, ids)
        assert mine["exact"].tolist() == [said == task.corpus.train[at].answer for at, said in mine["said"].items()]
    assert found["question"].tolist()[0] == task.corpus.train[ids[-1]].question


def test_of_the_test_part_and_of_none() -> None:
    task, (original, _) = tiny(), models()
    found = imu.own_answers(task, {"now": original}, split="test-forget").frame
    assert found["question"].tolist() == [task.corpus.test[at].question for at in task.split("test-forget").ids]
    assert imu.own_answers(task, {"now": original}, []).frame.empty
    assert imu.own_answers(task, {}).frame.empty and "no model" in imu.own_answers(task, {})._repr_html_()


def test_text_is_data() -> None:
    rows = [(3, HOSTILE, HOSTILE, f"{RTL} {HOSTILE}", HOSTILE, f"{EMOJI}\x07", True, 1.0)]
    shown = Answers(pd.DataFrame(rows, columns=COLUMNS))._repr_html_()
    assert "<script" not in shown and shown.count("&lt;script&gt;") >= 4
    assert RTL in shown and EMOJI in shown and "<bdi" in shown
    assert '"\'"' not in shown.split("title=")[1].split(">")[0], "an attribute ends where it should"


def test_what_it_refuses() -> None:
    task, (original, _) = tiny(), models()
    with pytest.raises(ValueError, match="no pair 10000"):
        imu.own_answers(task, {"now": original}, [10_000])
    with pytest.raises(TypeError, match="questions and answers"):
        imu.own_answers(cases.task("toy"), {"now": cases.original("toy")})
    with pytest.raises(TypeError, match="named"):
        imu.own_answers(task, original)
