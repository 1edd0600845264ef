"""A fresh model of a user's own architecture: what may move starts anew, what may not stays as it is."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable

import torch
from torch import nn


def called(make_model: Callable, seed: int) -> nn.Module:
    """The fresh model, from a maker that takes no argument or the seed."""
    try:
        inspect.signature(make_model).bind()
    except TypeError:
        return make_model(seed)
    return make_model()


def reset(model: nn.Module) -> nn.Module:
    """A copy, in training mode, with every module re-initialised whose parameters may move.

    Raises:
        ValueError: weights that may move and have no ``reset_parameters``; or none may move.
    """
    fresh = copy.deepcopy(model)
    if not any(value.requires_grad for value in fresh.parameters()):
        raise ValueError(
            "no parameter of the model may move (requires_grad is False for all), so there is nothing to train again; "
            "set requires_grad_(True) on what may, before the task is made"
        )
    for name, module in fresh.named_modules():
        own = list(module.parameters(recurse=False))
        fixed = [value for value in own if not value.requires_grad]
        if own and len(fixed) == len(own) or not own and keeps_still(fresh, name):
            continue
        before = [value.detach().clone() for value in fixed]
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif own:
            raise ValueError(
                f"module {name or 'the model'} ({type(module).__name__}) has weights but no reset_parameters(), "
                "so a fresh model cannot be made; pass make_model= to from_data"
            )
        with torch.no_grad():
            for value, kept in zip(fixed, before):
                value.copy_(kept)
    return fresh.train()


def keeps_still(model: nn.Module, name: str) -> bool:
    """Whether the module belongs to a part of the model none of whose parameters may move."""
    while True:
        values = list(model.get_submodule(name).parameters())
        if values or not name:
            return bool(values) and not any(value.requires_grad for value in values)
        name = name.rpartition(".")[0]


def frozen(model: nn.Module) -> str:
    """How much of a model may not move, in words; empty where all may."""
    still = [value.numel() for value in model.parameters() if not value.requires_grad]
    if not still:
        return ""
    whole = sum(value.numel() for value in model.parameters())
    return (
        f"{sum(still):,} of {whole:,} parameters may not move: the retrained model keeps them and differs in the rest"
    )
