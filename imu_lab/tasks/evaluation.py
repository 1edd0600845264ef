"""The one loop that puts examples through a model, and what is measured of the outputs.

Everything that asks a model about examples goes through :func:`outputs`: it sees to device, threads, eval mode, gradients,
the size of a batch and its layout in memory. Losses, margins, metrics and references are functions of what it hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..core.running import device_of, evaluating, hooked, one_thread
from .around import innermost
from .protocol import Batch, Examples, ExamplesOf, Positions, Task, offered, prepared

LEAST = 64  # examples in a batch at least, and in the first: fewer leave the cores waiting for the next
ROOM = 2**18  # numbers in the largest layer of a batch above that: more would leave a processor's cache
SEVERAL = 2**19  # and of several states of one layer, whose outputs no next layer reads

# From positions, a batch, the outputs of several models for it and their number to (copies · n,) values by name.
OfOutputs = Callable[[Positions, Batch, Any, int], Mapping[str, Tensor]]


def threads_of(task: Task) -> AbstractContextManager[None]:
    """One thread for a task whose recipe trains on one, all threads for any other.

    A small network is not only trained better on one: reading 8,000 sequences on two takes ten times as long beside a
    busy core.
    """
    return one_thread() if getattr(offered(task).recipe, "one_thread", False) else nullcontext()


def outputs(
    task: Task,
    model: nn.Module,
    examples: Examples,
    call: Callable[[nn.Module, Any], Any] | None = None,
    alike: bool = False,
    copies: int = 1,
) -> Iterator[tuple[Positions, Batch, Any]]:
    """Put examples through a model in eval mode and without gradients, a batch at a time.

    How many go together is decided on the first few: ``LEAST``, or more where the largest layer's output then still fits a
    processor's cache, and never more than ``examples.chunk``. Pictures go through convolutions with channels last. Measured
    on two cores, in six networks from 8x8 digits to a ResNet-18, that is within a twentieth of the fastest of all sizes from
    8 to 512 in both layouts; a batch of 256 in torch's own layout takes 2.2 times as long in a ResNet-20.

    Args:
        call: ``(model, inputs)`` to what is handed out; the model's outputs by default.
        alike: whether padded examples may come with others of like length, the longest first, each batch as long as its
            longest: :func:`in_order` puts what was made of them back in order. Else all come in order and of one length.
        copies: how many models ``model`` is (see :func:`mean_metrics`).

    Yields:
        The positions of a batch in ``examples`` (a slice, or a tensor where those of like length come together), the batch
        on the model's device, and what ``call`` made of it.
    """
    model = prepared(task, model)
    several = not isinstance(model, nn.Linear)  # one takes as many as the task hands out
    device, start, order = device_of(model), 0, examples.alike() if alike else None
    size, plain = min(LEAST, examples.chunk) if several or order is not None else examples.chunk, False
    while start < len(examples):
        part = slice(start, min(start + size, len(examples)))
        positions = part if order is None else order[part]
        batch = (examples.batch if alike else examples.fetch)(positions).to(device)
        # No inference_mode: autograd refuses its tensors later.
        with threads_of(task), torch.no_grad(), evaluating(model):
            growing = start == 0 and len(examples) > size and order is None  # few in a batch are few of like length
            with _largest_layer(model) if growing else nullcontext() as seen:
                made, plain = _asked(model, batch.inputs, call, plain)
        if seen is not None:
            size = _size(seen, part.stop, examples.chunk, device, ROOM if copies == 1 else SEVERAL)
        start = part.stop
        yield positions, batch, made


def in_order(parts: Iterable[tuple[Positions, Tensor]], count: int, axis: int = 0) -> Tensor:
    """(n, ...) rows that were made batch by batch, in the order of the examples.

    Args:
        parts: positions and rows of each batch, as :func:`outputs` gives them; a batch of fewer places than the first is
            filled up with zeros.
        count: n.
        axis: which one counts examples, of 0 and 1.
    """
    found = torch.empty(0)
    for number, (positions, rows) in enumerate(parts):
        if number == 0:
            found = rows.new_zeros(*rows.shape[:axis], count, *rows.shape[axis + 1 :])
        places = tuple(map(slice, rows.shape))
        found[(*places[:axis], positions, *places[axis + 1 :])] = rows
    return found


def _asked(model: nn.Module, inputs: Any, call: Callable | None, plain: bool) -> tuple[Any, bool]:
    """What is made of some inputs, and whether they have to lie in torch's own layout: ``x.view(n, -1)`` takes no other."""
    ready = inputs if plain else arranged(model, inputs)
    try:
        return (model(ready) if call is None else call(model, ready)), plain
    except RuntimeError:
        if ready is inputs:
            raise
    return (model(inputs) if call is None else call(model, inputs)), True


def takes_channels_last(model: nn.Module, inputs: Any) -> bool:
    """Whether a model takes inputs as :func:`arranged` lays them out, which it does not where it calls ``view``."""
    with torch.no_grad(), evaluating(model):
        return not _asked(model, inputs, None, plain=False)[1]


def arranged(model: nn.Module, inputs: Any) -> Any:
    """Pictures (n, c, h, w) with channels last in memory where they go through convolutions; everything else as it is."""
    pictures = isinstance(inputs, Tensor) and inputs.ndim == 4
    if not pictures or not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last)


def real_valued(inputs: Any) -> tuple[Tensor, Callable[[Tensor], Any]] | None:
    """The one tensor of real numbers in some inputs, and how another takes its place in them; None where it is not one.

    Inputs by name, as models of Hugging Face take them, may hold numbers of another kind besides.
    """
    if isinstance(inputs, Mapping):
        names = [name for name, value in inputs.items() if isinstance(value, Tensor) and value.is_floating_point()]
        return (inputs[names[0]], lambda other: {**inputs, names[0]: other}) if len(names) == 1 else None
    return (inputs, lambda other: other) if isinstance(inputs, Tensor) and inputs.is_floating_point() else None


@contextmanager
def _largest_layer(model: nn.Module) -> Iterator[list[int]]:
    """Within it, the sizes of all tensors that the model's layers make are collected."""
    sizes: list[int] = []

    def note(_: nn.Module, __: Any, made: Any) -> None:
        if isinstance(made, Tensor):
            sizes.append(made.numel())

    with hooked((module, note) for module in model.modules() if not any(True for _ in module.children())):
        yield sizes


def _size(sizes: list[int], count: int, chunk: int, device: torch.device, room: int) -> int:
    """How many examples go together, from the sizes of the layers' outputs for ``count`` of them."""
    if device.type != "cpu" or not sizes:
        return chunk
    fitting = max(LEAST, room * count // max(sizes))
    return min(chunk, 2 ** (fitting.bit_length() - 1))


def evaluate(task: Task, model: nn.Module, split: str) -> dict[str, float]:
    """A task's metrics of a model on a split, as plain numbers.

    Raises:
        TypeError: the task's ``evaluate`` gave something else than numbers by name.
    """
    found = task.evaluate(model, split)
    try:
        return {str(name): float(value) for name, value in found.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"{type(innermost(task)).__name__}.evaluate(model, {split!r}) must give numbers by name, such as "
            f"{{'accuracy': 0.9}}; it gave {found!r}"
        ) from error


def averages(task: Any, model: nn.Module, split: str, examples_of: ExamplesOf | None = None) -> dict[str, float]:
    """The mean of each of ``task.example_metrics`` over a split; none of an empty one.

    A task whose metrics are all such means writes ``evaluate = averages``. A run then knows that it may measure them on
    what reaches the readout, and many states of a readout at once.
    """
    examples = (examples_of or task.split)(split)
    return {name: values.item() for name, values in mean_metrics(task, model, examples).items()}


def are_averages(task: Task) -> bool:
    """Whether all of a task's metrics are means over examples."""
    return getattr(innermost(task).evaluate, "__func__", None) is averages


def mean_metrics(
    task: Task, model: nn.Module, examples: Examples, copies: int = 1, also: Iterable[OfOutputs] = ()
) -> dict[str, Tensor]:
    """{name: (copies,)} the mean of each metric over examples, in one forward pass.

    Args:
        copies: how many models ``model`` is: it then gives (copies · n, ...) outputs for n inputs, model by model.
        also: what else is measured of the same outputs; of one name the last counts.
    """

    def own(_: Positions, batch: Batch, made: Any, copies: int) -> Mapping[str, Tensor]:
        return task.example_metrics(lambda _: made, repeated(batch, copies))

    found: list[tuple[OfOutputs, dict[str, Tensor]]] = [(measure, {}) for measure in (own, *also)]
    for positions, batch, made in outputs(task, model, examples, alike=True, copies=copies):
        for measure, totals in found:
            _add_up(totals, measure(positions, batch, made, copies), copies)
    return {name: total / len(examples) for _, totals in found for name, total in totals.items()}


def outcomes(task: Task, model: nn.Module, examples: Examples, copies: int = 1) -> Tensor:
    """(n, 2) the loss and the margin of each example, in one forward pass; margins are NaN where a task has none.

    Args:
        copies: how many models ``model`` is (see :func:`mean_metrics`); more than one give (copies, n, 2).

    Raises:
        ValueError: the task's loss is not one number per example.
    """
    rows = [
        (positions, _outcome(task, made, repeated(batch, copies), copies, len(examples.ids[positions])))
        for positions, batch, made in outputs(task, model, examples, alike=True, copies=copies)
    ]
    return _outcomes_in_order(rows, len(examples), copies)


def outcomes_and_means(
    task: Task, model: nn.Module, examples: Examples, copies: int = 1, also: Iterable[OfOutputs] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """What :func:`outcomes` and :func:`mean_metrics` tell, with the mean ``loss``, in one forward pass."""
    rows: list[tuple[Positions, Tensor]] = []

    def outcome(positions: Positions, batch: Batch, made: Any, copies: int) -> dict[str, Tensor]:
        count = len(examples.ids[positions])
        rows.append((positions, _outcome(task, made, repeated(batch, copies), copies, count)))
        return {"loss": rows[-1][1][..., 0].flatten()}

    means = mean_metrics(task, model, examples, copies, [outcome, *also])
    return _outcomes_in_order(rows, len(examples), copies), means


def _add_up(totals: dict[str, Tensor], found: Mapping[str, Tensor], copies: int) -> None:
    """Add the sums of what was found of a batch to those of the batches before, by name."""
    for name, values in found.items():
        values = values.view(copies, -1)  # of truths the count is exact, and quicker as one
        total = values.sum(1).double() if values.dtype is torch.bool else values.sum(1, dtype=torch.float64)
        totals[name] = totals[name] + total if name in totals else total


def _outcome(task: Task, made: Any, batch: Batch, copies: int, count: int) -> Tensor:
    """(copies, count, 2) loss and margin of a batch."""
    margin = offered(task).example_margin
    with threads_of(task):  # of a large vocabulary they are as much work as the outputs
        losses = checked_losses(task, task.example_loss(lambda _: made, batch), copies * count)
        margins = torch.full_like(losses, torch.nan) if margin is None else margin(lambda _: made, batch)
    return torch.stack([losses, margins.to(losses.dtype)], 1).view(copies, -1, 2)


def _outcomes_in_order(rows: list[tuple[Positions, Tensor]], count: int, copies: int) -> Tensor:
    found = in_order(rows, count, axis=1).cpu() if rows else torch.empty(copies, 0, 2)
    return found if copies > 1 else found[0]


def mean_loss(task: Task, model: nn.Module, examples: Examples) -> float:
    """The mean loss over examples, in nats, added up in double precision."""
    total = 0.0
    for _, batch, made in outputs(task, model, examples, alike=True):
        total += task.example_loss(lambda _, made=made: made, batch).double().sum().item()
    return total / len(examples)


def checked_losses(task: Task, losses: Any, wanted: int) -> Tensor:
    """The losses, once they are one number per example."""
    if not isinstance(losses, Tensor) or losses.shape != (wanted,):
        got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"{type(innermost(task)).__name__}.example_loss must give one loss per example, shape ({wanted},); it gave "
            f"{got}. A loss of torch does so with reduction='none'"
        )
    return losses


def repeated(batch: Batch, copies: int) -> Batch:
    """The same batch with its targets ``copies`` times over, for as many models' outputs one after the other."""
    return batch if copies == 1 else batch._replace(targets=_repeated(batch.targets, copies))


def _repeated(value: Any, copies: int) -> Any:
    if isinstance(value, dict):
        return {key: _repeated(item, copies) for key, item in value.items()}
    return value.repeat(copies, *[1] * (value.ndim - 1)) if isinstance(value, Tensor) else value
