"""Does a task keep the protocol? Asked in words before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

from ..core.messages import DoesNotApply, listed, near, reason, warn
from ..core.registry import metrics
from .around import innermost
from .member_checks import (
    FEW,
    answer_of,
    cards,
    count_of,
    evaluations,
    example_losses,
    heard,
    missing,
    models,
    sample,
    seen_twice,
    splits,
)
from .outputs import check_loss_of_logits
from .protocol import Abilities, Task, offered, own_data_key, pictures_of
from .training import Recipe


def checked_task(task: Any) -> Task:
    """``task`` itself, once it is known that what is computed for it can be kept by its content.

    Raises:
        TypeError: it is no frozen dataclass, or a setting of it cannot be compared by value.
    """
    for fault in _not_comparable(task):
        raise TypeError(fault)
    return task


def _not_comparable(task: Any) -> Iterator[str]:
    """Why a task cannot be told from others by its settings, in one sentence; nothing where it can."""
    task = innermost(task)
    kind = type(task)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or not parameters.eq:
        what = "is no dataclass" if parameters is None else "is not frozen" if not parameters.frozen else "has eq=False"
        yield (
            f"a task must be a frozen dataclass, so that what was computed for it can be told by its settings; "
            f"{kind.__name__} {what}. Write @dataclass(frozen=True) above the class, and its settings as fields"
        )
        return
    hidden = [field.name for field in fields(task) if not field.compare and _holds_data(getattr(task, field.name))]
    if hidden and own_data_key(task) is None:
        yield (
            f"{', '.join(hidden)} of {kind.__name__} holds data that do not count when tasks are compared; add a data_key, a "
            "property that gives a digest of their content, such as hashlib.sha256(x.numpy().tobytes()).hexdigest()"
        )
    wrong = [field.name for field in fields(task) if field.compare and not _hashable(getattr(task, field.name))]
    if wrong:
        yield (
            f"the settings of a task are compared by value, and {', '.join(wrong)} of {kind.__name__} cannot be hashed; give "
            "a tuple instead of a list, and keep tensors out of the comparison: dataclasses.field(compare=False) beside a "
            "data_key that is a digest of their content"
        )


def _holds_data(value: Any) -> bool:
    """Whether a setting is data, or a row or a table of data."""
    if isinstance(value, Mapping):
        return any(map(_holds_data, value.values()))
    if isinstance(value, (tuple, list)):
        return any(map(_holds_data, value))
    return isinstance(value, (Tensor, np.ndarray)) or type(value).__module__.split(".")[0] == "pandas"


def _hashable(value: Any) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return False  # torch hashes a tensor by its address
    try:
        hash(value)
    except TypeError:
        return False
    return True


def check_task(task: Any) -> None:
    """Run through all that a task promises, on a few examples and a fresh model; nothing is trained.

    Checked are the members of the protocol and what :class:`imu_lab.tasks.Abilities` lists where the task offers it: their
    shapes and types, that the same question gets the same answer and nothing else changes, that an example's loss is its
    own whatever stands beside it, and that the task can be told from others by its settings.

    Args:
        task: anything that is meant to follow the protocol.

    Raises:
        ValueError: one line per fault, each naming the member that is at fault and what was expected of it.

    Warns:
        UserWarning: test samples are training samples, which audits would take as unseen.

    Example:
        >>> imu.check_task(imu.tasks.Toy())
    """
    for stage in ((_not_comparable, missing), (splits, models), (example_losses, evaluations, cards, _abilities)):
        faults = dict.fromkeys(fault for check in stage for fault in heard(check, task))
        if faults:  # what comes next rests on these
            lines = "\n".join(f"- {fault}" for fault in faults)
            raise ValueError(f"{type(innermost(task)).__name__} does not keep the task protocol:\n{lines}")
    if words := seen_twice(task):
        warn(words)


def _abilities(task: Any) -> Iterator[str]:
    """What the task offers beyond the protocol is of the type and shape that :class:`Abilities` says."""
    has = offered(task)
    if not isinstance(has.splits, tuple) or not all(isinstance(name, str) for name in has.splits):
        yield f"splits must be a tuple of names; it is {has.splits!r}"
    if has.recipe is not None and not isinstance(has.recipe, Recipe):
        yield f"recipe must be an imu.tasks.Recipe; it is {type(has.recipe).__name__}"
    for name in ("data_key", "samples_key"):
        key = getattr(has, name)
        if key is not None and (not isinstance(key, str) or key != getattr(offered(task), name)):
            yield f"{name} must be a str, the same each time: a digest of the data's content"
    if not isinstance(has.unlearning, Mapping):
        yield f"unlearning must map names of settings to values; it is {has.unlearning!r}"
    when = has.forgotten_when
    if not isinstance(when, tuple) or len(when) != 2 or when[1] not in ("<=", "<", ">=", ">"):
        yield f"forgotten_when must be a metric and a comparison, such as ('accuracy', '<='); it is {when!r}"
    for name in has.follows:
        if name not in metrics:
            yield (
                f"follows names a metric that is not registered: {name!r}.{near(name, list(metrics))} "
                f"Known: {listed(list(metrics))}"
            )
    yield from _per_example(task, has)
    yield from _by_id(task, has)


def _per_example(task: Any, has: Abilities) -> Iterator[str]:
    """Members that give something for each example of a batch."""
    _, batch, made = sample(task)
    count = count_of(batch)
    asked: dict[str, Callable[[], Any]] = {
        "example_margin": lambda: has.example_margin(lambda _: made, batch),
        "example_length": lambda: has.example_length(batch),
        "example_divergence": lambda: has.example_divergence(made, made, batch),
    }
    for name, ask in asked.items():
        if getattr(has, name) is not None:
            found = answer_of(name, ask)
            if not isinstance(found, Tensor) or found.shape != (count,):
                yield f"{name} must give one number per example, shape ({count},); it gave {_shape(found)}"
    if has.example_metrics is not None:
        found = answer_of("example_metrics", lambda: has.example_metrics(lambda _: made, batch))
        if not isinstance(found, Mapping) or any(
            not isinstance(value, Tensor) or len(value) != count for value in found.values()
        ):
            yield f"example_metrics must give {{name: (n,)}} with n = {count}; it gave {_shape(found)}"
    if has.token_losses is not None:
        found = answer_of("token_losses", lambda: has.token_losses(lambda _: made, batch))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count:
            yield f"token_losses must give one row per example, ({count}, T); it gave {_shape(found)}"
    if has.probabilities and has.example_divergence is None:
        try:
            check_loss_of_logits(task, made, batch)
        except DoesNotApply as fault:
            yield str(fault)
        except Exception as error:  # the same that is told of the losses themselves
            yield f"example_loss raised {type(error).__name__}: {reason(error)}"
    if has.answers and isinstance(made, Tensor) and made.shape[-1] not in (1, len(has.answers)):
        yield f"answers names {len(has.answers)} outputs; the model has {made.shape[-1]}"


def _shape(value: Any) -> str:
    if isinstance(value, Mapping):
        return str({name: _shape(item) for name, item in value.items()})
    return f"shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else type(value).__name__


def _by_id(task: Any, has: Abilities) -> Iterator[str]:
    """Members that are asked by the ids of samples."""
    ids = {"train": task.split("forget").ids[:FEW].numpy(), "test": task.split("test").ids[:FEW].numpy()}
    for name, source in (("labels", "train"), ("test_labels", "test")):
        if (names := getattr(has, name)) is not None and len(ids[source]):
            found = answer_of(name, lambda names=names, source=source: names(ids[source]))
            if len(found) != len(ids[source]) or not all(isinstance(label, str) for label in found):
                yield f"{name} must give one str per id; for {len(ids[source])} ids it gave {list(found)!r}"
    if has.columns is not None:
        found = answer_of("columns", lambda: has.columns(ids["train"]))
        if not isinstance(found, Mapping) or any(len(names) != len(ids["train"]) for names in found.values()):
            yield f"columns must give {{name: one str per id}}; for {len(ids['train'])} ids it gave {found!r}"
    for source, asked in ids.items() if has.pictures is not None else ():
        if not len(asked):
            continue
        found = answer_of("pictures", lambda asked=asked, source=source: pictures_of(task, asked, source))
        right = found is None or getattr(found, "ndim", 0) == 4 and len(found) == len(asked) and found.shape[3] == 3
        if not right or found is not None and found.dtype != np.uint8:
            yield f"pictures must give uint8 (n, h, w, 3) or None; it gave {_shape(found)}"
    if has.with_request is not None:
        wanted = tuple(task.split("train").ids[:2].tolist())
        other = answer_of("with_request", lambda: has.with_request(wanted))
        if set(other.split("forget").ids.tolist()) != set(wanted):
            yield f"with_request({wanted}) must give the task with these samples to be forgotten"
