"""Labelled images from where they are: digits, a folder of pictures, arrays. Bad data are named before work starts."""

from __future__ import annotations

import os
from pathlib import Path

import cases
import numpy as np
import pytest
import torch
from PIL import Image

from imu_lab.core import storage
from imu_lab.tasks import Classification
from imu_lab.tasks.sources import folders, gate, named
from imu_lab.tasks.sources import pictures as reading


def draw(path: Path, value: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    """A picture of one colour, with a gradient of red in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    pixels[:, :, 0] = np.arange(size[0])
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """An image folder: cats are dark, dogs are bright; three for training and one for testing of each."""
    for number in range(3):
        draw(tmp_path / "train" / "cat" / f"{number}.png", 10 + number)
        draw(tmp_path / "train" / "dog" / f"{number}.png", 200 + number, mode="L" if number == 2 else "RGB")
    draw(tmp_path / "test" / "cat" / "0.png", 20)
    draw(tmp_path / "test" / "dog" / "0.png", 220)
    return tmp_path


def test_digits_have_the_documented_size_and_range() -> None:
    digits = named.digits()
    pixels = digits.train.batch().inputs
    assert (len(digits.train), len(digits.test)) == (1437, 360) and digits.classes == tuple("0123456789")
    assert pixels.shape == (1437, 1, 8, 8) and pixels.min() == 0 and pixels.max() == 1
    counts = torch.bincount(digits.test_labels)
    assert counts.min() >= 34 and counts.max() <= 37


def test_no_digit_is_on_both_sides() -> None:
    digits = named.digits()
    from sklearn.datasets import load_digits

    both = torch.cat([digits.train.batch().inputs, digits.test.batch().inputs]).flatten(1) * 16
    ours = sorted(map(tuple, both.int().tolist()))
    assert ours == sorted(map(tuple, load_digits().data.astype(int).tolist()))


def test_a_folder_is_read_in_a_fixed_order(pictures: Path) -> None:
    labelled = folders.folder(str(pictures))
    assert labelled.classes == ("cat", "dog") and labelled.channels == 3
    assert labelled.train_labels.tolist() == [0, 0, 0, 1, 1, 1] and labelled.test_labels.tolist() == [0, 1]
    shown = labelled.pictures(np.array([4, 0]))
    assert shown.shape == (2, 5, 6, 3) and shown.dtype == np.uint8
    assert shown[0, 0, 0].tolist() == [0, 201, 201] and shown[1, 4, 5].tolist() == [5, 10, 10]


def test_folder_pixels_are_standardised_by_the_training_part(pictures: Path) -> None:
    labelled = folders.folder(str(pictures))
    pixels = labelled.train.batch().inputs
    assert cases.close(pixels.mean((0, 2, 3)), torch.zeros(3), within=1e-5, of=1.0)
    assert cases.close(pixels.std((0, 2, 3), unbiased=False), torch.ones(3), within=1e-4)
    raw = labelled.pictures(np.arange(6)) / 255
    expected = (220 / 255 - raw[..., 1].mean()) / raw[..., 1].std()
    assert labelled.test.batch().inputs[1, 1, 0, 0].item() == pytest.approx(expected, abs=1e-4)
    some = labelled.train.batch(torch.tensor([5, 1]))
    assert torch.equal(some.inputs, pixels[[5, 1]]) and some.targets.tolist() == [1, 0]


def test_a_folder_task_forgets_a_class_by_name(pictures: Path) -> None:
    task = Classification(pictures, forget_class="dog")
    assert task.split("forget").ids.tolist() == [3, 4, 5]
    assert task.split("test").batch().targets.tolist() == [0]
    assert task.split("test-forget").batch().targets.tolist() == [1]


def test_pictures_are_decoded_once_and_kept_as_bytes(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folders.folder(str(pictures))
    folders._folder.cache_clear()
    monkeypatch.setattr(reading, "read", lambda *_: pytest.fail("decoded again"))
    again = folders.folder(str(pictures))
    assert again.key == first.key and torch.equal(again.train.batch().inputs, first.train.batch().inputs)


def test_a_changed_picture_gives_new_data_in_the_same_session(pictures: Path) -> None:
    before = Classification(pictures, forget_class="cat")
    draw(pictures / "train" / "cat" / "0.png", 99)
    os.utime(pictures / "train" / "cat" / "0.png", ns=(1, 1))
    after = Classification(pictures, forget_class="cat")
    assert before.data_key != after.data_key
    assert after.pictures([0])[0, 0, 0].tolist() == [0, 99, 99]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"not an array", None])
def test_a_damaged_cache_of_pixels_is_made_again(pictures: Path, damage: bytes | None, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    first = folders.folder(str(pictures))
    folders._folder.cache_clear()
    kept = sorted((tmp_path / "data" / "decoded").glob("*.npy"))
    assert len(kept) == 1
    for path in kept:
        path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    again = folders.folder(str(pictures))
    assert again.key == first.key


def test_pictures_of_mixed_size_are_refused_with_both_names(pictures: Path) -> None:
    draw(pictures / "train" / "dog" / "9.png", 1, (4, 4))
    with pytest.raises(ValueError, match=r"mixed size.*0.png is 6x5.*9.png is 4x4.*image_size="):
        Classification(pictures, forget_class="dog")
    task = Classification(pictures, forget_class="dog", image_size=4)
    assert task.split("train").batch().inputs.shape == (7, 3, 4, 4)


def test_train_and_test_of_different_size_are_refused(pictures: Path) -> None:
    draw(pictures / "test" / "cat" / "0.png", 1, (8, 8))
    draw(pictures / "test" / "dog" / "0.png", 1, (8, 8))
    with pytest.raises(ValueError, match=r"mixed size.*0.png is 6x5, .*0.png is 8x8; pass image_size="):
        Classification(pictures, forget_class="dog")


@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_an_unreadable_picture_is_named_with_its_path(pictures: Path, content: bytes | str) -> None:
    path = pictures / "train" / "dog" / "broken.png"
    draw(path, 7, (40, 40))
    path.write_bytes(path.read_bytes()[:60] if content == "half" else content)
    with pytest.raises(ValueError, match=r"cannot read the picture .*dog.broken\.png"):
        Classification(pictures, forget_class="dog", image_size=5)


def test_a_missing_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*nowhere; .* train/<class>/\* and test/<class>/\*, or <class>/\*"
    ):
        Classification(tmp_path / "nowhere", forget_class=0)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "readme.txt").write_text("none")
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=r"no pictures in .*cat, which holds 1 other file.*\.png"):
        Classification(tmp_path, forget_class=0)


def test_a_folder_with_one_class_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "train" / "cat" / "0.png", 3)
    draw(tmp_path / "test" / "cat" / "0.png", 3)
    with pytest.raises(ValueError, match="'cat' only; at least two classes"):
        Classification(tmp_path, forget_class=0)


def test_a_test_class_that_training_lacks_is_refused(pictures: Path) -> None:
    draw(pictures / "test" / "cow" / "0.png", 3)
    with pytest.raises(ValueError, match="'cow', not in train; known classes: cat, dog"):
        Classification(pictures, forget_class="dog")


X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
OTHER = (X + 1, Y)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", ["train", "test"])
def test_values_that_are_not_finite_are_named_by_row(value: float, side: str) -> None:
    bad = X.clone()
    bad[4, 2] = value
    parts = [(bad, Y), OTHER] if side == "train" else [OTHER, (bad, Y)]
    with pytest.raises(ValueError, match=f"{side} input 4 holds NaN or infinite values"):
        gate.assembled(*parts, 3)


@pytest.mark.parametrize(("labels", "message"), [
    ([0, 1, 2, 0, 1, 3], r"train labels go from 0 to 3, but there are 3 classes, 0 to 2"),
    ([-1, 1, 2, 0, 1, 2], r"go from -1 to 2"),
    ([0.5, 1, 2, 0, 1, 2], "one integer per example, got torch.float32"),
    ([float("nan"), 1, 2, 0, 1, 2], "one integer per example"),
    ([[0], [1], [2], [0], [1], [2]], r"shape \(6, 1\)"),
    ([0, 1, 2], "6 inputs and 3 labels"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gate.assembled((X, torch.tensor(labels)), OTHER, 3)


def test_labels_of_other_types_become_integers() -> None:
    for labels in (Y.numpy().astype(np.uint8), Y.double(), Y.tolist()):
        made = gate.assembled((X, labels), OTHER, 3)
        assert made.train_labels.dtype == torch.int64 and torch.equal(made.train_labels, Y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8])
def test_the_type_of_inputs_is_kept(dtype: torch.dtype) -> None:
    assert gate.assembled((X.abs().to(dtype), Y), OTHER, 3).train.batch().inputs.dtype == dtype


def test_shared_inputs_warn() -> None:
    with pytest.warns(UserWarning, match="train and test share 2 identical inputs"):
        gate.assembled((X, Y), (torch.cat([X[:2], X[:3] + 1]), Y[:5]), 3)


def test_equal_content_has_an_equal_key_and_other_content_another() -> None:
    key = gate.assembled((X, Y), OTHER, 3).key
    assert gate.assembled((X.numpy().copy(), Y.tolist()), OTHER, 3).key == key
    moved = X.clone()
    moved[0, 0] += 1e-6
    keys = {
        gate.assembled((moved, Y), OTHER, 3).key,
        gate.assembled((X, Y.flip(0)), OTHER, 3).key,
        gate.assembled((X, Y), (X + 2, Y), 3).key,
        gate.assembled((X, Y), OTHER, 4).key,
        gate.assembled((X.flip(0), Y), OTHER, 3).key,
    }
    assert len(keys | {key}) == 6


def test_data_are_kept_by_reference_and_edits_are_noticed() -> None:
    for inputs, edit in ((X.numpy().copy(), 7.0), (X.clone(), 7.0), (X.t().clone().t(), 7.0)):
        made = gate.assembled((inputs, Y), OTHER, 3)
        made.unchanged()
        assert made.train.batch(slice(0, 2)).inputs.numpy().base is not None or isinstance(inputs, np.ndarray)
        before = inputs[3, 1].item()
        inputs[3, 1] = edit
        with pytest.raises(
            ValueError, match="the train inputs were edited after the task was made.*make the task again"
        ):
            made.unchanged()
        inputs[3, 1] = before  # taken back: nothing has happened
        made.unchanged()


def test_edited_labels_are_noticed() -> None:
    for labels in (Y.clone(), Y.numpy().copy()):
        made = gate.assembled((X, labels), OTHER, 3)
        labels[0] = 1
        with pytest.raises(ValueError, match="the train labels were edited"):
            made.unchanged()


class Pairs(torch.utils.data.Dataset):
    """A map-style dataset of pairs."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return X[row], int(Y[row])


def test_a_dataset_is_as_good_as_arrays() -> None:
    streamed, held = gate.assembled(Pairs(), OTHER, 3), gate.assembled((X, Y), OTHER, 3)
    assert streamed.key == held.key
    batch = streamed.train.take(torch.tensor([5, 0])).batch(slice(0, 2))
    assert torch.equal(batch.inputs, X[[5, 0]]) and batch.targets.tolist() == [2, 0]


def test_the_data_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    assert storage.data_folder() == tmp_path
    monkeypatch.delenv("IMU_LAB_DATA")
    assert storage.data_folder().name in ("data", "imu_lab")
