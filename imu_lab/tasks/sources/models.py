"""A user's own model at the gate: how it is called, what it puts out, and whether each output is its sample's own."""

from __future__ import annotations

import copy
import inspect
import threading
import warnings
from collections.abc import Mapping
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ...core.running import copied

HALF = (torch.float16, torch.bfloat16)
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
SINGLE = "_"  # stands for an input that has no name


def prepared(model: nn.Module, asked_by_dict: bool = False) -> nn.Module:
    """The model as a task calls it: without wrappers, in single precision at least, and asked with a dict where it must be.

    That is the model itself where nothing has to change, else another module that shares what it can.

    Raises:
        TypeError: it is no module.
        ValueError: it is scripted or quantised.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")
    refuse_closed(model)
    made = unwrapped_top(model)
    if any(_is_wrapped(module) for module in made.modules()):
        made = unwrapped(copied(made))
    if half_kinds(made):
        made = copied(made).float()
    return adapted(made) if asked_by_dict else made


def half_kinds(model: nn.Module) -> list[str]:
    """The half precisions that tensors of a model are in."""
    kinds = {value.dtype for module in model.modules() for value in _own(module)}
    return sorted(str(kind).removeprefix("torch.") for kind in kinds & set(HALF))


def _own(module: nn.Module) -> list[torch.Tensor]:
    return [
        value for part in (module._parameters, module._buffers) if part for value in part.values() if value is not None
    ]


def _is_wrapped(module: nn.Module) -> bool:
    return type(module).__name__ in WRAPPERS or getattr(module, "_compiled_call_impl", None) is not None


def own_copy(model: nn.Module) -> nn.Module:
    """A copy as :func:`prepared` makes it, in eval mode; what may not move still may not.

    Raises:
        TypeError, ValueError: see :func:`prepared`.

    Warns:
        UserWarning: it was in half precision.
    """
    made = prepared(model)
    if kinds := half_kinds(unwrapped_top(model)):
        warnings.warn(f"the model is in {' and '.join(kinds)}; a copy in float32 is worked on", stacklevel=4)
    return (copied(made) if made is unwrapped_top(model) else made).eval()


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside what torch.compile and data parallelism put around it, at any depth; edits ``model``."""
    while (inner := WRAPPERS.get(type(model).__name__)) and isinstance(getattr(model, inner, None), nn.Module):
        model = getattr(model, inner)
    for module in model.modules():
        if getattr(module, "_compiled_call_impl", None) is not None:  # compiled in place
            module._compiled_call_impl = None
        for name, child in list(module.named_children()):
            if type(child).__name__ in WRAPPERS:
                setattr(module, name, unwrapped(child))
    return model


def refuse_closed(model: nn.Module) -> None:
    """Refuse a model whose layers cannot be looked into, or that no copy can stand for.

    Raises:
        ValueError: it is scripted or quantised, has no weights, or a function in it holds parts of it.
    """
    for name, module in model.named_modules():
        if words := _closed(module, model):
            raise ValueError(f"the model cannot be used: {f'its part {name!r} is' if name else 'it is'} {words}")


def _closed(module: nn.Module, model: nn.Module) -> str:
    """What keeps a part of a model from being looked into, and what to do; empty where nothing does."""
    kind = type(module)
    if "forward" in vars(module) and kind.__name__ not in WRAPPERS:
        if {*map(id, _held(vars(module)["forward"]))} & {id(each) for each in (*model.modules(), *model.parameters())}:
            return (
                "called through a function that holds parts of the model, and a copy's would still hold those of the original; "
                "write it as a method of the module's class"
            )
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted or traced; hand over the module it was made from"
    own = _own(module)
    if any(map(nn.parameter.is_lazy, own)):
        return "lazy, and has no weights before it is called; call model(inputs) once"
    if any([value.is_meta for value in own]):
        return (
            "on torch's meta device, where tensors have no values; load its weights first, as in "
            "model.to_empty(device='cpu') and load_state_dict"
        )
    packed = [value.is_quantized or type(value).__module__.startswith(("torchao", "bitsandbytes")) for value in own]
    if any(packed) or "quantized" in kind.__module__ or kind.__module__.startswith("bitsandbytes"):
        return "quantised; hand over the model before quantisation"
    return ""


def _held(function: Any) -> list[Any]:
    """What a function of a user's holds by its closure and its defaults, and whose methods; nothing where it is none."""
    if not isinstance(function, FunctionType):
        return []
    kept = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    kept += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [getattr(each, "__self__", each) for each in kept]


def parameters_of(model: nn.Module) -> tuple[str, ...]:
    """The names of what the model's ``forward`` takes; none where it takes anything."""
    known = inspect.signature(unwrapped_top(model).forward).parameters.values()
    return tuple(p.name for p in known if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self")


def names_of_outputs(model: nn.Module) -> list[str] | None:
    """What a model itself calls its outputs, as those of Hugging Face do in ``config.id2label``; None where it does not say."""
    told = getattr(getattr(unwrapped_top(model), "config", None), "id2label", None)
    if not isinstance(told, Mapping) or set(told) != set(range(len(told))):
        return None
    names = [str(told[place]) for place in range(len(told))]
    by_default = [f"LABEL_{place}" for place in range(len(told))]  # what such a model says that was told no names
    return None if names == by_default or len(set(names)) < len(names) else names


def unwrapped_top(model: nn.Module) -> nn.Module:
    """The module inside the outermost wrappers, untouched."""
    while (inner := WRAPPERS.get(type(model).__name__)) and isinstance(getattr(model, inner, None), nn.Module):
        model = getattr(model, inner)
    return model


# A model that takes its inputs by name, or answers with more than logits, is asked with a dict and gives its logits.
# Several threads may ask one model: who asked with a dict is remembered by each for itself.

_asking = threading.local()


def _asked_by_dict() -> set[int]:
    """The modules, by ``id``, that this thread is asking with a dict."""
    if not hasattr(_asking, "modules"):
        _asking.modules = set()
    return _asking.modules


def by_name(module: nn.Module, given: tuple, named: dict) -> tuple | None:
    """A forward pre-hook: a single dict is taken apart into keywords, or into the one input it holds."""
    _asked_by_dict().discard(id(module))  # a call before this one may have failed
    if not (len(given) == 1 and isinstance(given[0], Mapping) and not named):
        return None
    _asked_by_dict().add(id(module))
    return ((given[0][SINGLE],), {}) if SINGLE in given[0] else ((), dict(given[0]))


def logits_alone(module: nn.Module, given: tuple, named: dict, made: Any) -> Any:
    """A forward hook: who asked with a dict gets the logits; whoever else, all that the model says."""
    if id(module) not in _asked_by_dict():
        return None
    _asked_by_dict().discard(id(module))
    return logits_of(made)


def logits_of(made: Any) -> Any:
    """The logits (n, K) in what a model puts out, one number per sample as (n, 1); else what it put out."""
    found = made["logits"] if isinstance(made, Mapping) and "logits" in made else getattr(made, "logits", made)
    return found[:, None] if isinstance(found, Tensor) and found.ndim == 1 else found


def adapted(model: nn.Module) -> nn.Module:
    """A module that shares everything with ``model`` and can be asked with a dict besides; itself where it can already."""
    if by_name in model._forward_pre_hooks.values():
        return model
    made = copy.copy(model)
    for name, value in vars(made).items():
        if name.startswith("_forward") and isinstance(value, dict):
            object.__setattr__(made, name, value.copy())  # the hooks of the model itself stay as they are
    made.register_forward_pre_hook(by_name, with_kwargs=True)
    made.register_forward_hook(logits_alone, with_kwargs=True)
    return made
