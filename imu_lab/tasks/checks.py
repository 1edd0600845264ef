"""Does a task keep the protocol? Asked in words before anything is computed with it."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import listed, near
from ..core.registry import metrics
from ..core.running import device_of, evaluating
from .around import innermost
from .evaluation import are_averages
from .protocol import Abilities, Batch, Examples, Task, offered, own_data_key
from .training import Recipe

FEW = 5  # examples that are asked about
REQUIRED = ("make_model", "split", "example_loss", "evaluate", "card")
SPLITS = ("train", "forget", "retain", "test")


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

    Example:
        >>> imu.check_task(imu.tasks.Toy())
    """
    for stage in ((_not_comparable, _missing), (_splits, _models), (_losses, _evaluations, _cards, _abilities)):
        faults = dict.fromkeys(fault for check in stage for fault in _heard(check, task))
        if faults:  # what comes next rests on these
            lines = "\n".join(f"- {fault}" for fault in faults)
            raise ValueError(f"{type(innermost(task)).__name__} does not keep the task protocol:\n{lines}")


class _Fault(Exception):
    """A member raised something: nothing that rests on it can be checked."""


def _heard(check: Callable[[Any], Iterator[str]], task: Any) -> Iterator[str]:
    """The faults that a check finds, up to a member that raises."""
    try:
        yield from check(task)
    except _Fault as fault:
        yield str(fault)


def _ask(member: str, question: Callable[[], Any]) -> Any:
    """A member's answer; what it raises becomes a sentence."""
    try:
        return question()
    except Exception as error:  # whatever a user's code raises is a fault to be told
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        raise _Fault(f"{member} raised {type(error).__name__}: {reason}") from error


def _missing(task: Any) -> Iterator[str]:
    if not hasattr(task, "readout"):
        yield "readout is missing: the names of the modules to act on, or None for the last linear layer"
    for name in REQUIRED:
        if not callable(getattr(task, name, None)):
            yield f"{name} is missing; it is a method, {_signature(name)}"


def _signature(name: str) -> str:
    return f"{name}{signature(getattr(Task, name))}".replace("self, ", "").replace("'", "")


def _splits(task: Any) -> Iterator[str]:
    """Splits hold examples with stable ids, and what is to be forgotten and what is kept make up the training set."""
    ids: dict[str, set[int]] = {}
    for name in dict.fromkeys((*SPLITS, *offered(task).splits)):
        member = f"split({name!r})"
        examples, again = (_ask(member, lambda name=name: task.split(name)) for _ in "12")
        if not isinstance(examples, Examples):
            yield f"{member} must give imu.tasks.Examples; it gave {type(examples).__name__}"
            continue
        if examples.ids.ndim != 1 or examples.ids.dtype != torch.int64:
            yield f"the ids of {member} must be (n,) int64; they are {tuple(examples.ids.shape)} {examples.ids.dtype}"
            continue
        ids[name] = set(examples.ids.tolist())
        if len(ids[name]) < len(examples):
            yield f"{member} has an id twice; an id is one example"
        if not len(examples):
            if name in ("train", "forget", "retain"):
                yield f"{member} is empty"
            continue
        if not torch.equal(examples.ids, again.ids):
            yield f"{member} gave other ids when asked again"
            continue
        yield from _batches(member, examples, again)
    if {"train", "forget", "retain"} <= set(ids):
        if both := ids["forget"] & ids["retain"]:
            yield f"split('forget') and split('retain') share ids, such as {sorted(both)[:3]}"
        if ids["forget"] | ids["retain"] != ids["train"]:
            yield "split('forget') and split('retain') together must be split('train'), by id"


def _batches(member: str, examples: Examples, again: Examples) -> Iterator[str]:
    """A batch has one row per example, the same each time and however its rows are asked for."""
    count = min(FEW, len(examples))
    by_slice = _ask(member, lambda: examples.batch(slice(0, count)))
    if not isinstance(by_slice, tuple) or len(by_slice) != 2:
        yield f"a batch of {member} must be imu.tasks.Batch(inputs, targets); it is {type(by_slice).__name__}"
        return
    for part, value in zip(("inputs", "targets"), by_slice):
        wrong = [tuple(rows.shape) for rows in _tensors(value) if not rows.ndim or len(rows) != count]
        if wrong:
            yield f"the {part} of {member} must have one row per example; for {count} examples the shape is {wrong[0]}"
            return
    others = (
        ("by positions", lambda: examples.batch(torch.arange(count))),
        ("asked again", lambda: again.batch(slice(0, count))),
    )
    for how, ask in others:
        if not _equal(by_slice, _ask(member, ask)):
            yield (
                f"{member} gave other values {how}; a data set must be fixed, so leave random augmentation to the recipe"
            )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Mapping):
        return [each for item in value.values() for each in _tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool(torch.isclose(first, second, equal_nan=True).all())
    return type(first) is type(second)


def _models(task: Any) -> Iterator[str]:
    """A seed makes a model, the same one each time, and leaves the global random state alone."""
    before = torch.get_rng_state()
    first, second = (_ask("make_model", lambda: task.make_model(0)) for _ in "12")
    if not isinstance(first, nn.Module):
        yield f"make_model must give a torch.nn.Module; it gave {type(first).__name__}"
        return
    if not torch.equal(before, torch.get_rng_state()):
        yield "make_model moved torch's global random state; draw within torch.random.fork_rng()"
        torch.set_rng_state(before)
    if not _equal(dict(first.state_dict()), dict(second.state_dict())):
        yield "make_model(0) gave other weights when asked again; call torch.manual_seed(seed) within torch.random.fork_rng()"
    wanted = task.readout
    names = () if wanted is None else (wanted,) if isinstance(wanted, str) else wanted
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        yield f"readout must be None, a module's name or a tuple of names; it is {wanted!r}"
        return
    known = dict(first.named_modules())
    for name in names:
        if name not in (*known, "all") and not fnmatch.filter(known, name):
            yield f"readout names a module that is not there: {name!r}.{near(name, list(known))} Modules: {listed(list(known))}"


def _model(task: Any) -> nn.Module:
    """A user's own model where the task has one, else a fresh one."""
    own = offered(task).trained
    given = None if own is None else _ask("trained", lambda: own("train", 0))
    return (_ask("make_model", lambda: task.make_model(0)) if given is None else given).eval()


def _sample(task: Any) -> tuple[nn.Module, Batch, Any]:
    """A model in eval mode, a few examples to forget, and what the model makes of them."""
    model, forget = _model(task), _ask("split", lambda: task.split("forget"))
    batch = forget.batch(slice(0, min(FEW, len(forget)))).to(device_of(model))
    with torch.no_grad(), evaluating(model):
        return model, batch, _ask("the model", lambda: model(batch.inputs))


def _losses(task: Any) -> Iterator[str]:
    """One finite loss per example, which is its own whatever stands beside it, and can be differentiated."""
    model, batch, made = _sample(task)
    count, kept = _count(batch), copy.deepcopy(batch)
    losses = _ask("example_loss", lambda: task.example_loss(lambda _: made, batch))
    if not isinstance(losses, Tensor) or losses.shape != (count,):
        got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        yield f"example_loss must give one loss per example, shape ({count},); it gave {got} (torch's losses: reduction='none')"
        return
    if not torch.isfinite(losses).all():
        yield f"example_loss is not finite: {losses.tolist()}"
    if not _equal(kept, batch):
        yield "example_loss changed the batch it was given"
    if isinstance(made, Tensor):
        alone = [
            _ask("example_loss", lambda k=k: task.example_loss(lambda _: made[k : k + 1], _row(batch, k)))
            for k in range(count)
        ]
        if not torch.allclose(torch.cat([each.reshape(-1) for each in alone]), losses, rtol=1e-4, atol=1e-5):
            yield "example_loss gives an example another loss alone than in company; its loss must be its own"
    with evaluating(model), torch.enable_grad():
        whole = _ask("example_loss", lambda: task.example_loss(model, batch))
    if not torch.allclose(whole.detach(), losses, rtol=1e-4, atol=1e-5):
        yield "example_loss(model, batch) is not example_loss of the model's outputs; ask forward(batch.inputs), once"
    if any(value.requires_grad for value in model.parameters()) and not whole.requires_grad:
        yield "example_loss cannot be differentiated: it left torch's graph, as .item(), .numpy() and argmax do"


def _count(batch: Batch) -> int:
    return len((_tensors(batch.targets) or _tensors(batch.inputs))[0])


def _row(batch: Batch, at: int) -> Batch:
    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(item) for key, item in value.items()}
        return value[at : at + 1] if isinstance(value, Tensor) else value

    return Batch(cut(batch.inputs), cut(batch.targets))


def _evaluations(task: Any) -> Iterator[str]:
    """Numbers by name, the same each time; the metric that tells of forgetting is among them."""
    if are_averages(task) and offered(task).example_metrics is None:
        yield "evaluate = averages takes the means of example_metrics(forward, batch), which is missing"
        return
    model = _model(task)
    before = copy.deepcopy(model.state_dict())
    few = {"examples_of": lambda name: _few(task.split(name))} if are_averages(task) else {}
    for split in dict.fromkeys(("forget", *offered(task).splits)):
        member = f"evaluate(model, {split!r})"
        first, second = (_ask(member, lambda split=split: task.evaluate(model, split, **few)) for _ in "12")
        numbers = isinstance(first, Mapping) and all(
            isinstance(name, str) and isinstance(value, (int, float, np.number)) for name, value in first.items()
        )
        if not numbers:
            yield f"{member} must give numbers by name, such as {{'accuracy': 0.9}}; it gave {first!r}"
            continue
        if not all(_same_number(first[name], second.get(name)) for name in first):
            yield f"{member} gave other numbers when asked again"
        headline = offered(task).forgotten_when[0]
        if split == "forget" and headline != "loss" and headline not in first:
            yield (
                f"forgotten_when names the metric that tells of forgetting, {headline!r}, which {member} does not give; it "
                f"gives {listed(list(first))}. Write forgotten_when = ('loss', '>=') for a task that is told by its loss"
            )
    if not _equal(dict(before), dict(model.state_dict())):
        yield "evaluate changed the model"


def _few(examples: Examples) -> Examples:
    return examples.take(torch.arange(min(FEW, len(examples))))


def _same_number(first: float, second: Any) -> bool:
    return second is not None and (
        first == second or (math.isnan(first) and math.isnan(second)) or math.isclose(first, second, rel_tol=1e-6)
    )


def _cards(task: Any) -> Iterator[str]:
    example = int(task.split("forget").ids[0])
    card = _ask("card", lambda: task.card(example))
    if not isinstance(card, str):
        yield f"card must give HTML as a str; it gave {type(card).__name__}"


def _abilities(task: Any) -> Iterator[str]:
    """What the task offers beyond the protocol is of the type and shape that :class:`Abilities` says."""
    has = offered(task)
    if not isinstance(has.splits, tuple) or not all(isinstance(name, str) for name in has.splits):
        yield f"splits must be a tuple of names; it is {has.splits!r}"
    if has.recipe is not None and not isinstance(has.recipe, Recipe):
        yield f"recipe must be an imu.tasks.Recipe; it is {type(has.recipe).__name__}"
    if has.data_key is not None and (not isinstance(has.data_key, str) or has.data_key != offered(task).data_key):
        yield "data_key must be a str, the same each time: a digest of the data's content"
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
    _, batch, made = _sample(task)
    count = _count(batch)
    asked: dict[str, Callable[[], Any]] = {
        "example_margin": lambda: has.example_margin(lambda _: made, batch),
        "example_length": lambda: has.example_length(batch),
        "example_divergence": lambda: has.example_divergence(made, made, batch),
    }
    for name, ask in asked.items():
        if getattr(has, name) is not None:
            found = _ask(name, ask)
            if not isinstance(found, Tensor) or found.shape != (count,):
                yield f"{name} must give one number per example, shape ({count},); it gave {_shape(found)}"
    if has.example_metrics is not None:
        found = _ask("example_metrics", lambda: has.example_metrics(lambda _: made, batch))
        if not isinstance(found, Mapping) or any(
            not isinstance(value, Tensor) or len(value) != count for value in found.values()
        ):
            yield f"example_metrics must give {{name: (n,)}} with n = {count}; it gave {_shape(found)}"
    if has.token_losses is not None:
        found = _ask("token_losses", lambda: has.token_losses(lambda _: made, batch))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count:
            yield f"token_losses must give one row per example, ({count}, T); it gave {_shape(found)}"
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
            found = _ask(name, lambda names=names, source=source: names(ids[source]))
            if len(found) != len(ids[source]) or not all(isinstance(label, str) for label in found):
                yield f"{name} must give one str per id; for {len(ids[source])} ids it gave {list(found)!r}"
    if has.columns is not None:
        found = _ask("columns", lambda: has.columns(ids["train"]))
        if not isinstance(found, Mapping) or any(len(names) != len(ids["train"]) for names in found.values()):
            yield f"columns must give {{name: one str per id}}; for {len(ids['train'])} ids it gave {found!r}"
    if has.pictures is not None:
        found = _ask("pictures", lambda: has.pictures(ids["train"]))
        right = (
            found is None or getattr(found, "ndim", 0) == 4 and len(found) == len(ids["train"]) and found.shape[3] == 3
        )
        if not right or found is not None and found.dtype != np.uint8:
            yield f"pictures must give uint8 (n, h, w, 3) or None; it gave {_shape(found)}"
    if has.with_request is not None:
        wanted = tuple(task.split("train").ids[:2].tolist())
        other = _ask("with_request", lambda: has.with_request(wanted))
        if set(other.split("forget").ids.tolist()) != set(wanted):
            yield f"with_request({wanted}) must give the task with these samples to be forgotten"
