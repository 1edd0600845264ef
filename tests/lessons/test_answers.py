"""What counts as an answer: many ways to write a right one, and words for what is none."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from imu_lab.lessons.answers import Choice, Mistyped, Number, OneRun, Runs, Truth, Whole, share
from imu_lab.lessons.setting import near


@pytest.mark.parametrize(
    "given",
    [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array([[0.5]]), torch.tensor(0.5), torch.tensor([0.5]),
     pd.Series([0.5], index=["a"]), pd.DataFrame({"a": [0.5]}), Fraction(1, 2), Decimal("0.5"),
     torch.tensor(0.5, requires_grad=True), torch.tensor([[0.5]], dtype=torch.bfloat16), np.array([0.5], dtype=object)],
)  # fmt: skip
def test_a_number_in_any_form(given: object) -> None:
    assert Number("x")(given) == 0.5


@pytest.mark.parametrize("given", [3, 3.0, np.int64(3), np.array([3]), torch.tensor(3), pd.Series([3.0])])
def test_a_whole_number_in_any_form(given: object) -> None:
    assert Whole("x")(given) == 3


@pytest.mark.parametrize("given", [True, np.bool_(True), np.array([True]), torch.tensor(True)])
def test_a_truth_in_any_form(given: object) -> None:
    assert Truth()(given) is True


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (share("of x"), "0.3", "'0.3' is a text; give a number between 0 and 1, the share of x, without quotation marks: 0.3."),
        (share("of x"), " 30 % ", "the share of x, without quotation marks and unit: 0.3."),
        (Number("a loss"), "2,3 nats", "without quotation marks and unit: 2.3."),
        (Number("a loss"), "about two", "give a number, a loss, without quotation marks."),
        (Number("a loss"), pd.Series(["big"]), "'big' is a text; give a number, a loss, without quotation marks."),
        (Number("a loss"), 10**400, "inf is no finite number; give a number, a loss."),
        (Number("a loss"), np.ma.masked, "nan is no finite number; give a number, a loss."),
        (Number("a loss"), np.ma.array([0.5], mask=[True]), "nan is no finite number; give a number, a loss."),
        (Number("a loss"), torch.tensor(float("nan")), "nan is no finite number; give a number, a loss."),
        (Number("a loss"), torch.empty(1, device="meta"), "expected a number, a loss; got a Tensor."),
        (Number("a loss"), pd.NA, "expected a number, a loss; got a NAType."),
        (Number("a loss"), torch.Tensor, "expected a number, a loss; got"),
        (Number("a loss"), np, "expected a number, a loss; got a module."),
        (Number("a loss"), np.array([None]), "expected a number, a loss; got None."),
        (Number("a loss"), np.arange(3).mean, "got a function; write () after it to call it."),
        (Number("a loss"), {0.5}, "expected a number, a loss; got a set."),
        (Number("a loss"), pd.DataFrame({"a": [1, 2]}), "got a DataFrame of shape (2, 1)."),
        (share("of x"), 31, "31 cannot be; give a number between 0 and 1, the share of x. 31 % is written 0.31."),
        (Number("a ratio", 0.0), -0.1, "-0.1 cannot be; give a number of at least 0, a ratio."),
        (share("of x"), -0.1, "-0.1 cannot be; give a number between 0 and 1, the share of x."),
        (share("of x"), True, "expected a number between 0 and 1, the share of x; got True."),
        (share("of x"), [0.1, 0.2], "got a list of float."),
        (share("of x"), np.zeros(3), "got an array of shape (3,)."),
        (Number("a loss"), float("inf"), "inf is no finite number; give a number, a loss."),
        (Number("a loss"), 1j, "expected a number, a loss; got"),
        (Whole("an update"), 2.5, "2.5 cannot be; give a whole number, an update."),
        (Whole("an update"), "3", "give a whole number, an update, without quotation marks: 3."),
        (Truth(), "True", "expected True or False, without quotation marks; got 'True'."),
        (Truth(), 1, "expected True or False; got 1."),
        (Choice(("a", "bc")), "b", "there is no 'b' to choose; give one of \"a\", \"bc\"."),
        (Choice(("a", "bc")), 1, 'expected one of "a", "bc"; got 1.'),
        (Choice(("a", "bc")), {"a"}, 'expected one of "a", "bc"; got a set.'),
        (Choice(("a", "bc")), ["a"], 'expected one of "a", "bc"; got a list of str.'),
        (Choice(("a", "bc")), "x" * 500, 'there is no text of 500 characters to choose; give one of "a", "bc".'),
        (Choice(("a", "bc")), torch.ones(2), 'expected one of "a", "bc"; got a Tensor of shape (2,).'),
        (Runs(2), {1, 2}, "expected a list of 2 runs; got a set."),
        (Runs(2), ["a"], "expected a list of 2 runs; got a list of str of length 1."),
        (OneRun(), ["a"], "or imu.what_if returns it; got a list of str."),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_in_words(kind: object, given: object, words: str) -> None:
    with pytest.raises(Mistyped) as told:
        kind(given)
    assert words in str(told.value)


@pytest.mark.parametrize(
    "given",
    ["  Hardly   DIFFERENT ", np.str_("hardly different"), np.array(["hardly different"]), pd.Series(["hardly different"]),
     pd.Series(["hardly different"], dtype="category"), pd.Categorical(["hardly different"])],
)  # fmt: skip
def test_a_word_in_any_form_whatever_its_capitals_and_spaces(given: object) -> None:
    assert Choice(("uniform", "hardly different"))(given) == "hardly different"


def test_right_to_two_digits() -> None:
    assert near(0.32, 0.319) and near(0.0, 0.0) and near(-1.005, -1.0) and near(2.3, 2.3026)
    assert not near(0.33, 0.319) and not near(0.01, 0.0) and not near(1.0, -1.0)
