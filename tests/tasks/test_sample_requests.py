"""Which samples a request forgets, by index or by a mask; what could mean other samples is asked back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch

import imu_lab as imu
from imu_lab.tasks import sample_requests


@pytest.mark.parametrize("mask", [
    np.arange(6) % 2 == 0, torch.arange(6) % 2 == 0, pd.Series(np.arange(6) % 2 == 0), [True, False] * 3,
    pd.array([True, False] * 3, dtype="boolean"), np.array([[True], [False]] * 3),
], ids=["array", "tensor", "series", "list", "nullable", "column"])  # fmt: skip
def test_a_row_of_truth_values_is_a_mask(mask: Any) -> None:
    assert sample_requests.indices(mask, 6) == (0, 2, 4)


@pytest.mark.parametrize("given, message", [
    ([1.0, 2.0], "got float64: floats and words are no indices"), (torch.tensor([1.0]), "got float32"),
    (["1"], "floats and words are no indices"), ([True, False], "a mask of 2 values, but there are 6 training examples"),
    (pd.array([True, None, False] * 2, dtype="boolean"), "missing values; say True or False"), ([0, 6], r"\[6\] are not in"),
    ([2, 2], r"repeats \[2\]"), ([-1], r"\[-1\] are not in the training set; it has 0 to 5"),
    ([True, 2], "mixes True and False with other values"), ([[1, 2], [3, 4]], r"a list of shape \(2, 2\), whose columns"),
    (pd.DataFrame({"example": [1, 2], "label": [0, 3]}), r"a DataFrame of shape \(2, 2\), whose columns could each be meant"),
    (slice(0, 3), r"got slice\(0, 3, None\); give list\(range"), ({1, "a"}, "floats and words are no indices"),
    ({1: 2}, r"got \{1: 2\}"), ([None], r"got \[None\]"),
])  # fmt: skip
def test_what_is_no_index_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_requests.indices(given, 6)


def test_a_mask_in_another_order_is_asked_back_and_a_set_has_none() -> None:
    with pytest.raises(
        ValueError, match=r"index is in another order than the samples; give forget_indices.sort_index\(\)"
    ):
        sample_requests.indices(pd.Series([True, False, True], index=[2, 0, 1]), 3)
    assert sample_requests.indices({4, 2}, 6) == sample_requests.indices({4: "a", 2: "b"}.keys(), 6) == (2, 4)
    for several in ((k for k in (4, 2)), map(int, "42"), np.array([[4], [2]])):
        assert sample_requests.indices(several, 6) == (4, 2)


def test_files_are_told_where_they_belong() -> None:
    with pytest.raises(ValueError, match=r"imu.forget_where\(task, \"file == 'cat/003.png'\"\)"):
        sample_requests.indices(["cat/003.png"], 6)
    with pytest.raises(ValueError, match=r"imu.forget_where\(task, \"file in \['a.png', 'b.png'\]\"\)"):
        sample_requests.indices(np.array(["a.png", "b.png"]), 6)


def test_a_mask_is_put_into_the_order_of_rows_that_have_names() -> None:
    names, mask = pd.Index([7, 3, 5, 9]), pd.Series([True, False, False, True], index=[9, 7, 5, 3])
    assert sample_requests.indices(mask, 4, names=names) == (1, 3)  # rows 3 and 9
    assert sample_requests.indices(mask.to_numpy(), 4, names=names) == (0, 3)
    assert sample_requests.indices(mask.astype("boolean").to_frame(), 4, names=names) == (1, 3)
    for index in ([9, 7, 5, 4], [9, 9, 5, 3]):
        with pytest.raises(
            ValueError, match=r"whose index, \[9, .* is not that of the training rows, \[7, 3, 5\] ...; give mask.loc"
        ):
            sample_requests.indices(mask.set_axis(index), 4, names=names)


@pytest.mark.parametrize(
    "given", [pd.Index([3, 0]), pd.Series([3, 0]), pd.Index(["b", "d"]), pd.DataFrame({"row": [3]})]
)
def test_numbers_of_pandas_beside_rows_with_names_are_asked_back(given: Any) -> None:
    for names in (pd.Index([2, 3, 0, 1]), pd.Index(list("abcd")), pd.Index([0, 1, 2, 4])):
        with pytest.raises(
            ValueError, match=r"could mean names or positions; of names give X.index.get_indexer\(names\)"
        ):
            sample_requests.indices(given, 4, names=names)
    if not pd.api.types.is_object_dtype(given) and not pd.api.types.is_string_dtype(given):
        assert set(sample_requests.indices(given, 4, names=pd.RangeIndex(4))) <= {0, 3}  # a name is a position
    assert sample_requests.indices([3, 0], 4, names=pd.Index([2, 3, 0, 1])) == (3, 0)


def test_copies_of_what_is_forgotten_among_what_is_kept_are_told_of() -> None:
    hashes, order = np.array([7, 5, 7, 9, 5, 5]), torch.arange(6)
    said = sample_requests.copied(hashes, order[[1, 2, 3]], order[[0, 4, 5]])
    assert said.startswith(
        "2 of 3 inputs to forget are among those to keep as well (sample 1 is sample 4), so the retrained"
    )
    assert sample_requests.copied(hashes, order[[1, 3, 4, 5]], order[[0, 2]]) == ""


@pytest.mark.filterwarnings("error:.*inputs to forget are among those to keep")
def test_a_copy_is_told_of_in_arrays_and_in_folders(tmp_path: Path) -> None:
    inputs, labels = cases.images(12, 0)
    twice = torch.cat([inputs, inputs[:1]]), torch.cat([labels, labels[:1]])
    with pytest.warns(UserWarning, match=r"1 of 2 inputs to forget are .* \(sample 0 is sample 12\)"):
        imu.tasks.Classification.from_data(cases.conv_net(), twice, cases.images(6, 1), forget_indices=[0, 1])
    imu.tasks.Classification.from_data(cases.conv_net(), twice, cases.images(6, 1), forget_indices=[0, 12])
    folder = shutil.copytree(cases.pictures("small-cnn").data, tmp_path / "pictures")
    imu.tasks.Classification(folder, forget_class="dog")
    shutil.copy(folder / "train" / "dog" / "0.png", folder / "train" / "cat" / "mislaid.png")
    with pytest.warns(UserWarning, match="1 of 6 inputs to forget are among those to keep as well"):
        imu.tasks.Classification(folder, forget_class="dog")
