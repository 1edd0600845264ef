"""How models are run here: on how many threads, under which random state, in which mode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generator under ``seed`` without leaving a trace in it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


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
            state.update(part.flatten().view(torch.uint8).numpy().data)
        elif isinstance(part, np.ndarray):
            part = np.ascontiguousarray(part)
            state.update(f"{part.dtype}{part.shape}".encode())
            state.update(part.view(np.uint8).data if part.size else b"")
        else:
            state.update(part if isinstance(part, bytes) else repr(part).encode())
        state.update(b"|")
    return state.hexdigest()
