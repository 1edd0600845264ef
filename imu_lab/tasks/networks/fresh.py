"""A fresh model of a user's own architecture: what may move starts anew, what may not stays as it is."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...core.messages import shown


def check_takes(function: Any, name: str, makes: str, *arguments: str) -> None:
    """Make sure that a user's function can be called, and with these arguments in this order.

    Raises:
        TypeError: it is a model or no function at all, it takes other arguments, or it calls them by names that stand in
            another order.
    """
    asked = f"({', '.join(arguments)})"
    if isinstance(function, nn.Module):
        raise TypeError(f"{name} is a module; give a function that {makes}")
    if not callable(function):
        raise TypeError(f"{name} must be a function that {makes}; got {shown(function)}")
    try:
        known = inspect.signature(function)
    except (TypeError, ValueError):  # of something written in C
        return
    names = list(known.parameters)
    try:
        known.bind(*arguments)
    except TypeError:
        raise TypeError(f"{name} is called with {asked}; the function given takes ({', '.join(names)})") from None
    if any(each in names and names.index(each) != at for at, each in enumerate(arguments)):
        raise TypeError(f"{name} is called with {asked}, in this order; the function given takes ({', '.join(names)})")


def check_makes(make_model: Any) -> None:
    """Make sure that a user's function makes a model with no argument or the seed.

    Raises:
        TypeError: it is a model or no function, or takes other arguments.
    """
    try:
        inspect.signature(make_model).bind()
        arguments: tuple[str, ...] = ()
    except (TypeError, ValueError):
        arguments = ("seed",)
    check_takes(make_model, "make_model", "makes one", *arguments)


def called(make_model: Callable, seed: int) -> nn.Module:
    """The fresh model, from a maker that takes no argument or the seed."""
    try:
        inspect.signature(make_model).bind()
    except TypeError:
        return make_model(seed)
    return make_model()


def reset(model: nn.Module) -> nn.Module:
    """A copy, in training mode, with every module re-initialised whose parameters may move.

    A model that is made of a config, as those of Hugging Face are, is made of it again.

    Where none has ``requires_grad`` the model was set up to be used, which says nothing: then all may move.

    Raises:
        ValueError: weights that may move and have no ``reset_parameters``.
    """
    if not any(value.requires_grad for value in model.parameters()):
        model = copy.deepcopy(model).requires_grad_(True)
    if hasattr(type(model), "config_class") and hasattr(model, "config"):
        fresh = type(model)(model.config).to(next(model.parameters()))
    else:
        fresh = copy.deepcopy(model)
        _reset_modules(fresh)
    return _as_it_was(fresh, model).train()


def _reset_modules(fresh: nn.Module) -> None:
    attentions: list[nn.MultiheadAttention] = []
    for name, module in fresh.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not any(value.requires_grad for value in own):
            continue
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
        elif isinstance(module, nn.MultiheadAttention):
            attentions.append(module)
        elif own:
            raise ValueError(
                f"module {name or 'the model'} ({type(module).__name__}) has weights but no reset_parameters(), "
                "so a fresh model cannot be made; pass make_model= to from_data"
            )
    for (
        module
    ) in attentions:  # torch's own, under a name of its own; it sets to zero what its last layer has just drawn
        module._reset_parameters()


@torch.no_grad()
def _as_it_was(fresh: nn.Module, model: nn.Module) -> nn.Module:
    """``fresh``, in which what may not move is as in ``model``."""
    for name, value in model.named_parameters():
        mine = fresh.get_parameter(name)
        mine.requires_grad_(value.requires_grad)
        if not value.requires_grad:
            mine.copy_(value)
    for name, module in model.named_modules():
        if keeps_still(model, name):
            for key, value in module.named_buffers(recurse=False):
                fresh.get_submodule(name).get_buffer(key).copy_(value)
    return fresh


def keeps_still(model: nn.Module, name: str) -> bool:
    """Whether the module belongs to a part of the model none of whose parameters may move."""
    while True:
        values = list(model.get_submodule(name).parameters())
        if values or not name:
            return bool(values) and not any(value.requires_grad for value in values)
        name = name.rpartition(".")[0]


def resting(model: nn.Module) -> list[nn.Module]:
    """The modules with buffers, such as running means, in parts that may not move: training must not move those either."""
    return [
        module
        for name, module in model.named_modules()
        if list(module.buffers(recurse=False)) and keeps_still(model, name)
    ]


def frozen(model: nn.Module) -> str:
    """How much of a model may not move, in words; empty where all may."""
    still = [value.numel() for value in model.parameters() if not value.requires_grad]
    if not still:
        return ""
    whole = sum(value.numel() for value in model.parameters())
    if sum(still) == whole:
        return "no parameter has requires_grad, as in a model that is used only, so all may move"
    return (
        f"{sum(still):,} of {whole:,} parameters may not move: the retrained model keeps them and differs in the rest"
    )
