"""The readout: find it, cache what reaches it, work on it alone, put it back.

IMU moves only the readout, so the backbone's output per example is a constant. The *cached task* is the same task seen
from there: its examples are the readout's inputs, its model is the readout alone. It follows the same protocol, so
every estimator, method and metric runs on it unchanged, hundreds of times faster.
"""

from __future__ import annotations

import copy
import fnmatch
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.messages import unknown
from ..core.running import device_of, evaluating, model_digest
from ..tasks.protocol import Batch, Examples, Task
from ..tasks.variants.delegation import delegated

ALL = ""  # the name that torch gives to the whole model


class NoReadout(ValueError):
    """A model without a last linear layer that produces its output."""


def resolve(task: Task, model: nn.Module) -> tuple[str, ...]:
    """The names of the modules that influence and unlearning act on.

    ``task.readout`` names them, with ``"all"`` for the whole model and patterns such as ``"layer4.*"``; None
    finds the last linear layer.

    Raises:
        UnknownName: a module that is not there.
        NoReadout: None was asked, and no linear layer produces the output.
    """
    wanted = task.readout
    if wanted is None:
        return (find(model, task.split("forget").batch(slice(0, 2)).to(device_of(model)).inputs),)
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    known = dict(model.named_modules())
    names = tuple(ALL if name == "all" and name not in known else name for name in names)
    names = tuple(each for name in names for each in (_matching(name, known) if name not in known else [name]))
    for name in names:
        if name not in known:
            raise unknown("module", name, [key for key in known if key])
        if not list(known[name].parameters()):
            raise NoReadout(
                f"module {name!r} has no parameters to unlearn; modules with parameters: {_with_parameters(model)}"
            )
    return names


def _matching(name: str, known: dict[str, nn.Module]) -> list[str]:
    """The outermost modules with parameters that a pattern with ``*``, ``?`` or ``[...]`` fits; else the name."""
    found: list[str] = []
    for key in fnmatch.filter(known, name):
        inside = any(outer == ALL or key.startswith(f"{outer}.") for outer in found)
        if list(known[key].parameters()) and not inside:
            found.append(key)
    return found or [name]


def find(model: nn.Module, inputs: Any) -> str:
    """The name of the linear layer whose output is the model's output.

    Raises:
        NoReadout: no such layer, with the list of modules to choose from.
    """
    outputs, calls = _watched(model, inputs)
    same = [call.name for call in calls if _is(call, outputs)]
    names = [call.name for call in calls]
    if len(same) == 1 and names.count(same[0]) == 1:
        return same[0]
    if not names:
        reason = "it has no linear layer"
    elif same:
        reason = f"{' and '.join(sorted(set(same)))} produce(s) the output more than once"
    else:
        reason = f"something follows its last linear layer {names[-1]!r}"
    raise NoReadout(
        f"no readout found in this {type(model).__name__}: {reason}. Name the modules to act on with readout=, "
        f"or 'all'; modules with parameters: {_with_parameters(model)}"
    )


def is_linear(model: nn.Module, names: tuple[str, ...], inputs: Any) -> bool:
    """Whether the readout is one linear layer whose output is the model's output: then everything has a closed form."""
    if len(names) != 1 or not isinstance(model.get_submodule(names[0]), nn.Linear):
        return False
    if names == (ALL,) and type(model) is nn.Linear and not (model._forward_hooks or model._forward_pre_hooks):
        return True  # a readout alone, as a cached task has it: nothing to watch
    outputs, calls = _watched(model, inputs)
    mine = [call for call in calls if call.name == names[0]]
    return len(mine) == 1 and _is(mine[0], outputs) and not _shared(model, names[0])


def _shared(model: nn.Module, name: str) -> bool:
    """Whether another module uses this layer's parameters too, as tied embeddings do: then moving it moves both."""
    mine = {id(value) for value in model.get_submodule(name).parameters()}
    inside = f"{name}." if name else ""
    return any(
        id(value) in mine and not key.startswith(inside)
        for key, value in model.named_parameters(remove_duplicate=False)
    )


class Call(NamedTuple):
    """One call of a linear layer: its name, its output, and the output's version, which in-place arithmetic raises."""

    name: str
    made: Tensor
    version: int


def _watched(model: nn.Module, inputs: Any) -> tuple[Tensor, list[Call]]:
    """The output, and each call of a linear layer, in order."""
    calls: list[Call] = []
    hooks = [
        module.register_forward_hook(lambda _, __, made, name=name: calls.append(Call(name, made, made._version)))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad(), evaluating(model):
            return model(inputs), calls
    finally:
        for hook in hooks:
            hook.remove()


def _is(call: Call, outputs: Tensor) -> bool:
    """Whether a layer's output is the model's, seen whole: its leading axes may be reshaped; arithmetic, or another
    order of its elements, is not allowed, not even in place."""
    return (
        isinstance(outputs, Tensor)
        and call.made.data_ptr() == outputs.data_ptr()
        and call.made.numel() == outputs.numel()
        and call.made.shape[-1:] == outputs.shape[-1:]
        and call.made.is_contiguous()
        and outputs.is_contiguous()
        and outputs._version == call.version
    )


def _with_parameters(model: nn.Module) -> str:
    return ", ".join(name for name, module in model.named_modules() if name and list(module.parameters(recurse=False)))


def parameters(model: nn.Module, names: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """The readout's parameters by their full name in the model, in the model's order."""
    if ALL in names:
        return dict(model.named_parameters())
    chosen: dict[str, nn.Parameter] = {}
    for key, value in model.named_parameters(remove_duplicate=False):  # a tied weight has a name in each of its places
        known = any(value is other for other in chosen.values())
        if key.startswith(tuple(f"{name}." for name in names)) and not known:
            chosen[key] = value
    return chosen


def capture(model: nn.Module, name: str, inputs: Any) -> tuple[Tensor, Tensor]:
    """What reaches the linear layer ``name`` (n, ..., d), and what the model makes of it (n, ..., K)."""
    module = model.get_submodule(name)
    if module is model:
        return inputs, product(inputs, module.weight, module.bias) if type(module) is nn.Linear else model(inputs)
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, given, made: kept.append(given[0].detach()))
    try:
        outputs = model(inputs)
    finally:
        hook.remove()
    return kept[0].reshape(*outputs.shape[:-1], kept[0].shape[-1]), outputs


def product(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(n, ..., K) what a linear layer makes of inputs (n, ..., d).

    The outputs lie outermost in memory: with few of them (K = 10) the product then takes a third of the time, and so do
    sums over them.
    """
    rows = inputs.flatten(0, -2).T  # (d, N)
    made = weight @ rows if bias is None else torch.addmm(bias[:, None], weight, rows)
    return made.view(-1, *inputs.shape[:-1]).movedim(0, -1)


def graft(model: nn.Module, name: str, head: nn.Linear) -> nn.Module:
    """A copy of ``model`` whose layer ``name`` holds the head's parameters; everything else bit for bit the same."""
    grafted = copy.deepcopy(model).eval()
    layer = grafted.get_submodule(name)
    layer.load_state_dict(head.state_dict())
    return grafted


def backbone_digest(model: nn.Module, name: str) -> str:
    """A digest of all that decides what reaches the readout: tensors, architecture, attributes and user code."""
    return model_digest(model, without=name)


@dataclass
class Features:
    """Cached readout inputs of one source, rows in the order of ``ids`` (rising)."""

    ids: Tensor
    values: Tensor


class FeatureStore:
    """Readout inputs that have been computed, kept by content: an edited model or other data never gets old features.

    Only rows that are missing go through the model. The oldest entries go when ``limit`` bytes are exceeded.
    """

    def __init__(self, limit: int = 4 * 2**30) -> None:
        self.limit = limit
        self.seconds = 0.0
        self._kept: dict[tuple, Features] = {}

    @property
    def bytes(self) -> int:
        """What the cache holds now."""
        return sum(kept.values.nbytes for kept in self._kept.values())

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def rows(self, key: tuple, examples: Examples, compute: Callable[[Examples], Tensor]) -> Tensor:
        """The features of ``examples`` (n, ..., d), computing those that are missing."""
        ids = examples.ids
        kept = self._kept.pop(key, None)
        known = torch.isin(ids, kept.ids) if kept else torch.zeros(len(ids), dtype=torch.bool)
        if not known.all():
            started = time.perf_counter()
            fresh = compute(examples if not known.any() else examples.take((~known).nonzero().flatten()))
            self.seconds += time.perf_counter() - started
            everything = torch.cat([kept.ids, ids[~known]]) if kept else ids
            order = everything.argsort()
            values = torch.cat([kept.values, fresh]) if kept else fresh
            in_order = bool((order == torch.arange(len(order))).all())
            kept = Features(everything[order], values if in_order else values[order])
        self._kept[key] = kept  # last used goes last
        while len(self._kept) > 1 and self.bytes > self.limit:
            self._kept.pop(next(iter(self._kept)))
        if len(ids) == len(kept.ids) and torch.equal(ids, kept.ids):
            return kept.values
        return kept.values[torch.searchsorted(kept.ids, ids)]


STORE = FeatureStore()


class CachedTask:
    """A task seen from its linear readout: examples are cached features, the model is the readout alone.

    Everything but ``split`` and ``readout`` is the task's own code: its methods run with this object as ``self``, so
    what they ask of ``split`` they get as features.
    """

    readout = (ALL,)

    def __init__(self, task: Task, model: nn.Module, name: str, store: FeatureStore = STORE) -> None:
        self.task, self._model, self._name, self._store = task, model, name, store
        self._backbone = backbone_digest(model, name)
        self._splits: dict[str, Examples] = {}

    def __getattr__(self, member: str) -> Any:
        return delegated(self, member)

    def split(self, name: str) -> Examples:
        """The split's examples, their inputs replaced by what reaches the readout."""
        if name not in self._splits:
            self._splits[name] = self.seen(self.task.split(name))
        return self._splits[name]

    def seen(self, examples: Examples) -> Examples:
        """Any examples of the task, as features; their targets untouched."""
        if not len(examples):
            return examples  # nothing reaches the readout
        key = (
            self._backbone,
            device_of(self._model),
            getattr(self.task, "data_key", None) or self.task,
            examples.source,
        )
        features = self._store.rows(key, examples, self._forward)
        targets = _targets(examples)
        chunk = max(examples.chunk, 2**22 // max(1, features[0].numel()))
        return replace(Examples.of(features, targets, examples.ids, examples.source), chunk=chunk)

    def _forward(self, examples: Examples) -> Tensor:
        device, values = device_of(self._model), torch.empty(0)
        with torch.no_grad(), evaluating(self._model):  # not inference_mode: autograd refuses its tensors later
            for positions, batch in examples.batches():
                rows = capture(self._model, self._name, batch.to(device).inputs)[0]
                values = _room(len(examples), rows) if positions.start == 0 else values
                values[positions] = rows
        return values


def _room(count: int, rows: Tensor) -> Tensor:
    """An empty (count, ..., d) tensor, or a refusal that says how much it would take."""
    needed = count * rows[0].numel() * rows.element_size()
    try:
        return torch.empty(count, *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    except RuntimeError as error:
        raise MemoryError(
            f"the features of {count} examples need {needed / 2**30:.1f} GiB, more than this machine has; "
            "pass cache=False to stream them instead"
        ) from error


def _targets(examples: Examples) -> Any:
    """All targets of some examples, collected in batches so that their inputs never are in memory together."""
    parts = [batch.targets for _, batch in examples.batches()]
    if isinstance(parts[0], dict):
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return torch.cat(parts)


def cached(task: Task, model: nn.Module, name: str, store: FeatureStore = STORE) -> tuple[CachedTask, nn.Linear]:
    """The cached task and a private copy of the readout, ready for any estimator or method."""
    return CachedTask(task, model, name, store), copy.deepcopy(model.get_submodule(name))


def view(task: Task, model: nn.Module, cache: bool = True) -> tuple[Task, nn.Module]:
    """The task and model seen from the readout where it is one linear layer, else themselves."""
    names = resolve(task, model)
    probe = task.split("forget").batch(slice(0, 2)).to(device_of(model)).inputs
    return cached(task, model, names[0]) if cache and is_linear(model, names, probe) else (task, model)


__all__ = [
    "Batch",
    "CachedTask",
    "FeatureStore",
    "NoReadout",
    "backbone_digest",
    "cached",
    "capture",
    "find",
    "graft",
    "is_linear",
    "parameters",
    "resolve",
    "view",
]
