"""What a method is asked, what it says after each update, and the check of what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..core.knobs import name_of
from ..core.messages import shown
from ..core.registry import methods
from ..features.statistics import Statistics
from ..tasks.around import restricted
from ..tasks.protocol import Batch, Examples, Task


@dataclass(frozen=True, eq=False)
class Request:
    """What to forget, and with what.

    Attributes:
        forget: the forget set, n examples.
        weights: (n,) intensity of each forget example, summing to 1.
        retain: the retain set where the method declares ``needs_retain``, else None.
        seed: of everything random in the method.
        statistics: means over the training set where the method declares ``needs_statistics``, else None.
        original: the model that the method began with, where it goes on with a run; None where that is the one it is handed.
        made: the updates that it made since then.
    """

    forget: Examples
    weights: Tensor
    retain: Examples | None = None
    seed: int = 0
    statistics: Statistics | None = None
    original: nn.Module | None = None
    made: int = 0


def even_weights(examples: Examples) -> Tensor:
    """(n,) the same for each example, summing to 1."""
    return torch.full((len(examples),), 1 / len(examples), dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Update:
    """What happened in one update. A method may yield None instead: then no terms and no pressure are recorded.

    Attributes:
        terms: named values of the objective and its gradients, before the step.
        positions: (b,) which forget examples the batch held, from 0 to n − 1.
        shares: (b,) the pressure that each of them received; left out, all the same.
    """

    terms: Mapping[str, float] = field(default_factory=dict)
    positions: Tensor | None = None
    shares: Tensor | None = None


@methods.contract
class Method:
    """How a model is made to forget: an endless generator of updates.

    Register a frozen dataclass whose fields are its settings; inheriting from this class is not needed. Descent on an
    objective of your own is a few lines with the kit in :mod:`imu_lab.unlearning.objectives`, from which the built-in
    methods are made::

        @imu.method("plain-ascent")
        @dataclass(frozen=True)
        class PlainAscent(imu.Descent):
            def __call__(self, task, model, request):
                objectives = (
                    imu.Objective({"ascent": -task.example_loss(model, batch).mean()}, positions)
                    for positions, batch in imu.forget_batches(self, model, request)
                )
                return imu.descend(self, imu.moving_parameters(task, model), objectives)

        run = imu.unlearn(task, original, method="plain-ascent", lr=0.1, steps=20)

    Attributes:
        scope: ``"readout"`` where nothing else moves: the method is then handed the task as seen from its readout,
            whose inputs are cached features. ``"all"`` asks for the whole task and model.
        takes_weights: whether ``request.weights`` is used; where it is not, all samples to forget are alike.
        finds_shares: whether it decides by itself who gets how much; weights given beside it are left out, and that is said.
        needs_retain: whether ``request.retain`` holds the retain set. Who does not declare it can ask the task for the forget
            set alone.
        follows_losses: whether an update follows the forget samples' own losses, each by its share. Where it does not (it
            draws the model to something else, or turns the direction), no damage is predicted from the pressure.
        needs_statistics: the names of the means over the training set that ``request.statistics`` holds, such as
            ``("S", "G")`` (see :class:`imu_lab.Statistics`); a property where it depends on the settings. A method that
            declares some gets them and nothing else of the training set.
        updates: after how many updates the method has done all it does and ends; None for those that go on for ever.
        plain_steps: whether its steps are as long as those of plain ascent with the same learning rate, so that the rate which
            a task declares is one for it. Where they are not, a rate is searched for unless ``lr`` or ``step_norm`` is given.
    """

    scope: ClassVar[str] = "readout"
    takes_weights: ClassVar[bool] = True
    finds_shares: ClassVar[bool] = False
    needs_retain: ClassVar[bool] = False
    follows_losses: ClassVar[bool] = True
    needs_statistics: ClassVar[tuple[str, ...]] = ()
    updates: ClassVar[int | None] = None
    plain_steps: ClassVar[bool] = True

    def __call__(self, task: Task, model: nn.Module, request: Request) -> Iterator[Update | None]:
        """Update ``model``, which is private to the run, and yield after each update: for ever, or ``updates`` times.

        The caller counts, records and stops; it asks for the next update when it wants one.
        """
        raise NotImplementedError


FORGET, STATISTIC, RETAIN = "forget set", "statistic", "retain data"


def needs(method: Any, weights: Mapping[str, Any] | None = None) -> str:
    """What an instance of a method and its weights work from: ``"forget set"``, ``"statistic"`` or ``"retain data"``.

    Args:
        weights: the settings of the weights, which tell how they were made.
    """
    if methods.declared(method, "needs_retain"):
        return RETAIN
    mine, own = _seen_by(weights or {}), STATISTIC if methods.declared(method, "needs_statistics") else FORGET
    return own if mine == FORGET else mine


def _seen_by(weights: Mapping[str, Any]) -> str:
    """What weights were made from: influences on another set than the forget set have seen that set."""
    influence = weights.get("influence") or {}
    target = influence.get("target", "forget")
    if target not in ("forget", "train"):
        return RETAIN
    curvature = (influence.get("settings") or {}).get("curvature")
    if "statistics" in weights or "train" in (target, curvature):
        return STATISTIC
    return RETAIN if influence.get("needs_retain") else FORGET


READ = "examples"  # among an update's terms: how many examples the method read for it


@dataclass(eq=False)
class Counted:
    """Fetches another's examples, and counts them: what a method costs, whoever wrote it.

    Attributes:
        count: of those fetched so far.
    """

    fetch: Any
    length: int
    count: int = 0

    def __call__(self, at: Any) -> Batch:
        if isinstance(at, slice):
            self.count += len(range(*at.indices(self.length)))
        else:
            many = torch.as_tensor(at)
            self.count += int(many.sum()) if many.dtype == torch.bool else many.shape[0]
        return self.fetch(at)


def _counted(request: Request) -> tuple[Request, list[Counted]]:
    """The request with examples that count how often they are read."""
    given = {name: each for name in ("forget", "retain") if (each := getattr(request, name)) is not None}
    counters = [Counted(each.fetch, len(each)) for each in given.values()]
    counting = {name: replace(each, fetch=counter) for (name, each), counter in zip(given.items(), counters)}
    return replace(request, **counting), counters


WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def updates_of(method: Any, task: Task, model: nn.Module, request: Request) -> Iterator[Update | None]:
    """The updates that a method makes, each checked; its terms tell how many examples were read for it, as ``examples``.

    Raises:
        TypeError: the method gave nothing to iterate over, or yielded something that is no update.
        ValueError: an update speaks of examples that are not in the forget set, or the method reads a split that it did not
            declare: whoever compares methods by what they need would be told what is not so.
    """
    request, counters = _counted(request)
    name, before, count = name_of(method), 0, len(request.forget)
    known = task if methods.declared(method, "needs_retain") else restricted(task, f"method {name!r}")
    made = method(known, model, request)
    if not isinstance(made, Iterator):
        raise TypeError(
            f"method {name!r} must be a generator that yields after each update, for ever; it returned {shown(made)}. "
            "Write `yield` after each update, or return imu.descend(...)"
        )
    for update in made:
        update = Update() if update is None else _checked(update, name, count)
        read = sum(counter.count for counter in counters)
        yield Update({**update.terms, READ: float(read - before)}, update.positions, update.shares)
        before = read


def _checked(update: Any, name: str, count: int) -> Update:
    """An update whose positions and shares speak of the ``count`` examples to forget."""
    if not isinstance(update, Update):
        raise TypeError(f"method {name!r} must yield an imu.Update or None after each update; it gave {shown(update)}")
    update = _plain_terms(update, name)
    if update.positions is None:
        return update
    positions, shares = update.positions, update.shares
    ready = isinstance(positions, Tensor) and positions.dtype == torch.int64 and positions.device.type == "cpu"
    if not ready or not isinstance(shares, Tensor):
        positions = torch.as_tensor(positions).cpu()
        positions = positions.long() if positions.dtype in WHOLE else positions
        shares = torch.full(positions.shape, 1 / max(1, len(positions))) if shares is None else torch.as_tensor(shares)
        update = replace(update, positions=positions, shares=shares)
    if positions.shape != shares.shape or positions.ndim != 1:
        raise ValueError(
            f"an update tells which forget examples were in the batch and the share of each, two lists of one length; "
            f"method {name!r} gave positions of shape {tuple(positions.shape)} and shares of {tuple(shares.shape)}"
        )
    at = positions.numpy()
    # A negative number, read as one without a sign, is larger than any count: one look at the batch finds both.
    if at.size and (at.dtype != np.int64 or np.maximum.reduce(at.view(np.uint64)) >= count):
        raise ValueError(
            f"positions count within the {count} examples to forget, from 0 to {count - 1}; method {name!r} gave "
            f"{at.min()} to {at.max()}, {positions.dtype}. They are no ids of the training set: see request.forget"
        )
    return update


def _plain_terms(update: Update, name: str) -> Update:
    """The update with its terms as Python's numbers."""
    try:
        if all(type(value) is float for value in update.terms.values()):  # as nearly always
            return update
        return replace(update, terms={str(term): float(value) for term, value in update.terms.items()})
    except (AttributeError, TypeError, ValueError):
        given = shown(update.terms)
        raise TypeError(f"the terms of an update are named numbers; method {name!r} gave {given}") from None
