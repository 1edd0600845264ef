"""A folder of pictures: what is a sample, what it is called, and what is refused before work starts."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
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


def test_a_folder_in_the_home_folder(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pictures.parent))
    monkeypatch.setenv("USERPROFILE", str(pictures.parent))  # as Windows calls it
    at = Classification(f"~/{pictures.name}", forget_class="cat")
    assert at == Classification(pictures, forget_class="cat") and len(at.split("forget")) == 3


def test_a_picture_in_both_parts_is_told(pictures: Path) -> None:
    (pictures / "test" / "cat" / "copy.png").write_bytes((pictures / "train" / "cat" / "1.png").read_bytes())
    with pytest.warns(UserWarning, match="train and test share 1 identical inputs"):
        folders.folder(str(pictures))


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


# Layouts.


def grid(root: Path, *names: str, count: int = 3) -> Path:
    """Some different pictures in each of these folders."""
    for row, name in enumerate(names):
        for number in range(count):
            draw(root / name / f"{number}.png", (11 * row + number) % 250)
    return root


def test_a_flat_folder_is_split_by_class_under_a_fixed_seed(tmp_path: Path) -> None:
    task = Classification(grid(tmp_path, "cat", "dog", "cow", count=10), forget_class="cow")
    train, test = task.split("train"), task.labelled.test
    assert (len(train), len(test)) == (24, 6)
    assert torch.bincount(train.batch().targets).tolist() == [8, 8, 8] and len(task.split("test-forget")) == 2
    assert "0.2 of each class held out for testing under a fixed seed" in task.about
    for seed in (0, 5):
        again = Classification(tmp_path, forget_fraction=0.5, seed=seed)
        assert again.data_key == task.data_key and again.files(range(24)) == task.files(range(24))
    half = Classification(tmp_path, forget_class="cow", test_fraction=0.5)
    assert len(half.split("train")) == 15 and half.data_key != task.data_key
    with pytest.raises(ValueError, match="test_fraction must lie strictly between 0 and 1, got 1.5"):
        Classification(tmp_path, forget_class="cow", test_fraction=1.5)


def test_a_train_folder_alone_is_split_and_a_val_folder_is_for_testing(tmp_path: Path) -> None:
    alone = Classification(grid(tmp_path / "a", "train/cat", "train/dog", count=5), forget_class="cat")
    assert alone.classes == ("cat", "dog") and len(alone.split("train")) == 8
    val = Classification(grid(tmp_path / "b", "train/cat", "train/dog", "Val/cat", "Val/dog"), forget_class="cat")
    assert val.classes == ("cat", "dog") and len(val.split("train")) == 6 and "tested on its 'Val' part" in val.about


@pytest.mark.parametrize("names, error, message", [
    (("train/a", "train/b", "holdout/a", "holdout/b"), ValueError, "holds the folders 'holdout', 'train': which one is for test"),
    (("test/a", "test/b"), FileNotFoundError, "no folder .*train"),
])  # fmt: skip
def test_a_layout_that_could_be_two_is_asked_back(names: tuple, error: type, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        Classification(grid(tmp_path, *names), forget_class="a")


def test_a_class_with_one_picture_cannot_be_split(tmp_path: Path) -> None:
    draw(grid(tmp_path, "cat", "dog") / "cow" / "0.png", 200)
    with pytest.raises(ValueError, match="cow holds one picture; two are needed"):
        Classification(tmp_path, forget_class="cat")


def test_hidden_files_are_skipped_and_deeper_ones_belong_to_the_class_above(pictures: Path) -> None:
    for name in (".hidden.png", "._0.png", ".ipynb_checkpoints/0.png"):
        (pictures / "train" / "cat" / name).parent.mkdir(exist_ok=True)
        (pictures / "train" / "cat" / name).write_bytes(b"nothing")
    (pictures / "train" / ".cache").mkdir()
    draw(pictures / "train" / ".cache" / "0.png", 3)
    draw(pictures / "train" / "dog" / "indoors" / "small" / "0.PNG", 77)
    task = Classification(pictures, forget_class="dog")
    assert task.classes == ("cat", "dog") and len(task.split("forget")) == 4
    assert task.files(range(7))[6] == os.path.join("train", "dog", "indoors", "small", "0.PNG")


def test_a_folder_of_other_files_alone_is_named(pictures: Path) -> None:
    (pictures / "train" / "scans").mkdir()
    (pictures / "train" / "scans" / "0.dcm").write_bytes(b"DICM")
    with pytest.raises(ValueError, match=r"no pictures in .*scans, which holds 1 other file\(s\); known are .jpg"):
        Classification(pictures, forget_class="dog")


def test_names_in_either_unicode_form_are_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    grid(tmp_path, f"train/{composed}", "train/dog", f"test/{apart}", "test/dog")
    for name in (composed, apart):
        assert len(Classification(tmp_path, forget_class=name).split("test-forget")) == 3


def test_a_number_that_names_another_folder_is_asked_back(tmp_path: Path) -> None:
    grid(tmp_path, *(f"{side}/{k}" for side in ("train", "test") for k in range(12)))
    with pytest.raises(ValueError, match="2 can mean class number 2, which is '10', or the one named '2'"):
        Classification(tmp_path, forget_class=2)
    task = Classification(tmp_path, forget_class="2")
    assert {Path(file).parent.name for file in task.files(task.split("forget").ids)} == {"2"}


def test_files_stay_with_their_samples(pictures: Path) -> None:
    task = Classification(pictures, forget_class="dog")
    assert task.files(task.split("forget").ids) == [os.path.join("train", "dog", f"{k}.png") for k in range(3)]
    assert f"{os.path.join('train', 'dog', '1.png')}" in task.card(4) and f"pictures from {pictures}" in task.about


TWO = [f"{side}/{name}" for side in ("train", "test") for name in
       ("animals/cat", "animals/other", "vehicles/rocket", "vehicles/other", "vehicles/bus")]  # fmt: skip


def test_a_superclass_is_forgotten_by_a_model_of_subclasses(tmp_path: Path) -> None:
    task = Classification(grid(tmp_path, *TWO), forget_superclass="vehicles")
    assert task.classes == ("animals/other", "bus", "cat", "rocket", "vehicles/other")
    assert set(task.labels(task.split("forget").ids)) == {"bus", "rocket", "vehicles/other"}
    assert len(task.split("test")) == 6 and len(task.split("test-forget")) == 9
    assert task.splits[-1] == "test-forget" and task.forgotten is None
    assert task.make_model(0)(task.split("test").batch(slice(0, 2)).inputs).shape == (2, 5)


def test_a_subclass_is_forgotten_by_a_model_of_superclasses(tmp_path: Path) -> None:
    task = Classification(grid(tmp_path, *TWO), forget_subclass="rocket")
    assert task.classes == ("animals", "vehicles") and set(task.labels(task.split("forget").ids)) == {"vehicles"}
    assert all("rocket" in file for file in task.files(task.split("forget").ids))
    assert len(task.split("test")) == 12 and len(task.split("test-forget")) == 3
    assert (
        replace(task, seed=3).level == "superclass"
        and Classification(tmp_path, forget_subclass="rocket", labels="superclass") == task
    )
    assert Classification(tmp_path, forget_class="vehicles").classes == ("animals", "vehicles")
    assert Classification(tmp_path, forget_class="bus", labels="subclass").level == "subclass"
    assert len(Classification(tmp_path, forget_subclass="vehicles/other").split("forget")) == 3


def test_a_held_out_share_is_of_each_subclass_whichever_level_the_model_names(tmp_path: Path) -> None:
    for at, (name, count) in enumerate(
        {"animals/cat": 2, "animals/dog": 20, "plants/cat": 3, "plants/oak": 20}.items()
    ):
        for number in range(count):
            draw(tmp_path / name / f"{number}.png", 40 * at + number)
    fine = Classification(tmp_path, forget_superclass="plants")
    assert fine.classes == ("animals/cat", "dog", "oak", "plants/cat")
    for side, counts in (("train", [1, 16, 16, 2]), ("test", [1, 4, 4, 1])):
        numbers = fine.labelled.train_labels if side == "train" else fine.labelled.test_labels
        assert numbers.bincount().tolist() == counts
    coarse = [
        Classification(tmp_path, forget_class="plants", test_fraction=0.2, labels=each) for each in (None, "superclass")
    ]
    ids = fine.labelled.train.ids.tolist()
    assert {tuple(task.files(ids)) for task in (fine, *coarse)} == {tuple(fine.files(ids))}
    for number in range(19):
        os.remove(tmp_path / "plants" / "oak" / f"{number}.png")
    with pytest.raises(ValueError, match="plants.oak holds one picture"):
        Classification(tmp_path, forget_superclass="plants")
    assert Classification(tmp_path, forget_class="plants").classes == ("animals", "plants")


def test_links_are_followed_and_those_without_an_end_are_named(pictures: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    draw(elsewhere / "7.png", 50)
    (pictures / "train" / "cat" / "more").symlink_to(elsewhere)
    assert len(Classification(pictures, forget_class="cat").split("forget")) == 4
    circle = pictures / "train" / "dog" / "again"
    circle.symlink_to(pictures / "train")
    with pytest.raises(ValueError, match="again is a link to .*train, which it lies in.*remove the link"):
        Classification(pictures, forget_class="cat")
    circle.unlink()
    (pictures / "train" / "dog" / "9.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError, match="cannot read the picture .*9.png: No such file"):
        Classification(pictures, forget_class="cat")


@pytest.mark.parametrize("size", [0, -3, 7.5, "8", True])
def test_a_size_that_is_none_is_refused_before_a_picture_is_read(size: object, pictures: Path) -> None:
    with pytest.raises(ValueError, match="image_size must be a whole number >= 1"):
        Classification(pictures, forget_class="cat", image_size=size)


@pytest.mark.parametrize("request_, error, message", [
    ({"forget_subclass": "other"}, ValueError, "unknown subclass: 'other'.*Known: animals/other.*vehicles/other"),
    ({"forget_superclass": "plants"}, ValueError, "unknown superclass: 'plants'.*Known: animals, vehicles"),
    ({"forget_superclass": "animals", "labels": "superclass"}, ValueError, "so labels='subclass'.*forget_class"),
    ({"forget_class": "cat", "labels": "fine"}, ValueError, "unknown level for labels=: 'fine'.*class, superclass, subclass"),
    ({"forget_class": "cat", "forget_subclass": "bus"}, ValueError, "got 'forget_class', 'forget_subclass'"),
])  # fmt: skip
def test_requests_between_levels_are_checked(request_: dict, error: type, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        Classification(grid(tmp_path, *TWO), **request_)


def test_a_second_level_that_is_missing_is_named(pictures: Path) -> None:
    with pytest.raises(ValueError, match="lies directly in 'cat', so it has no subclass.*<superclass>/<subclass>"):
        Classification(pictures, forget_superclass="cat")
