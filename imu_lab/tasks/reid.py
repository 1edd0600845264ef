"""Person re-identification: forget a person, and look whether the model still knows and still finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import expanduser
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import unknown
from ..core.running import checked_seed, fingerprint, full_precision, placed, seeded
from . import cards, cross_entropy, ranking
from .evaluation import outputs
from .networks import images as networks
from .networks import people as person_networks
from .outputs import answers
from .protocol import Batch, Examples, ExamplesOf
from .sources import people
from .sources.people import People
from .sources.pictures import Standardised
from .training import Recipe

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which pretrained weights expect
MARKET_SIZE = (128, 64)  # Market-1501's own


@dataclass(frozen=True)
class ReID:
    """Recognise people on pictures of several cameras; forget some of them.

    A model gives every picture an embedding and, one linear layer further, a logit for each training person. So it
    knows people in two ways: it *names* them (identity accuracy) and it *finds* them among pictures (retrieval by the
    embeddings' cosine). Both are measured on pictures of the training people that no model was trained on.

    Splits: ``"train"``, ``"forget"`` and ``"retain"``; held out ``"test"`` (people that are kept), ``"test-forget"``
    (the forgotten) and ``"gallery"`` (both, which every query is looked for in). A folder also has ``"standard"``, the
    queries of its own test part, with people whom no model is trained on, and their ``"standard-gallery"``.

    Attributes:
        data: ``"figures"``, people drawn by the library, or the path of a folder laid out like Market-1501.
        forget_persons: the persons to forget, by number.
        seed: of the drawn people.
        readout: the modules that influence and unlearning act on. None is ``"classifier"``, which retrieval never sees;
            ``("embedding", "classifier")`` or a part of the backbone reaches it.
        architecture: a name in ``imu_lab.tasks.networks.images`` of a network that makes embeddings; None for the data's own.
        recipe: how to train; None for the data's own.
        image_size: (height, width) of a folder's pictures; None for Market-1501's own 128x64.
        pretrained: start from ImageNet weights, for ``"person-resnet-50"``; downloaded when a model is first made. The path of
            a file starts the backbone from a user's own weights, published ones for instance; False starts from none.
        triplet: the weight in training of the batch-hard triplet loss of the embeddings, with a margin of 0.3 and four pictures of
            a person side by side, beside the softmax loss of the identities; 0 trains by that alone. Influence and unlearning
            speak of the softmax loss, which each picture has by itself.
        device: where models are made, such as ``"cuda"``; None for the CPU.

    Raises:
        FileNotFoundError, ValueError: an unknown, repeated or unmeasurable person, nobody left to keep, or unusable
            data (each says which).
    """

    data: str = "figures"
    forget_persons: tuple[int, ...] = ()
    seed: int = 0
    readout: tuple[str, ...] | str | None = None
    architecture: str | None = None
    recipe: Recipe | None = None
    image_size: tuple[int, int] | None = None
    pretrained: bool | str = True
    triplet: float = 0.0
    device: str | None = None

    forgotten_when: ClassVar[tuple[str, str]] = ("identity_accuracy", "<=")
    splits: ClassVar[tuple[str, ...]] = ("forget", "retain", "test", "test-forget")
    goal: ClassVar[tuple[str, str, float]] = ("identity_accuracy", "<=", 0.0)
    distinct: ClassVar[bool] = True

    @full_precision()
    def __post_init__(self) -> None:
        drawn = str(self.data) == "figures"
        own = {
            "data": expanduser(str(self.data)),
            "forget_persons": people.numbered(self.forget_persons),
            "architecture": self.architecture or ("person-cnn" if drawn else "person-resnet-50"),
            "recipe": self.recipe or (FIGURES if drawn else MARKET),
            "image_size": None if drawn else _size(self.image_size or MARKET_SIZE),
            "seed": checked_seed(self.seed),
            "pretrained": self.pretrained if isinstance(self.pretrained, bool) else expanduser(str(self.pretrained)),
            "readout": tuple(self.readout) if isinstance(self.readout, list) else self.readout,
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)
        networks.check(self.architecture)
        weight = self.triplet
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
            raise ValueError(
                f"triplet is the weight of the triplet loss beside the softmax loss, at least 0; got {weight!r}"
            )
        object.__setattr__(self, "triplet", float(weight))
        self._check_request()

    def _check_request(self) -> None:
        asked, known = self.forget_persons, self.persons
        if not asked:
            raise ValueError(f"name whom to forget: forget_persons=({known[0]},); there are {_range(known)}")
        missing = [person for person in asked if person not in known]
        if missing:
            raise ValueError(f"no person {', '.join(map(str, missing))} to train on; there are {_range(known)}")
        if len(set(asked)) < len(asked):
            raise ValueError(f"forget_persons {asked} names a person twice")
        if len(asked) == len(known):
            raise ValueError(f"the request forgets all {len(known)} persons; somebody must be left to keep")
        unseen = sorted(set(asked) - set(self.crowd.held_out.persons.tolist()))
        if unseen:
            raise ValueError(
                f"person {unseen[0]} has too few pictures to hold two out from two cameras and train on another, so "
                "forgetting them could not be measured; choose a person with more"
            )

    @cached_property
    def crowd(self) -> people.Crowd:
        """The people behind the task, drawn or loaded at first use."""
        if self.data != "figures":
            return people.market(self.data, self.image_size)
        from .sources.drawing import people as drawn_people  # drawing needs Pillow

        return drawn_people.figures(self.seed)

    @cached_property
    def persons(self) -> tuple[int, ...]:
        """The training persons' numbers, in the order of the logits."""
        return tuple(np.unique(self.crowd.train.persons).tolist())

    @property
    def answers(self) -> tuple[str, ...]:
        """What each of the model's outputs stands for: the training persons."""
        return tuple(f"person {number}" for number in self.persons)

    @cached_property
    def data_key(self) -> str:
        """A digest of the data and of what training starts from: part of every checkpoint's name."""
        key = f"{self.crowd.key} with triplets {self.triplet:g}" if self.triplet else self.crowd.key
        if self._start is None:
            return key
        own = isinstance(self.pretrained, str)
        return f"{key} from {fingerprint(*self._start.values()) if own else 'ImageNet'}"

    @property
    def samples_key(self) -> str:
        """A digest of the data, whatever training starts from."""
        return self.crowd.key

    @property
    def training_loss(self) -> Callable[[nn.Module, Batch], Tensor] | None:
        """The softmax loss and the batch-hard triplet loss; None where the first is all."""
        return self._with_triplets if self.triplet else None

    @property
    def training_order(self) -> Callable[[Examples, torch.Generator], Tensor] | None:
        """Several pictures of a person side by side, as triplets need; None without them."""
        return self._side_by_side if self.triplet else None

    def _with_triplets(self, model: nn.Module, batch: Batch) -> Tensor:
        embeddings, logits = person_networks.embed(model, batch.inputs)
        named = self.example_loss(lambda _: logits, batch).mean()
        return named + self.triplet * ranking.batch_hard(embeddings.float(), batch.targets, MARGIN)

    def _side_by_side(self, examples: Examples, generator: torch.Generator) -> Tensor:
        persons = torch.from_numpy(self.crowd.train.persons)[examples.ids]
        return ranking.grouped_order(persons, TOGETHER, generator)

    @cached_property
    def _start(self) -> Mapping[str, Tensor] | None:
        """Pretrained weights of the backbone, or None."""
        if isinstance(self.pretrained, str):
            return person_networks.weights_of(self.pretrained, self._network(0).backbone)
        wanted = self.pretrained and self.architecture == "person-resnet-50"
        return person_networks.imagenet_weights() if wanted else None

    @property
    def unlearning(self) -> Mapping[str, Any]:
        """This task's own defaults for a method's settings: a deeper readout takes smaller steps.

        For the classifier of a stranger's folder the learning rate is found: it goes with the size of the features.
        """
        shallow, drawn = self.readout in (None, "classifier", ("classifier",)), self.data == "figures"
        return ({"lr": 3e-3 if shallow else 3e-4} if drawn or not shallow else {}) | {"batch_size": 8}

    @full_precision()
    def split(self, name: str) -> Examples:
        """``"train"``, ``"forget"``, ``"retain"``, ``"test"``, ``"test-forget"``, ``"gallery"``, ``"standard"``..."""
        train, held_out = self.crowd.train, self.crowd.held_out
        makers = {
            "train": lambda: self._examples(train, "train"),
            "forget": lambda: self._those(train, "train", forgotten=True),
            "retain": lambda: self._those(train, "train", forgotten=False),
            "test": lambda: self._those(held_out, "test", forgotten=False),
            "test-forget": lambda: self._those(held_out, "test", forgotten=True),
            "gallery": lambda: self._examples(held_out, "test"),
        }
        if self.crowd.strangers is not None:
            makers["standard"] = lambda: self._examples(self.crowd.strangers()[0], "standard")
            makers["standard-gallery"] = lambda: self._examples(self.crowd.strangers()[1], "standard-gallery")
        if name not in makers:
            raise unknown("split", name, makers)
        return makers[name]()

    def _examples(self, some: People, source: str) -> Examples:
        """Pictures standardised to (n, 3, h, w) with each person's place among the logits, -1 for a stranger."""
        places = np.searchsorted(self.persons, some.persons) if source in ("train", "test") else np.full(len(some), -1)
        labels = torch.from_numpy(places)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        fetch = Standardised(some.pixels, labels, mean, deviation)
        return Examples(torch.arange(len(some)), fetch, source, chunk=128)

    def _those(self, some: People, source: str, forgotten: bool) -> Examples:
        mine = np.isin(some.persons, self.forget_persons) == forgotten
        return self._examples(some, source).take(torch.from_numpy(np.flatnonzero(mine)))

    def make_model(self, seed: int) -> nn.Module:
        """A fresh network under ``seed``, from ImageNet weights where they are asked for and can be had."""
        model = self._network(seed)
        if self._start is not None:
            model.backbone.load_state_dict(self._start)
        return placed(model, self.device or "cpu")

    def _network(self, seed: int) -> nn.Module:
        with seeded(seed):
            model = networks.build(self.architecture, len(self.persons), 3)
        if not hasattr(model, "embed"):
            raise ValueError(
                f"architecture {self.architecture!r} makes no embedding to find people by; choose one with "
                "embed(pictures) and a classifier, such as 'person-cnn' or 'person-resnet-50'"
            )
        return model

    example_loss = cross_entropy.example_loss
    example_margin = cross_entropy.example_margin

    def evaluate(self, model: nn.Module, split: str, examples_of: ExamplesOf | None = None) -> dict[str, float]:
        """``identity_accuracy`` for training people; ``map``, ``rank1`` and ``rank5`` for pictures that are held out.

        Held-out queries are looked for among all held-out pictures, of kept and forgotten people alike.
        """
        examples_of = examples_of or self.split
        examples = examples_of(split)
        if examples.source == "standard":
            return ranking.scores(*self._queries_and_gallery(model, split, examples_of))
        held_out = examples.source == "test"
        seen, right = self._looked_at(model, examples_of("gallery") if held_out else examples)
        mine = examples.ids if held_out else slice(None)  # the gallery is all held out, by id
        named = {"identity_accuracy": right[mine].double().mean().item()}
        return named | ranking.scores(seen.take(mine), seen) if held_out else named

    def ranked(self, model: nn.Module, split: str = "test-forget") -> Iterator[ranking.Ranking]:
        """Each picture of a held-out split (or of ``"standard"``) as a query, the whole gallery ranked for a few at a time.

        Raises:
            ValueError: the split was trained on, or a query has no match.
        """
        return ranking.rankings(*self._queries_and_gallery(model, split, self.split))

    def _queries_and_gallery(
        self, model: nn.Module, split: str, examples_of: ExamplesOf
    ) -> tuple[ranking.Seen, ranking.Seen]:
        queries = examples_of(split)
        if queries.source == "train":
            raise ValueError(f"retrieval is measured on pictures that are held out; {split!r} was trained on")
        if queries.source == "standard-gallery":
            raise ValueError(
                "'standard-gallery' is what the queries of 'standard' are looked for in; ask for split='standard'"
            )
        if queries.source == "standard":
            return tuple(self._looked_at(model, examples)[0] for examples in (queries, examples_of("standard-gallery")))
        gallery = self._looked_at(model, examples_of("gallery"))[0]
        return gallery.take(queries.ids), gallery

    def embeddings(self, model: nn.Module, split: str) -> ranking.Seen:
        """What retrieval compares: each picture's embedding, its person and its camera."""
        return self._looked_at(model, self.split(split))[0]

    def _looked_at(self, model: nn.Module, examples: Examples) -> tuple[ranking.Seen, Tensor]:
        """Embeddings, and (n,) whether no other identity logit reaches the true person's, in one pass."""
        embeddings, right = [], []
        for _, batch, (seen, logits) in outputs(self, model, examples, person_networks.embed):
            embeddings.append(seen.cpu())
            right.append((answers(logits, batch.targets.clamp_min(0)) == batch.targets).cpu())  # −1 is a stranger
        some = self.pictured(examples.source)
        persons, cameras = (torch.from_numpy(column)[examples.ids] for column in (some.persons, some.cameras))
        return ranking.Seen(torch.cat(embeddings), persons, cameras), torch.cat(right)

    def pictured(self, source: str) -> People:
        """The pictures that the ids of examples count in, by the examples' source."""
        if source.startswith("standard"):
            return self.crowd.strangers()[source == "standard-gallery"]
        return self.crowd.train if source == "train" else self.crowd.held_out

    def labels(self, examples: Any) -> list[str]:
        """The person on training pictures, by index."""
        return [f"person {number}" for number in self.crowd.train.persons[np.asarray(examples)]]

    def test_labels(self, examples: Any) -> list[str]:
        """The person on held-out pictures, by index."""
        return [f"person {number}" for number in self.crowd.held_out.persons[np.asarray(examples)]]

    def pictures(self, examples: Any, source: str = "train") -> np.ndarray:
        """uint8 (n, h, w, 3) of pictures by index, of the training part by default."""
        return np.array(self.pictured(source).pixels[np.asarray(examples, dtype=np.int64)])

    def card(self, example: int) -> str:
        """HTML of one training picture: the person, the camera and, for drawn people, their looks."""
        person = int(self.crowd.train.persons[example])
        looks = self.crowd.train.about.get(person, "")
        words = f"person {person}, camera {self.crowd.train.cameras[example]}{': ' if looks else ''}{looks}"
        return cards.picture(self.pictures([example])[0], f"example {int(example)}", words)


MARGIN, TOGETHER = 0.3, 4  # of the triplet loss, and pictures of a person that stand side by side for it
FIGURES = Recipe(epochs=24, lr=0.1, batch_size=32, augment=True)
MARKET = Recipe(epochs=60, lr=0.05, batch_size=64, augment=True, one_thread=False)


def _size(given: Any) -> tuple[int, int]:
    """Height and width."""
    sides = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"image_size is (height, width) in pixels, such as {MARKET_SIZE}; got {given!r}")
    return sides


def _range(known: tuple[int, ...]) -> str:
    return f"{len(known)} persons, {known[0]} to {known[-1]}"
