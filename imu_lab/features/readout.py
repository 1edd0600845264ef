"""The readout: find it, look at what reaches it, put it back."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.messages import DoesNotApply, reason, shown, unknown
from ..core.running import copied, device_of, evaluating, evenly, hooked, same
from ..tasks.evaluation import threads_of
from ..tasks.protocol import Batch, Task, offered, prepared

ALL = ""  # the name that torch gives to the whole model
PROBE = 8  # examples that tell whether a model still does what it did


class NoReadout(DoesNotApply):
    """A model without a last linear layer that produces its output."""


class Readout(NamedTuple):
    """What a look at the readout of a model found.

    Attributes:
        names: the modules that influence and unlearning act on.
        linear: whether that is one linear layer whose output is the model's output: then everything has a closed form.
        probe: a few examples, which are the model's and the task's to answer.
        reached: what reaches the layer for them, (m, ..., d); None where it is not linear.
        outputs: what the model makes of them.
        answers: what the task makes of those outputs: losses, margins and metrics, by name.
    """

    names: tuple[str, ...]
    linear: bool
    probe: Batch
    reached: Tensor | None
    outputs: Any
    answers: dict[str, Tensor]


def probe(task: Task, model: nn.Module) -> Batch:
    """A few of the forget examples, evenly spread: what a model does to them tells one model from another."""
    forget = task.split("forget")
    return forget.batch(evenly(PROBE, len(forget))).to(device_of(model))


def examine(task: Task, model: nn.Module, batch: Batch | None = None) -> Readout:
    """One pass of the probe through the model, and all that it tells of the readout.

    Args:
        model: as the task calls it (see :func:`imu_lab.tasks.protocol.prepared`).
        batch: the probe, where it is known and the data are known to be what they were.

    Raises:
        UnknownName, NoReadout: see :func:`resolve`.
        ValueError: the model cannot take the task's examples.
    """
    with threads_of(task):  # two threads beside a busy core take a hundred times as long for eight small pictures
        return _examined(task, model, batch)


def _examined(task: Task, model: nn.Module, batch: Batch | None) -> Readout:
    batch = probe(task, model) if batch is None else batch.to(device_of(model))
    try:
        outputs, calls = _watched(model, batch.inputs)
    except RuntimeError as error:  # what torch says of shapes that do not fit each other
        raise ValueError(
            f"this {type(model).__name__} cannot answer the task's examples{_shape(batch.inputs)}: {reason(error)}; "
            "pass a model that was made for them, such as imu.train(task)"
        ) from error
    names = _may_move(model, named(task, model) or (_found(model, outputs, calls),))
    answers, reached = _answers(task, outputs, batch), None
    if _produces(model, names, outputs, calls):
        reached = _in_shape(next(call.given for call in calls if call.name == names[0]), outputs)
        if _reads_inputs(task, outputs, batch, reached, answers):
            reached = None
    return Readout(names, reached is not None, batch, reached, outputs, answers)


def _shape(inputs: Any) -> str:
    return f", each {tuple(inputs.shape[1:])}" if isinstance(inputs, Tensor) else ""


def _answers(task: Task, outputs: Any, batch: Batch) -> dict[str, Tensor]:
    """What a task makes of a model's outputs: the losses, and margins and metrics where it has them."""
    has = offered(task)
    with torch.no_grad():
        found = {"loss": task.example_loss(lambda _: outputs, batch)}
        if has.example_margin is not None:
            found["margin"] = has.example_margin(lambda _: outputs, batch)
        return found | dict(has.example_metrics(lambda _: outputs, batch) if has.example_metrics is not None else {})


def _reads_inputs(task: Task, outputs: Any, batch: Batch, reached: Tensor, answers: dict[str, Tensor]) -> bool:
    """Whether the task looks at the inputs itself: then it cannot be asked with what reaches the readout in their place."""
    try:
        return not same(answers, _answers(task, outputs, batch._replace(inputs=reached)))
    except Exception:  # whatever it does with the inputs, it cannot do it with these
        return True


def resolve(task: Task, model: nn.Module) -> tuple[str, ...]:
    """The names of the modules that influence and unlearning act on.

    ``task.readout`` names them, with ``"all"`` for the whole model and patterns such as ``"layer4.*"``; None
    finds the last linear layer.

    Raises:
        UnknownName: a module that is not there.
        NoReadout: None was asked, and no linear layer produces the output.
    """
    model = prepared(task, model)
    return _may_move(model, named(task, model) or (find(model, probe(task, model).inputs),))


def _may_move(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, once something in these modules may move.

    Raises:
        NoReadout: nothing may.
    """
    if not parameters(model, names):
        raise NoReadout(
            f"no parameter of the readout {', '.join(names) or 'all'} may move: requires_grad is False for each; "
            "set requires_grad_(True) on what may"
        )
    return names


def named(task: Task, model: nn.Module) -> tuple[str, ...] | None:
    """The modules that ``task.readout`` names; None where it leaves them to be found."""
    wanted = task.readout
    if wanted is None:
        return None
    names = (wanted,) if isinstance(wanted, str) or not isinstance(wanted, Iterable) else tuple(wanted)
    if others := [name for name in names if not isinstance(name, str)]:
        raise TypeError(
            f"readout= takes the names of modules, got {shown(others[0])}; modules with parameters: {_with_parameters(model)}"
        )
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
    return _found(model, *_watched(model, inputs))


def _found(model: nn.Module, outputs: Any, calls: list[Call]) -> str:
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


def _produces(model: nn.Module, names: tuple[str, ...], outputs: Any, calls: list[Call]) -> bool:
    """Whether the readout is one linear layer, called once, whose output the model gives, and whose weight is its own."""
    mine = [call for call in calls if call.name == names[0]]
    if len(names) != 1 or len(mine) != 1 or not _is(mine[0], outputs) or _shared(model, names[0]):
        return False
    layer = model.get_submodule(names[0])
    return _free(model, layer) and _is_plain(layer, mine[0])


def _is_plain(layer: nn.Module, call: Call) -> bool:
    """Whether a layer does what a linear layer does, W h + b with its own W and b, whatever class it is of.

    So it does to what reaches it: a hook that changes that on its way in would change it twice in the layer by itself.
    """
    own = {name for name, _ in layer.named_parameters()}
    if own not in ({"weight"}, {"weight", "bias"}):
        return False
    with torch.no_grad():
        made = nn.functional.linear(call.given, layer.weight, getattr(layer, "bias", None))
        return same(made, call.made) and (not layer._forward_pre_hooks or same(layer(call.given), call.made))


def _free(model: nn.Module, layer: nn.Module) -> bool:
    """Whether all parameters of a layer may move (see :func:`parameters`)."""
    still = not all(value.requires_grad for value in layer.parameters())
    return not (still and any(value.requires_grad for value in model.parameters()))


def _shared(model: nn.Module, name: str) -> bool:
    """Whether another module uses this layer's parameters too, as tied embeddings do: then moving it moves both."""
    mine = {id(value) for value in model.get_submodule(name).parameters()}
    inside = f"{name}." if name else ""
    return any(
        id(value) in mine and not key.startswith(inside)
        for key, value in model.named_parameters(remove_duplicate=False)
    )


class Call(NamedTuple):
    """One call of a linear layer: its name, input, output, and the output's version, which in-place arithmetic raises."""

    name: str
    given: Tensor
    made: Tensor
    version: int


def _watched(model: nn.Module, inputs: Any) -> tuple[Tensor, list[Call]]:
    """The output, and each call of a linear layer, in order."""
    calls: list[Call] = []

    def note(name: str) -> Callable:
        return lambda _, given, made: calls.append(Call(name, given[0], made, made._version))

    linear = [(module, note(name)) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    with hooked(linear), torch.no_grad(), evaluating(model):
        return model(inputs), calls


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
    """The readout's parameters that may move, by their full name in the model, in its order.

    Those may move that have ``requires_grad``; where none has, the model was set up to be used, which says nothing.
    """
    says = any(value.requires_grad for value in model.parameters())
    if ALL in names:
        return {key: value for key, value in model.named_parameters() if value.requires_grad or not says}
    chosen: dict[str, nn.Parameter] = {}
    places = tuple(f"{name}." for name in names)
    for key, value in model.named_parameters(remove_duplicate=False):  # a tied weight has a name in each of its places
        known = any(value is other for other in chosen.values())
        if (value.requires_grad or not says) and key.startswith(places) and not known:
            chosen[key] = value
    return chosen


def private_copy(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """A copy in eval mode in which nothing can move but what may move in these modules (see :func:`parameters`)."""
    private = copied(model).eval()
    moving = parameters(private, names).values()
    private.requires_grad_(False)
    for value in moving:
        value.requires_grad_(True)
    return private


def is_bare(model: nn.Module) -> bool:
    """Whether a whole model is a linear layer that does W h + b and nothing else: no hook changes what goes in or comes out."""
    hooked = model._forward_hooks or model._forward_pre_hooks or "forward" in vars(model)
    return type(model) is nn.Linear and not hooked


def capture(model: nn.Module, name: str, inputs: Any) -> tuple[Tensor, Tensor]:
    """What reaches the linear layer ``name`` (n, ..., d), and what the model makes of it (n, ..., K)."""
    given, outputs = as_given(model, name, inputs)
    return _in_shape(given, outputs), outputs


def as_given(model: nn.Module, name: str, inputs: Any) -> tuple[Tensor, Tensor]:
    """What reaches the linear layer ``name``, shaped as the layer gets it, and the model's outputs (n, ..., K)."""
    module = model.get_submodule(name)
    if module is model:
        return inputs, product(inputs, module.weight, module.bias) if is_bare(module) else model(inputs)
    kept: list[Tensor] = []
    with hooked([(module, lambda _, given, made: kept.append(given[0].detach()))]):
        outputs = model(inputs)
    return kept[0], outputs


class _Reached(Exception):
    """The layer is reached, and nothing of what follows is wanted."""


def reach(model: nn.Module, name: str, inputs: Any) -> Tensor:
    """What reaches the linear layer ``name``, shaped as the layer gets it: neither it nor what follows is computed."""
    kept: list[Tensor] = []

    def stop(_: nn.Module, given: tuple) -> None:
        kept.append(given[0].detach())
        raise _Reached

    with hooked([(model.get_submodule(name), stop)], before=True):
        try:
            model(inputs)
        except _Reached:
            pass
    return kept[0]


def _in_shape(reached: Tensor, outputs: Tensor) -> Tensor:
    """What reached the layer, (n, ..., d), arranged as the outputs (n, ..., K) are."""
    return reached.reshape(*outputs.shape[:-1], reached.shape[-1])


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
    grafted = copied(model).eval()
    layer = grafted.get_submodule(name)
    layer.load_state_dict(head.state_dict())
    return grafted
