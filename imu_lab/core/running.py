"""How models are run here: on how many threads, under which random state, in which mode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small tensor work on one torch thread, then restore the setting.

    A tiny update takes 0.3 ms on one thread; on two threads beside a busy core the threads wait for each other and it
    takes 20 ms. Full-model forward passes should not use this.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def threads_of(task: Any) -> AbstractContextManager[None]:
    """One thread for a task whose recipe trains on one, all threads for any other.

    A small network is not only trained better on one: reading 8,000 sequences on two takes ten times as long beside a
    busy core.
    """
    return one_thread() if getattr(getattr(task, "recipe", None), "one_thread", False) else nullcontext()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generator under ``seed`` without leaving a trace in it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def checked_seed(given: Any) -> int:
    """A seed as a whole number.

    Raises:
        ValueError: it is none, or below 0.
    """
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 0:
        raise ValueError(f"a seed is a whole number from 0, got {given!r}")
    return int(given)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` in eval mode; each module's own mode is restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live; the CPU for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def digest(*parts: object) -> str:
    """A short content digest of tensors, arrays, bytes and anything with a faithful repr."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous()
            state.update(f"{part.dtype}{tuple(part.shape)}".encode())
            if part.numel():  # torch cannot see an empty tensor as bytes
                state.update(part.flatten().view(torch.uint8).numpy().data)
        elif isinstance(part, np.ndarray):
            part = np.ascontiguousarray(part)
            state.update(f"{part.dtype}{part.shape}".encode())
            state.update(part.view(np.uint8).data if part.size else b"")
        else:
            state.update(part if isinstance(part, bytes) else repr(part).encode())
        state.update(b"|")
    return state.hexdigest()


def model_digest(model: nn.Module, without: str = "") -> str:
    """A digest of all that decides what a model computes: tensors, architecture, attributes and the user's code.

    Args:
        model: any module.
        without: the name of a module whose own tensors do not count.
    """
    left_out = f"{without}." if without else None
    parts: list[object] = [repr(model)]
    for key, value in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)):
        if left_out is None or not key.startswith(left_out):
            parts += [key, value]
    kinds: set[type] = set()
    for module in model.modules():
        own = {name: value for name, value in vars(module).items() if name not in TORCHS_OWN}
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        parts += [_faithful(dict(sorted(own.items()))), _faithful(hooks)]
        kinds.update(kind for kind in type(module).__mro__ if not kind.__module__.startswith("torch."))
    for kind in sorted(kinds, key=lambda kind: kind.__qualname__):
        parts += [kind.__qualname__, *(_faithful(value) for name, value in sorted(_written(kind).items()))]
    return digest(*parts)


TORCHS_OWN = frozenset(vars(nn.Module()))  # hooks, the mode, and the tables of parameters and children


def _written(kind: type) -> dict[str, Any]:
    """What a class body says: its functions and plain values."""
    said = {name: value for name, value in vars(kind).items() if name not in ("__module__", "__doc__", "__dict__")}
    unwrapped = {name: getattr(value, "__func__", getattr(value, "fget", value)) for name, value in said.items()}
    return {
        name: value for name, value in unwrapped.items() if isinstance(value, FunctionType) or not name.startswith("__")
    }


def _faithful(value: Any) -> object:
    """A stand-in that has the same digest for the same content: no address of an object ever counts."""
    if isinstance(value, (Tensor, np.ndarray, bool, int, float, str, bytes, type(None))):
        return value
    if isinstance(value, (tuple, list)):
        return digest(*map(_faithful, value))
    if isinstance(value, dict):
        return digest(*(part for key, item in value.items() for part in (repr(key), _faithful(item))))
    if isinstance(value, (FunctionType, MethodType)):
        closed = [_faithful(cell.cell_contents) for cell in value.__closure__ or () if _filled(cell)]
        return digest(_code(value.__code__), _faithful(value.__defaults__), *closed)
    return type(value).__qualname__


def _filled(cell: Any) -> bool:
    """Whether a closure's cell holds something plain; the class that ``super()`` needs is no content."""
    try:
        return not isinstance(cell.cell_contents, type)
    except ValueError:
        return False


def _code(code: CodeType) -> str:
    """The bytes, names and constants of a function and of those written inside it."""
    constants = [_code(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{constants}"
