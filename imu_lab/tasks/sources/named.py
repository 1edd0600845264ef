"""Data sets by name: scikit-learn's digits, and what torchvision downloads into the data folder."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core import storage
from ...core.memo import remembered
from ...core.messages import listed
from . import folders
from .gate import assembled
from .labelled import Labelled, Level

# Krizhevsky 2009, section 3.1: the twenty superclasses of CIFAR-100, with five classes each.
SUPERCLASSES = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@remembered(1)
def digits() -> Labelled:
    """The UCI handwritten digits inside scikit-learn: 1,437 training and 360 test images of 8x8 grey pixels in [0, 1].

    The split is fixed and stratified by class, so a new request never moves an image from one side to the other.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    sides = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, test = (torch.as_tensor(np.sort(side)) for side in sides)
    labels = torch.as_tensor(labels, dtype=torch.int64)
    made = assembled((pixels[train], labels[train]), (pixels[test], labels[test]), tuple("0123456789"))
    return replace(made, about=f"{made.about.replace('; label: member 1', '')}; the digits of scikit-learn")


@dataclass(frozen=True)
class Source:
    """A data set of torchvision: its class there, how its two parts are asked for, and the files it reads."""

    kind: str
    part: Callable[[bool], dict[str, Any]]
    files: Callable[[Any], list[str]]
    unpickled: bool = False


def _by_train(train: bool) -> dict[str, Any]:
    return {"train": train}


def _by_split(train: bool) -> dict[str, Any]:
    return {"split": "train" if train else "test"}


def _idx_files(kind: Any) -> list[str]:
    return [f"{kind.__name__}/raw/{name.removesuffix('.gz')}" for name, _ in kind.resources]


def _batch_files(kind: Any) -> list[str]:
    names = [name for name, _ in (*kind.train_list, *kind.test_list)]
    return [f"{kind.base_folder}/{name}" for name in (*names, kind.meta["filename"])]


def _mat_files(kind: Any) -> list[str]:
    return [kind.split_list[part][1] for part in ("train", "test")]


SOURCES = {
    "mnist": Source("MNIST", _by_train, _idx_files),
    "fashion-mnist": Source("FashionMNIST", _by_train, _idx_files),
    "svhn": Source("SVHN", _by_split, _mat_files),
    "cifar10": Source("CIFAR10", _by_train, _batch_files, unpickled=True),
    "cifar100": Source("CIFAR100", _by_train, _batch_files, unpickled=True),
}


NAMES = ("digits", *SOURCES)


def data_set(name: str, image_size: int | None, labels: str, test_fraction: float) -> Labelled:
    """A data set by name, or a folder of pictures by its path (see :func:`imu_lab.tasks.sources.folders.folder`).

    Raises:
        FileNotFoundError: neither.
        ValueError: settings that this data set does not have; unusable data.
    """
    if name not in NAMES:
        if not Path(name).is_dir():
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise FileNotFoundError(
                f"no folder {name}; {folders.EXPECTED}. Data sets by name: {', '.join(NAMES)}.{hint}"
            )
        return folders.folder(name, image_size, labels, test_fraction)
    if image_size is not None:
        raise ValueError(f"image_size= resizes the pictures of a folder; those of {name} have one size")
    if name == "digits" and labels != "class":
        raise ValueError(f"digits have one level of labels; labels={labels!r} is for 'cifar100' and for folders")
    return digits() if name == "digits" else named(name, labels)


def named(name: str, labels: str = "class") -> Labelled:
    """A data set of torchvision, from the data folder, downloaded into it where it is not there yet.

    Args:
        name: one of :data:`SOURCES`.
        labels: ``"superclass"`` names the twenty superclasses of CIFAR-100; ``"class"`` and ``"subclass"`` its classes.

    Raises:
        FileNotFoundError: the files are not there and cannot be downloaded; the message names them and the folder.
        ValueError: damaged files, files that are not those that torchvision knows, or a level that the data do not have.
    """
    root = storage.data_folder()
    if labels != "class" and name != "cifar100":
        raise ValueError(
            f"{name} has no superclasses; labels={labels!r} is for 'cifar100' and for folders of two levels"
        )
    facts = tuple((file, at.stat().st_mtime_ns) for file in _files(name) if (at := root / file).exists())
    return _named(name, labels, root, facts if len(facts) == len(_files(name)) else ())


@remembered(2)
def _named(name: str, labels: str, root: Path, facts: tuple) -> Labelled:
    """See :func:`named`; ``facts`` about the files are there to notice changed ones."""
    parts = {side: _part(name, root, side == "train") for side in ("train", "test")}
    pixels = {side: _channels_last(part.data) for side, part in parts.items()}
    numbers = {side: torch.tensor(np.asarray(getattr(part, "targets", getattr(part, "labels", None))), dtype=torch.int64)
               for side, part in parts.items()}  # fmt: skip
    classes = _classes(name, parts["train"])
    level = None
    if labels != "class":
        level, numbers, classes = _levels(labels, numbers, classes)
    return folders.labelled(pixels, numbers, classes, f"pictures of {name} from {root}", level=level)


def _part(name: str, root: Path, train: bool) -> Any:
    """torchvision's own object for one part.

    Raises:
        FileNotFoundError, ValueError: see :func:`named`.
    """
    from torchvision import datasets

    source = SOURCES[name]
    kind = getattr(datasets, source.kind)
    trusted = kind if source.unpickled else _unpickling_nothing(kind)
    there = [file for file in _files(name) if (root / file).exists()]
    try:
        return trusted(str(root), download=True, **source.part(train))
    except (OSError, RuntimeError) as error:  # no connection, or another file than torchvision's
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    except (ValueError, AssertionError, KeyError, EOFError, TypeError, IndexError) as error:
        raise _damaged(name, root, there, error) from None
    if len(there) == len(_files(name)):
        raise _damaged(name, root, there, "their checksums are not those of torchvision, and they are not opened")
    raise FileNotFoundError(
        f"{name} is not in the data folder and cannot be downloaded ({reason}); put these files into {root}: "
        f"{', '.join(_files(name))}"
    )


def _damaged(name: str, root: Path, files: list[str], reason: Any) -> ValueError:
    return ValueError(
        f"the files of {name} in {root} are damaged ({reason}); remove {listed(files[:6])} to download again"
    )


def _unpickling_nothing(kind: Any) -> Any:
    """The class without its oldest format, a pickle, and without checksums, which only pickles need."""

    class Plain(kind):
        def _check_legacy_exist(self) -> bool:
            return False

        def _check_integrity(self) -> bool:
            return (Path(self.root) / self.filename).exists()

        def download(self) -> None:
            if not hasattr(self, "filename") or not self._check_integrity():
                super().download()

    Plain.__name__ = kind.__name__  # the folder is called after it
    return Plain


def _files(name: str) -> list[str]:
    from torchvision import datasets

    return SOURCES[name].files(getattr(datasets, SOURCES[name].kind))


def _channels_last(data: Any) -> np.ndarray:
    """(n, h, w, c) uint8, from what torchvision's loaders keep."""
    values = np.asarray(data)
    if values.ndim == 3:
        return values[..., None]
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if values.shape[1] == 3 else values


def _classes(name: str, part: Any) -> tuple[str, ...]:
    if name == "fashion-mnist":
        return FASHION
    return tuple(part.classes) if name.startswith("cifar") else tuple("0123456789")


def _levels(labels: str, numbers: dict[str, torch.Tensor], classes: tuple[str, ...]) -> Any:
    """The classes and their superclasses, one as what the model names and the other as the level beside it."""
    coarse = tuple(sorted(SUPERCLASSES))
    above = {fine: coarse.index(name) for name, names in SUPERCLASSES.items() for fine in names}
    of = torch.tensor([above[fine] for fine in sorted(above)])  # the classes are numbered in the order of their names
    groups = {side: of[each] for side, each in numbers.items()}
    if labels == "subclass":
        return Level("superclass", coarse, groups["train"], groups["test"]), numbers, classes
    return Level("subclass", classes, numbers["train"], numbers["test"]), groups, coarse
