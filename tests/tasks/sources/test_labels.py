"""What a user calls the classes: words, numbers, categories, and what can mean two of them."""

from __future__ import annotations

import enum
import unicodedata
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks.sources import labels as naming


class Kind(enum.IntEnum):
    """Things with an order."""

    low, high, top = 3, 7, 9


ANY = {
    "words": (["b", "a", "c", "a"], [1, 0, 2, 0], ("a", "b", "c")),
    "an array of words": (np.array(["b", "a", "c", "a"]), [1, 0, 2, 0], ("a", "b", "c")),
    "a series": (pd.Series(["b", "a", "c", "a"]), [1, 0, 2, 0], ("a", "b", "c")),
    "categories": (pd.Categorical(["b", "a", "c", "a"], ["c", "b", "a"]), [1, 2, 0, 2], ("c", "b", "a")),
    "a series of categories": (pd.Series(["b", "a"], dtype=pd.CategoricalDtype(["c", "b", "a"])), [1, 2], ("c", "b", "a")),
    "tuples": ([(0, "x"), (1, "x"), (0, "y")], [0, 2, 1], ("(0, 'x')", "(0, 'y')", "(1, 'x')")),
    "dates": ([date(2024, 5, 1), date(2023, 1, 2), date(2025, 1, 1)], [1, 0, 2], ("2023-01-02", "2024-05-01", "2025-01-01")),
    "bytes": ([b"x", b"y", b"z"], [0, 1, 2], ("b'x'", "b'y'", "b'z'")),
    "numbers": ([2, 0, 1], [2, 0, 1], ("0", "1", "2")),
    "whole floats": (torch.tensor([2.0, 0.0, 1.0]), [2, 0, 1], ("0", "1", "2")),
    "nullable numbers": (pd.Series([2, 0, 1], dtype="Int8"), [2, 0, 1], ("0", "1", "2")),
    "a column": (pd.DataFrame({"kind": ["b", "a", "c"]}), [1, 0, 2], ("a", "b", "c")),
    "number words in order": (["1", "0", "2"], [1, 0, 2], ("0", "1", "2")),
    "NumPy strings": ([np.str_("b"), np.str_("a"), np.str_("c")], [1, 0, 2], ("a", "b", "c")),
}  # fmt: skip


def numbered(given: Any, count: int = 3, test: Any = None, **how: Any) -> tuple[list[int], tuple[str, ...]]:
    """Class numbers of the training labels, and the names."""
    raw = {"train": naming.raw(given, "train"), "test": naming.raw(given if test is None else test, "test")}
    found, names = naming.numbered(
        {where: each for where, (each, _) in raw.items()}, count, **{"known": raw["train"][1], **how}
    )
    return found["train"].tolist(), names


@pytest.mark.parametrize("given, numbers, names", ANY.values(), ids=list(ANY))
def test_labels_of_any_kind_become_classes(given: Any, numbers: list[int], names: tuple[str, ...]) -> None:
    assert numbered(given) == (numbers, names)


def test_truth_values_are_two_classes() -> None:
    for given in ([True, False], torch.tensor([True, False]), np.array([True, False]), pd.Series([True, False])):
        assert numbered(given, 2) == ([1, 0], ("False", "True"))


def test_names_are_given_in_the_order_of_the_outputs() -> None:
    assert numbered(["b", "a"], classes=["b", "z", "a"]) == ([0, 2], ("b", "z", "a"))
    assert numbered([0, 2], classes=["b", "z", "a"]) == ([0, 2], ("b", "z", "a"))
    assert numbered([5, 9, 7], classes=[5, 7, 9]) == ([0, 2, 1], ("5", "7", "9"))
    assert numbered([0, 2], known=["b", "z", "a"]) == ([0, 2], ("b", "z", "a"))
    assert numbered([0, 2], 4, known=["b", "z"]) == ([0, 2], ("b", "z", "2", "3"))


WRONG = {
    "too few words": (["a", "b"], {}, "2 words .a, b., but the model tells 3 classes apart.*classes="),
    "too many words": (list("abcd"), {}, "4 words .a, b, c, d., but the model tells 3"),
    "number words": ([str(k) for k in range(11)], {"count": 11}, "0, 1, 10, 2.* as words or 0, 1, 2.* as numbers.*classes="),
    "no order": ([1, "a", None], {}, "1 train label.*missing, the first at sample 2"),
    "mixed kinds": ([(1,), "a", 3], {}, "labels of int and str and tuple have no order.*classes="),
    "written alike": (["1", 1, 2], {}, "differ are written alike"),
    "missing in a series": (pd.Series(["a", None, "b"]), {}, "missing, the first at sample 1"),
    "missing category": (pd.Categorical(["a", None], ["a"]), {}, "missing, the first at sample 1"),
    "missing number": (pd.Series([1, None], dtype="Int64"), {}, "missing, the first at sample 1"),
    "outside": ([0, 3], {}, "go from 0 to 3, but there are 3 classes, 0 to 2"),
    "one-hot": (np.eye(3, dtype=int), {}, r"one integer per example, got torch.int64 of shape \(3, 3\)"),
    "halves": ([0.5, 1], {}, "one integer per example.*no classes take a loss="),
    "classes too many": ([0, 1], {"classes": list("abcd")}, "names 4 classes, but the model tells 3 apart"),
    "classes twice": ([0, 1], {"classes": list("aba")}, "names some twice: 'a'"),
    "no class": (["a", "q"], {"classes": list("abc")}, "labels 'q' are none of the classes: a, b, c"),
    "two meanings": ([0, 1, 2], {"classes": [2, 0, 1]}, "0 can be a place in classes=.* or one of them"),
}  # fmt: skip


@pytest.mark.parametrize("given, how, message", WRONG.values(), ids=list(WRONG))
def test_labels_that_say_too_little_are_refused(given: Any, how: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbered(given, **how)


def test_a_test_label_that_training_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="labels 'z' are none of the classes: a, b, c"):
        numbered(list("abc"), test=list("abz"))


FOLDERS = ("0", "1", "10", "11", "2")


@pytest.mark.parametrize("given, classes, number", [
    ("cat", ("bird", "cat"), 1), (1, ("bird", "cat"), 1), (np.int64(1), ("bird", "cat"), 1), (1.0, ("bird", "cat"), 1),
    ("2", FOLDERS, 4), ("10", FOLDERS, 2), (1, FOLDERS, 1), (11, FOLDERS, 3), (3, ("1", "2", "3"), 2), ("1", ("1", "2", "3"), 0),
    (True, ("False", "True"), 1), ("café", (unicodedata.normalize("NFD", "café"), "x"), 0), (7, ("0007", "0012"), 0),
])  # fmt: skip
def test_a_class_is_found_by_number_or_name(given: Any, classes: tuple, number: int) -> None:
    assert naming.class_number(given, classes) == number


@pytest.mark.parametrize("given, classes, message", [
    (2, FOLDERS, r"2 can mean class number 2, which is '10', or the one named '2' \(number 4\); .*in quotes"),
    (1, ("1", "2", "3"), "1 can mean class number 1, which is '2', or the one named '1'"),
    (np.int32(0), ("1", "0"), "0 can mean class number 0, which is '1'"),
    (5, FOLDERS, "no class 5; the classes are 0 to 4: 0, 1, 10"),
    (-1, FOLDERS, "no class -1"), (1.5, FOLDERS, "no class 1.5"), (float("nan"), FOLDERS, "no class nan"),
    ("3", FOLDERS, "unknown class: '3'"), (True, ("a", "b"), "True is no name and no number"),
    (7, ("7", "07", "a"), "7 can mean several classes"),
])  # fmt: skip
def test_a_number_that_is_two_classes_is_asked_back(given: Any, classes: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        naming.class_number(given, classes)


def test_several_classes_are_told_where_they_belong() -> None:
    for given in (["cat", "bird"], ("cat", 2), np.array([0, 2]), torch.tensor([0, 2]), pd.Series(["cat", "bird"])):
        with pytest.raises(
            TypeError, match=r"one class is forgotten.*imu.forget_where\(task, \"label in \['cat', 'bird'\]\"\)"
        ):
            naming.class_number(given, ["cat", "dog", "bird"])
    with pytest.raises(TypeError, match="one class is forgotten by its name or number, got"):
        naming.class_number([], ["cat", "dog"])


FRAME = pd.DataFrame(np.eye(6, 4, dtype=np.float32), index=[40, 1, 3, 2, 5, 0])
KINDS = pd.Series([0, 1, 0, 1, 0, 1], index=FRAME.index)


@pytest.mark.parametrize(
    "train, how",
    [
        ((FRAME, KINDS), {}),
        ((FRAME.to_numpy(), KINDS), {}),
        ((FRAME, KINDS.tolist()), {}),
        (FRAME.set_axis(list("abcd"), axis=1).assign(kind=KINDS), {"label": "kind"}),
        ({"x": FRAME, "label": KINDS}, {}),
        ({"x": FRAME, "label": KINDS.tolist()}, {}),
    ],
)
def test_rows_keep_their_names_however_they_come(train: Any, how: dict) -> None:
    def forget(request: Any) -> list[int]:
        return (
            imu.tasks.Classification.from_data(net, train, test, forget_indices=request, **how)
            .split("forget")
            .ids.tolist()
        )

    net, test = torch.nn.Linear(4, 2), (torch.ones(2, 4) + 1, torch.tensor([0, 1]))
    if isinstance(train, pd.DataFrame):
        test = pd.DataFrame(test[0].numpy(), columns=list("abcd")).assign(kind=[0, 1])
    elif isinstance(train, tuple) and isinstance(train[0], pd.DataFrame):
        test = pd.DataFrame(test[0].numpy()), [0, 1]
    elif isinstance(train, dict):
        test = {"x": pd.DataFrame(test[0].numpy()), "label": [0, 1]}
    assert forget((KINDS.index < 2).tolist()) == [1, 5] == forget(pd.Series(FRAME.index < 2, FRAME.index).sort_index())
    with pytest.raises(ValueError, match="could mean names or positions"):
        forget(FRAME.index[1:3])


def test_a_mask_is_a_request() -> None:
    digits = imu.tasks.Classification("digits", forget_indices=np.arange(1437) < 3)
    assert digits.split("forget").ids.tolist() == [0, 1, 2] and digits == imu.tasks.Classification(
        "digits", forget_indices=(0, 1, 2)
    )


@pytest.mark.parametrize("kind", [">i8", ">i4", "<u2", ">u4", "u8", "i1", "u1", ">f4"])
def test_numbers_of_any_width_and_order_of_bytes_are_numbers(kind: str) -> None:
    given = np.array([2, 0, 1, 2]).astype(kind)
    for labels in (given, given[::-1][::-1], np.repeat(given, 2)[::2]):
        assert naming.checked(labels, 3, "train").tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize("kind", [np.float32, torch.tensor])
def test_a_label_that_is_missing_and_rows_that_are_one_hot_are_told(kind: Any) -> None:
    missing = torch.tensor([0.0, float("nan"), 1.0])
    with pytest.raises(ValueError, match="1 train label\\(s\\) are missing, the first at sample 1"):
        naming.checked(missing if kind is torch.tensor else missing.numpy(), 3, "train")
    with pytest.raises(
        ValueError, match="one integer per example, got torch.int64 of shape \\(2, 3\\); of one-hot.*argmax"
    ):
        naming.checked(torch.eye(3).long()[:2], 3, "train")


def test_classes_are_named_by_the_outputs_and_never_in_no_order() -> None:
    listed = ["dog", "cat", "eel"]
    for given in (listed, {0: "dog", 2: "eel", 1: "cat"}, {"2": "eel", "0": "dog", "1": "cat"}, {"eel": 2, "dog": 0, "cat": 1},
                  dict.fromkeys(listed).keys(), pd.Series(listed), np.array(listed)):  # fmt: skip
        made, names = naming.numbered({"train": np.array(["cat", "dog", "eel"])}, 3, given)
        assert names == tuple(listed) and made["train"].tolist() == [1, 0, 2]
    for given, said in [
        ({"dog", "cat", "eel"}, "has no order of names"), ("abc", "'abc' has no order of names"), (3, "3 has no order of names"),
        ({"dog": 1, "cat": 2, "eel": 3}, "does not number the outputs 0 to 2; list the names"),
        ({0: 1, 1: 2, 2: 0}, "does not number the outputs"), (pd.Series(listed, index=[2, 0, 1]), "an index in another order"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            naming.numbered({"train": np.array(["cat", "dog", "eel"])}, 3, given)


def test_numbers_in_arrays_of_no_axis_are_numbers() -> None:
    assert naming.raw([np.array(2), np.array(0)], "train")[0].tolist() == [2, 0]
