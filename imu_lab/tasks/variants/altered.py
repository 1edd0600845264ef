"""A task some of whose forget samples carry another label, or are there twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.messages import listed
from ...core.running import device_of, digest, evaluating
from ..around import Around
from ..outputs import two_sided
from ..protocol import Batch, Examples, Task, offered, own_data_key, pictures_of
from .replaced import replaced


@dataclass(frozen=True)
class Altered(Around):
    """``task`` with forget samples relabelled or doubled; what is retained or unseen stays as it is.

    Attributes:
        task: any task whose data are tensors.
        relabelled: pairs of a forget sample and its new target.
        doubled: forget samples that are there once more, as the last of the forget and of the training samples; the
            copies' ids go on where those of the training samples end, in the order given here.
    """

    task: Task
    relabelled: tuple[tuple[int, int], ...] = ()
    doubled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        known = set(self.task.split("forget").ids.tolist())
        strange = sorted({*self.doubled, *(example for example, _ in self.relabelled)} - known)
        if strange:
            raise ValueError(f"examples {strange[:5]} are not in the forget set, which holds {len(known)}")
        if self.doubled and offered(self.task).distinct:
            raise ValueError(
                f"{type(self.task).__name__} compares samples with each other or knows each by its id, and a copy would be found "
                "as a perfect match of what it copies, or not at all; give the sample twice the weight instead "
                "(reweight={example: 2})"
            )

    @property
    def labels(self) -> Callable[[Any], list[str]] | None:
        """From ids to labels: a copy has the label of what it copies."""
        return self._of_originals(offered(self.task).labels)

    @property
    def pictures(self) -> Callable[[Any], Any] | None:
        """From ids, and the part that they count in, to pictures: a copy looks like what it copies."""
        if offered(self.task).pictures is None:
            return None
        return lambda examples, source="train": pictures_of(
            self.task, self.originals(examples) if source == "train" else examples, source
        )

    @property
    def columns(self) -> Callable[[Any], dict[str, list[str]]] | None:
        """From ids to what is known beside the labels: a copy is of the superclass of what it copies."""
        return self._of_originals(offered(self.task).columns)

    @property
    def files(self) -> Callable[[Any], list[str]] | None:
        """From ids to files: a copy came from the file of what it copies."""
        return self._of_originals(offered(self.task).files)

    def card(self, example: int) -> str:
        """The card of the sample, or of what it is a copy of."""
        return self.task.card(self.originals(example))

    def _of_originals(self, member: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        return None if member is None else lambda examples: member(self.originals(examples))

    @property
    def data_key(self) -> str | None:
        """A digest of the data as it is here; None where the task has none."""
        own = own_data_key(self.task)
        return None if own is None else digest(own, self.relabelled, self.doubled)

    @property
    def copies(self) -> Tensor:
        """The ids of the copies, in the order of ``doubled``."""
        return int(self.task.split("train").ids.max()) + 1 + torch.arange(len(self.doubled))

    def originals(self, examples: Any) -> Any:
        """The ids, or the id, with those of copies exchanged for those of what they are copies of."""
        given = np.asarray(examples, dtype=np.int64)
        whose = dict(zip(self.copies.tolist(), self.doubled, strict=True))
        found = [whose.get(each, each) for each in given.ravel().tolist()]
        found = np.reshape(found, given.shape) if given.ndim else found[0]
        inner = offered(self.task).originals
        return found if inner is None else inner(found)  # a copy of a copy

    def split(self, name: str) -> Examples:
        """The task's split; of forget and training samples as they are here."""
        examples = self.task.split(name)
        if examples.source != "train":
            return examples
        if self.relabelled:
            ids = torch.tensor([example for example, _ in sorted(self.relabelled)])
            examples = replaced(examples, ids, self._rows)
        position = {int(example): at for at, example in enumerate(examples.ids)}
        if not self.doubled or any(example not in position for example in self.doubled):
            return examples
        again = torch.tensor([position[example] for example in self.doubled])
        ids = torch.cat([examples.ids, self.copies])
        return replace(examples.take(torch.cat([torch.arange(len(examples)), again])), ids=ids)

    def _rows(self) -> Batch:
        """The new targets by rising id; inputs stay."""
        kind = self.task.split("forget").batch(slice(0, 1)).targets.dtype
        return Batch(None, torch.tensor([target for _, target in sorted(self.relabelled)], dtype=kind))


def runner_up(model: nn.Module, batch: Batch) -> Tensor:
    """(n,) the label that the model finds likeliest after the sample's own.

    Raises:
        TypeError: a target is not one label out of the model's (n, K) outputs.
    """
    batch = batch.to(device_of(model))
    with torch.no_grad(), evaluating(model):
        outputs = model(batch.inputs)
    if not isinstance(batch.targets, Tensor) or batch.targets.ndim != 1 or outputs.ndim != 2:
        raise TypeError("labels can be flipped where a target is one label")
    return two_sided(outputs).scatter(1, batch.targets[:, None], -torch.inf).argmax(1).cpu()


def altered(task: Task, model: nn.Module, flip: Any = (), double: Any = ()) -> Altered:
    """``task`` with the samples ``flip`` under the label that ``model`` finds likeliest after their own, and ``double`` twice.

    Raises:
        ValueError: an example that is not in the forget set, or is to be doubled twice. TypeError: see :func:`runner_up`.
    """
    flip, double = tuple(dict.fromkeys(int(example) for example in flip)), tuple(int(example) for example in double)
    if again := [example for example, times in Counter(double).items() if times > 1]:
        raise ValueError(
            f"double= names {listed([str(example) for example in again[:5]])} more than once, and a sample is doubled once; give "
            "it more weight instead, as in reweight={example: 3}"
        )
    made = Altered(task, tuple((example, 0) for example in flip), double)  # checks the examples
    if not flip:
        return made
    forget = task.split("forget")
    mine = forget.take(torch.isin(forget.ids, torch.tensor(flip)).nonzero().flatten())
    return replace(made, relabelled=tuple(zip(mine.ids.tolist(), runner_up(model, mine.batch()).tolist(), strict=True)))
