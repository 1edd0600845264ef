"""How a user's model is called and what it gives, found by calling it; each output must be its sample's own logits."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...core.messages import reason
from ...core.running import device_of, edits, evaluating, hooked
from ..protocol import Batch
from .models import HALF, SINGLE, logits_of, parameters_of

ALONE = 1e-3  # largest difference over largest value between a sample's output alone and in company
REPEATED = 1e-5  # the same between two answers to the same inputs, which on a GPU may differ by rounding
SHIFT = 1e3  # inputs are scaled by it to see whether outputs stay between 0 and 1


@dataclass(frozen=True)
class Manner:
    """How a model is called, and what it says.

    Attributes:
        outputs: K, the number of logits of a sample.
        dtype: what real-valued inputs are cast to.
        whole: what inputs of whole numbers are cast to; None leaves them.
        name: the name of a single input in the dict that the model is asked with; None where it is called as usual.
        adapted: whether it is asked with a dict (see :func:`adapted`).
        flat: whether it gives one number per sample, without an axis of logits.
        said: one line on the above.
    """

    outputs: int
    dtype: torch.dtype
    whole: torch.dtype | None = None
    name: str | None = None
    adapted: bool = False
    flat: bool = False
    said: str = ""


def manner(model: nn.Module, inputs: Any) -> tuple[Manner, Tensor]:
    """How a model takes these inputs, found by calling it, and the logits (n, K) that it gave.

    Args:
        model: in eval mode, as :func:`prepared` makes it.
        inputs: those of the first samples, a tensor (n, ...) or a dict of such.

    Raises:
        ValueError: it cannot take them, or gives no logits (n, K), or probabilities, or what hangs on other samples.
    """
    device, dtype = device_of(model), precision(model)
    inputs = _each(inputs, lambda value: value.to(device, dtype if value.is_floating_point() else None, copy=True))
    keyword = isinstance(inputs, dict) and set(inputs) <= set(parameters_of(model))
    if isinstance(inputs, dict) and not keyword and len(inputs) == 1:
        inputs = next(iter(inputs.values()))
    before = edits(inputs)
    with _kinds_within(model) as within:
        whole, made = _called(model, inputs, keyword, dtype)
    if edits(inputs) != before:
        raise ValueError(
            "the model writes into its inputs, as x -= 0.5 or a first layer with inplace=True does, and would change the data; "
            "let it write into a copy: x = x - 0.5, inplace=False"
        )
    inputs = _each(inputs, lambda value: _cast(value, whole))
    training = _in_training(model, inputs, keyword) if _asks_for_its_mode(model) else None
    says_more = not isinstance(made, Tensor) or not isinstance(training, (Tensor, type(None)))
    outputs = logits_of(made)
    _check_shape(outputs, made, _count(inputs))
    _check_precision(outputs, within)
    _check_own(model, inputs, keyword, outputs)
    flat = isinstance(made, Tensor) and made.ndim == 1
    asked = says_more or keyword or flat
    name = SINGLE if asked and not isinstance(inputs, dict) else None
    said = "the logits of what the model answers" if says_more else ""
    return Manner(outputs.shape[1], dtype, whole, name, asked, flat, said), outputs


def _count(inputs: Any) -> int:
    return len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)


def _each(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return {name: change(each) for name, each in inputs.items()} if isinstance(inputs, dict) else change(inputs)


def _cast(value: Tensor, whole: torch.dtype | None) -> Tensor:
    return value if whole is None or value.is_floating_point() else value.to(whole)


def precision(model: nn.Module) -> torch.dtype:
    """The type of a model's real-valued parameters."""
    values = (*model.parameters(), *model.buffers())
    return next((value.dtype for value in values if value.is_floating_point()), torch.get_default_dtype())


def _ask(model: nn.Module, inputs: Any, keyword: bool) -> Any:
    with torch.no_grad(), torch.autocast(device_of(model).type, enabled=False):
        return model(**inputs) if keyword else model(inputs)


def _called(model: nn.Module, inputs: Any, keyword: bool, dtype: torch.dtype) -> tuple[torch.dtype | None, Any]:
    """What inputs of whole numbers must be cast to, and what the model makes of the inputs.

    Raises:
        ValueError: it takes them in no type.
    """
    each = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    real = all(value.is_floating_point() or value.is_complex() for value in each)
    first: Exception | None = None
    for whole in (None,) if real else (None, dtype, torch.int64):
        try:
            with evaluating(model):
                made = _ask(model, _each(inputs, lambda value, whole=whole: _cast(value, whole)), keyword)
            return whole, made
        except Exception as error:  # a user's model may raise anything
            first = first or error
    shapes = ", ".join(f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" for value in each)
    raise ValueError(
        f"the model cannot take the inputs: for a batch of {shapes} it raised {type(first).__name__}: {reason(first)}"
        f"{_hint(model, inputs)}"
    ) from None


def _hint(model: nn.Module, inputs: Any) -> str:
    """What would have worked."""
    if not isinstance(inputs, Tensor):
        return ""
    tries = {
        "x.permute(0, 3, 1, 2), channels first": lambda x: x.permute(0, 3, 1, 2),
        "x.unsqueeze(1), with an axis of channels": lambda x: x.unsqueeze(1),
        "x.flatten(1)": lambda x: x.flatten(1),
    }
    for words, change in tries.items():
        try:
            with evaluating(model):
                _ask(model, change(inputs).to(precision(model)), False)
            return f"; it takes {words}"
        except Exception:  # this is not it
            continue
    return ""


def _asks_for_its_mode(model: nn.Module) -> bool:
    """Whether code of the model's own, and not of torch's layers, mentions ``training``: it may then answer otherwise."""
    kinds = {
        kind for module in model.modules() for kind in type(module).__mro__ if not kind.__module__.startswith("torch.")
    }
    kept = [value for module in model.modules() for value in vars(module).values()]
    functions = [
        value
        for value in (*kept, *(each for kind in kinds for each in vars(kind).values()))
        if inspect.isfunction(value)
    ]
    return any("training" in function.__code__.co_names for function in functions)


def _in_training(model: nn.Module, inputs: Any, keyword: bool) -> Any:
    """What the model makes of the inputs in training mode, leaving its buffers as they were; None where it cannot."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    modes = {name: module.training for name, module in model.named_modules()}
    try:
        with torch.random.fork_rng(), torch.no_grad():
            return _ask(model.train(), inputs, keyword)
    except Exception:  # two samples may be too few to train on
        return None
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])


def _check_shape(outputs: Any, made: Any, count: int) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count:
        got = tuple(getattr(made, "shape", outputs.shape)) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"the model must map (n, ...) inputs to logits (n, K); for {count} inputs it gave {got}"
            + ("" if isinstance(outputs, Tensor) else "; return the logits, alone or under the name 'logits'")
        )
    if not outputs.is_floating_point() or not torch.isfinite(outputs).all():
        raise ValueError(f"the model's outputs for the first {count} training inputs are no finite real numbers")


@contextmanager
def _kinds_within(model: nn.Module) -> Iterator[set[torch.dtype]]:
    """Within it, the types of the tensors that the model's layers make are collected."""
    kinds: set[torch.dtype] = set()

    def note(_: nn.Module, __: Any, made: Any) -> None:
        if isinstance(made, Tensor):
            kinds.add(made.dtype)

    with hooked((module, note) for module in model.modules() if not any(True for _ in module.children())):
        yield kinds


def _check_precision(outputs: Tensor, within: set[torch.dtype]) -> None:
    """Raise ValueError where the model computes in half precision within itself, whatever it puts out."""
    for kind in HALF:
        if outputs.dtype == kind or kind in within:
            name = str(kind).removeprefix("torch.")
            raise ValueError(
                f"the model computes in {name} within itself (autocast), too coarse for influence; take autocast out of forward"
            )


def _check_own(model: nn.Module, inputs: Any, keyword: bool, outputs: Tensor) -> None:
    """Raise ValueError unless a sample's output is the same whenever it is asked, and alone as in company."""
    one = _each(inputs, lambda value: value[:1])
    if _count(inputs) < 2:
        return
    try:
        with evaluating(model):
            alone = logits_of(_ask(model, one, keyword))
            far = not _near(alone.reshape(-1), outputs[0].reshape(-1), outputs)
            again = [logits_of(_ask(model, inputs, keyword)) for _ in range(2)]
    except Exception as error:  # batch statistics of a single sample
        raise ValueError(
            f"the model cannot take one sample alone ({type(error).__name__}: {reason(error)}), so its output hangs on the "
            "others in the batch; use layers whose output is each sample's own, such as BatchNorm with running statistics"
        ) from None
    if not all(_near(each, outputs, outputs, REPEATED) for each in again):
        raise ValueError(
            "the model gives the same inputs another output each time, also in eval mode; does it drop out or draw in forward "
            "without asking self.training?"
        )
    if far:
        raise ValueError(
            "a sample's output alone differs from that in a batch: the model looks across the batch (batch statistics in "
            "eval mode, a mean over samples), so no number would be the sample's own; give BatchNorm running statistics"
        )


def _near(first: Tensor, second: Tensor, scale: Tensor, limit: float = ALONE) -> bool:
    return first.shape == second.shape and bool(
        (first - second).abs().max() <= limit * scale.abs().max().clamp_min(1e-12)
    )


def check_no_probabilities(outputs: Tensor, ask: Callable[[float], Tensor]) -> None:
    """Raise ValueError where outputs (n, K) are probabilities.

    Args:
        ask: the outputs where real-valued inputs are scaled by a number.
    """
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    sums = bool(torch.isclose(outputs.sum(1), torch.ones(1).to(outputs), atol=1e-4).all())
    if not inside or outputs.shape[1] > 1 and not sums:
        return
    if outputs.shape[1] == 1 and not all(
        ((made := ask(by)) >= 0).all() and (made <= 1).all() for by in (SHIFT, -SHIFT)
    ):
        return
    last = "softmax" if outputs.shape[1] > 1 else "sigmoid"
    raise ValueError(
        f"the model's outputs are probabilities ({'rows that sum to 1' if outputs.shape[1] > 1 else 'between 0 and 1'}), and "
        f"logits are needed: return what goes into the {last}, for example by replacing that layer with nn.Identity()"
    )


def check_loss(loss: Callable, outputs: Tensor, batch: Batch) -> None:
    """Make sure that a user's loss gives each sample its own number.

    Raises:
        ValueError: it cannot take the outputs and targets, gives another shape, looks across the batch, or has no derivative.
    """
    kind = str(batch.targets.dtype).removeprefix("torch.")
    shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(batch.targets.shape)} {kind}"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broadcasting, which the shape below shows
            made, alone = loss(outputs, batch.targets), loss(outputs[:1], batch.targets[:1])
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"loss= cannot take {shapes}: {type(error).__name__}: {reason(error)}") from None
    count = len(outputs)
    if not isinstance(made, Tensor) or made.shape not in ((count,), (count, 1)):
        got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise ValueError(
            f"loss= must give one number per sample, ({count},), but for {shapes} it gave {got}; "
            "use reduction='none', and a mean over the other axes such as .flatten(1).mean(1)"
        )
    if not torch.isfinite(made).all():
        raise ValueError(f"loss= gave values that are not finite for {shapes}")
    with torch.inference_mode(False), torch.enable_grad():
        made = loss(outputs.detach().clone().requires_grad_().clone(), batch.targets)
    if not made.requires_grad:
        raise ValueError(
            "loss= cannot be differentiated: it leaves torch's graph, as .detach(), .item(), .numpy(), argmax and "
            "torch.no_grad() do; compute it from the outputs alone, with torch"
        )
    if not _near(made.reshape(-1)[:1], alone.reshape(-1), made):
        raise ValueError(
            "loss= gives a sample another number alone than in a batch; each sample's loss must be its own (no division by "
            "the batch's size or weights)"
        )
