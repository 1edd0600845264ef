"""A folder of pictures: what is a sample, what it is called, and what is refused before work starts."""

from __future__ import annotations

import os
from pathlib import Path

import cases
import numpy as np
import pytest
import torch
from PIL import Image

from imu_lab.tasks import Classification
from imu_lab.tasks.sources import folders
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
