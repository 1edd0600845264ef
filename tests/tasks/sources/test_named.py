"""Data sets by name: read from files in torchvision's formats, which these tests make, or refused with what is missing."""

from __future__ import annotations

import hashlib
import pickle
import struct
import urllib.error
from pathlib import Path

import cases
import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from imu_lab.tasks import Classification
from imu_lab.tasks.sources import named

DRAW = np.random.default_rng(0)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder of its own, without a connection."""

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    for module in (datasets.utils, datasets.mnist, datasets.cifar, datasets.svhn):
        for name in ("download_and_extract_archive", "download_url", "_urlretrieve"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, offline)
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path))
    return tmp_path


def idx(path: Path, values: np.ndarray) -> None:
    """The format of MNIST: two zeros, the type of bytes, the number of axes, the axes, the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


def mnist(folder: Path, kind: str = "MNIST") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """40 training and 20 test pictures."""
    made = {}
    for part, count in (("train", 40), ("t10k", 20)):
        made[part] = DRAW.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10
        idx(folder / kind / "raw" / f"{part}-images-idx3-ubyte", made[part][0])
        idx(folder / kind / "raw" / f"{part}-labels-idx1-ubyte", made[part][1])
    return made


def cifar(folder: Path, kind: type, patch: pytest.MonkeyPatch, trusted: bool = True) -> dict[str, np.ndarray]:
    """Batches of 200 pictures; torchvision's checksums become theirs where they are ``trusted``."""
    base, made, sums = folder / kind.base_folder, {}, {}
    base.mkdir()
    count = 100 if kind is datasets.CIFAR100 else 10
    for name, _ in (*kind.train_list, *kind.test_list):
        labels = [k % count for k in range(200)]
        made[name] = DRAW.integers(0, 256, (200, 3072), dtype=np.uint8)
        batch = {"data": made[name], "fine_labels" if count == 100 else "labels": labels}
        (base / name).write_bytes(pickle.dumps(batch))
    fine = sorted(each for names in named.SUPERCLASSES.values() for each in names)
    names = fine if count == 100 else [f"kind {k}" for k in range(10)]
    (base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: names}))
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in base.iterdir()}
    if trusted:
        patch.setattr(kind, "train_list", [[name, sums[name]] for name, _ in kind.train_list])
        patch.setattr(kind, "test_list", [[name, sums[name]] for name, _ in kind.test_list])
        patch.setattr(kind, "meta", {**kind.meta, "md5": sums[kind.meta["filename"]]})
    return made


@pytest.mark.parametrize("name, kind", [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_is_read_from_its_files(name: str, kind: str, data: Path) -> None:
    made = mnist(data, kind)
    task = Classification(name, forget_class=3)
    batch = task.split("train").batch()
    assert batch.inputs.shape == (40, 1, 28, 28) and batch.targets.tolist() == [k % 10 for k in range(40)]
    assert task.pictures([5]).shape == (1, 28, 28, 3) and np.array_equal(
        task.pictures([5])[0, :, :, 1], made["train"][0][5]
    )
    assert len(task.split("test")) == 18 and f"pictures of {name} from {data}" in task.about
    assert cases.close(batch.inputs.mean(), torch.tensor(0.0), within=1e-5, of=1.0)
    assert task.make_model(0)(batch.inputs[:2]).shape == (2, 10)


def test_fashion_has_names_and_digits_have_digits(data: Path) -> None:
    mnist(data), mnist(data, "FashionMNIST")
    assert Classification("fashion-mnist", forget_class="Ankle boot").forgotten == 9
    assert Classification("mnist", forget_class="4").classes == tuple("0123456789")


def test_svhn_is_read_from_its_files_and_ten_is_zero(data: Path) -> None:
    pixels = DRAW.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(data / f"{part}_32x32.mat", {"X": pixels, "y": (np.arange(30) % 10 + 1)[:, None]})
    task = Classification("svhn", forget_class=0)
    assert task.split("forget").ids.tolist() == [9, 19, 29]
    assert np.array_equal(task.pictures([7])[0], pixels[..., 7])


def test_cifar_is_read_from_its_files(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cifar(data, datasets.CIFAR10, monkeypatch)
    task = Classification("cifar10", forget_class="kind 2")
    assert len(task.split("train")) == 1000 and len(task.split("test")) == 180
    expected = made["data_batch_2"][7].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(task.pictures([207])[0], expected)
    assert Classification("cifar10", forget_class="kind 2").data_key == task.data_key


def test_cifar_100_has_two_levels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(data, datasets.CIFAR100, monkeypatch)
    vehicles = Classification("cifar100", forget_superclass="vehicles 2")
    assert len(vehicles.classes) == 100 and vehicles.level == "subclass" and vehicles.forgotten is None
    assert set(vehicles.labels(vehicles.split("forget").ids)) == set(named.SUPERCLASSES["vehicles 2"])
    rocket = Classification("cifar100", forget_subclass="rocket")
    assert len(rocket.classes) == 20 and rocket.level == "superclass"
    assert set(rocket.labels(rocket.split("forget").ids)) == {"vehicles 2"}
    fine = vehicles.split("train").batch().targets
    assert (
        rocket.split("forget").ids.tolist() == (fine == vehicles.classes.index("rocket")).nonzero().flatten().tolist()
    )
    assert len(rocket.split("test-forget")) == 2 and len(rocket.split("test")) == 198
    coarse = Classification("cifar100", forget_class="people", labels="superclass")
    assert coarse.forgotten == sorted(named.SUPERCLASSES).index("people") and len(coarse.split("forget")) == 10
    assert Classification("cifar100", forget_class="rocket").level is None


def test_each_superclass_has_five_classes_of_its_own() -> None:
    classes = [name for names in named.SUPERCLASSES.values() for name in names]
    assert len(named.SUPERCLASSES) == 20 and len(set(classes)) == len(classes) == 100


@pytest.mark.parametrize("name, files", [
    ("mnist", "MNIST/raw/train-images-idx3-ubyte"), ("fashion-mnist", "FashionMNIST/raw/t10k-labels-idx1-ubyte"),
    ("svhn", "test_32x32.mat"), ("cifar10", "cifar-10-batches-py/data_batch_5"), ("cifar100", "cifar-100-python/meta"),
])  # fmt: skip
def test_without_a_connection_the_files_and_their_folder_are_named(name: str, files: str, data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot be downloaded.*put these files into") as caught:
        Classification(name, forget_class=0)
    assert str(data) in str(caught.value) and files in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_that_is_not_torchvisions_is_not_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(data, datasets.CIFAR10, monkeypatch, trusted=False)
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(ValueError, match="checksums are not those of torchvision, and they are not opened.*remove"):
        Classification("cifar10", forget_class=0)


def test_the_oldest_format_of_mnist_is_not_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist(data)
    processed = data / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps("anything"))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    assert len(Classification("mnist", forget_class=0).split("train")) == 40


@pytest.mark.parametrize("damage", [b"", b"\x00\x00\x08\x03", "half"])
def test_damaged_files_are_named(damage: bytes | str, data: Path) -> None:
    mnist(data)
    file = data / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:999] if damage == "half" else damage)
    with pytest.raises(
        ValueError, match="the files of mnist in .* are damaged.*remove 'MNIST/raw/train-images-idx3-ubyte'"
    ):
        Classification("mnist", forget_class=0)


def test_a_name_that_is_none_is_asked_back(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder cifar-10.*by name: digits, mnist.*Did you mean 'cifar10'"):
        Classification("cifar-10", forget_class=0)
    mnist(data)
    with pytest.raises(ValueError, match="image_size= resizes the pictures of a folder; those of mnist have one size"):
        Classification("mnist", forget_class=0, image_size=8)
    with pytest.raises(ValueError, match="mnist has no superclasses"):
        Classification("mnist", forget_superclass="odd")
    with pytest.raises(ValueError, match="digits have one level"):
        Classification("digits", forget_class=0, labels="superclass")


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
