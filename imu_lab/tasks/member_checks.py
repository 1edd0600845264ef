"""The members that a task must have, asked in words on a few examples and a fresh model."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.messages import listed, near, reason
from ..core.running import device_of, evaluating
from .evaluation import are_averages
from .outputs import tensors_in
from .protocol import Batch, Examples, Task, offered

FEW = 5  # examples that are asked about
REQUIRED = ("make_model", "split", "example_loss", "evaluate", "card")
SPLITS = ("train", "forget", "retain", "test")


class Fault(Exception):
    """A member raised something: nothing that rests on it can be checked."""


def heard(check: Callable[[Any], Iterator[str]], task: Any) -> Iterator[str]:
    """The faults that a check finds, up to a member that raises."""
    try:
        yield from check(task)
    except Fault as fault:
        yield str(fault)


def answer_of(member: str, question: Callable[[], Any]) -> Any:
    """A member's answer; what it raises becomes a sentence."""
    try:
        return question()
    except Exception as error:  # whatever a user's code raises is a fault to be told
        raise Fault(f"{member} raised {type(error).__name__}: {reason(error)}") from error


def missing(task: Any) -> Iterator[str]:
    if not hasattr(task, "readout"):
        yield "readout is missing: the names of the modules to act on, or None for the last linear layer"
    for name in REQUIRED:
        if not callable(getattr(task, name, None)):
            yield f"{name} is missing; it is a method, {_signature(name)}"


def _signature(name: str) -> str:
    return f"{name}{signature(getattr(Task, name))}".replace("self, ", "").replace("'", "")


def splits(task: Any) -> Iterator[str]:
    """Splits hold examples with stable ids, and what is to be forgotten and what is kept make up the training set."""
    ids: dict[str, set[int]] = {}
    for name in dict.fromkeys((*SPLITS, *offered(task).splits)):
        member = f"split({name!r})"
        examples, again = (_split(task, name) for _ in "12")
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


def seen_twice(task: Any) -> str:
    """That test samples are training samples, in words; empty where none is, as far as their ids and a few of them tell."""
    train, test = task.split("train"), task.split("test")
    both = sorted(set(train.ids.tolist()) & set(test.ids.tolist())) if train.source == test.source else []
    at = [torch.tensor([examples.ids.tolist().index(each) for each in both[:FEW]]) for examples in (train, test)]
    if not both or not _equal(train.batch(at[0]), test.batch(at[1])):
        return ""
    mine = [name for name in ("forget", "retain") if set(task.split(name).ids.tolist()) & set(both)]
    return (
        f"split('test') shares {len(both)} samples with split({') and split('.join(map(repr, mine))}), such as {both[:3]}, and "
        "audits take test samples as unseen; give it samples of its own, with source='test'"
    )


def _split(task: Any, name: str) -> Any:
    """The examples of a split; an empty one is told as such, which torch says of its indices: ``torch.tensor([])`` is of floats."""
    member = f"split({name!r})"
    try:
        return answer_of(member, lambda: task.split(name))
    except Fault as fault:
        if "tensors used as indices" not in str(fault):
            raise
        raise Fault(
            f"{member} is empty, or its rows are no whole numbers: torch.tensor([]) holds floats, so give "
            "torch.tensor(rows, dtype=torch.long)"
        ) from fault


def _batches(member: str, examples: Examples, again: Examples) -> Iterator[str]:
    """A batch has one row per example, the same each time and however its rows are asked for."""
    count = min(FEW, len(examples))
    by_slice = answer_of(member, lambda: examples.batch(slice(0, count)))
    if not isinstance(by_slice, tuple) or len(by_slice) != 2:
        yield f"a batch of {member} must be imu.tasks.Batch(inputs, targets); it is {type(by_slice).__name__}"
        return
    for part, value in zip(("inputs", "targets"), by_slice):
        wrong = [tuple(rows.shape) for rows in tensors_in(value) if not rows.ndim or len(rows) != count]
        if wrong:
            yield f"the {part} of {member} must have one row per example; for {count} examples the shape is {wrong[0]}"
            return
    others = (
        ("by positions", lambda: examples.batch(torch.arange(count))),
        ("asked again", lambda: again.batch(slice(0, count))),
    )
    for how, ask in others:
        if not _equal(by_slice, answer_of(member, ask)):
            yield (
                f"{member} gave other values {how}; a data set must be fixed, so leave random augmentation to the recipe"
            )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool(torch.isclose(first, second, equal_nan=True).all())
    return type(first) is type(second)


def models(task: Any) -> Iterator[str]:
    """A seed makes a model, the same one each time, and leaves the global random state alone."""
    before = torch.get_rng_state()
    first, second = (answer_of("make_model", lambda: task.make_model(0)) for _ in "12")
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
    given = None if own is None else answer_of("trained", lambda: own("train", 0))
    return (answer_of("make_model", lambda: task.make_model(0)) if given is None else given).eval()


def sample(task: Any) -> tuple[nn.Module, Batch, Any]:
    """A model in eval mode, a few examples to forget, and what the model makes of them."""
    model, forget = _model(task), answer_of("split", lambda: task.split("forget"))
    batch = forget.batch(slice(0, min(FEW, len(forget)))).to(device_of(model))
    with torch.no_grad(), evaluating(model):
        return model, batch, answer_of("the model", lambda: model(batch.inputs))


def example_losses(task: Any) -> Iterator[str]:
    """One finite loss per example, which is its own whatever stands beside it, and can be differentiated."""
    model, batch, made = sample(task)
    count, kept = count_of(batch), copy.deepcopy(batch)
    losses = answer_of("example_loss", lambda: task.example_loss(lambda _: made, batch))
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
            answer_of("example_loss", lambda k=k: task.example_loss(lambda _: made[k : k + 1], _row(batch, k)))
            for k in range(count)
        ]
        if not torch.allclose(torch.cat([each.reshape(-1) for each in alone]), losses, rtol=1e-4, atol=1e-5):
            yield "example_loss gives an example another loss alone than in company; its loss must be its own"
    with evaluating(model), torch.enable_grad():
        whole = answer_of("example_loss", lambda: task.example_loss(model, batch))
    if not torch.allclose(whole.detach(), losses, rtol=1e-4, atol=1e-5):
        yield "example_loss(model, batch) is not example_loss of the model's outputs; ask forward(batch.inputs), once"
    if any(value.requires_grad for value in model.parameters()) and not whole.requires_grad:
        yield "example_loss cannot be differentiated: it left torch's graph, as .item(), .numpy() and argmax do"


def count_of(batch: Batch) -> int:
    return len((tensors_in(batch.targets) or tensors_in(batch.inputs))[0])


def _row(batch: Batch, at: int) -> Batch:
    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(item) for key, item in value.items()}
        return value[at : at + 1] if isinstance(value, Tensor) else value

    return Batch(cut(batch.inputs), cut(batch.targets))


def evaluations(task: Any) -> Iterator[str]:
    """Numbers by name, the same each time; the metric that tells of forgetting is among them."""
    if are_averages(task) and offered(task).example_metrics is None:
        yield "evaluate = averages takes the means of example_metrics(forward, batch), which is missing"
        return
    model = _model(task)
    before = copy.deepcopy(model.state_dict())
    few = {"examples_of": lambda name: _few(task.split(name))} if are_averages(task) else {}
    for split in dict.fromkeys(("forget", *offered(task).splits)):
        member = f"evaluate(model, {split!r})"
        first, second = (answer_of(member, lambda split=split: task.evaluate(model, split, **few)) for _ in "12")
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


def cards(task: Any) -> Iterator[str]:
    example = int(task.split("forget").ids[0])
    card = answer_of("card", lambda: task.card(example))
    if not isinstance(card, str):
        yield f"card must give HTML as a str; it gave {type(card).__name__}"
