"""How models are run here: on how many threads, under which random state, in which mode."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .memo import clear_caches


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
def drawing_from(states: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Draw from torch's global generators in these states, which move along, without leaving a trace in them.

    Args:
        states: as :func:`seeded_states` gave them, or the context before yielded them.

    Yields:
        The states, written over with those after the draws when the context ends.
    """
    states = [state.clone() for state in states]
    with torch.random.fork_rng():
        _set_states(states)
        yield states
        for state, after in zip(states, _states()):
            state.copy_(after)


def seeded_states(seed: int) -> list[Tensor]:
    """The states of torch's global generators under a seed: the CPU's, then each GPU's where CUDA is in use."""
    first = torch.Generator().manual_seed(seed).get_state()
    return [first, *(torch.Generator(f"cuda:{at}").manual_seed(seed).get_state() for at in range(_gpus()))]


def _gpus() -> int:
    """How many GPUs this process draws from; none until it uses one."""
    return torch.cuda.device_count() if torch.cuda.is_available() and torch.cuda.is_initialized() else 0


def _states() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(at) for at in range(_gpus()))]


def _set_states(states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for at, state in enumerate(states[1:]):
        torch.cuda.set_rng_state(state, at)


def checked_seed(given: Any) -> int:
    """A seed as a whole number.

    Raises:
        ValueError: it is none, below 0, or more than torch can hold.
    """
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not 0 <= given < 2**63:
        raise ValueError(f"a seed is a whole number from 0, got {given!r}; the largest is 2 ** 63 - 1")
    return int(given)


@contextmanager
def full_precision() -> Iterator[None]:
    """Out of autocast, whose half precision is too coarse for influence, with gradients, and with new tensors on the CPU, from
    where they go to a model's device: a notebook may have set otherwise for all of its cells; also a decorator."""
    inferring = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
    elsewhere = torch.device("cpu") if torch.get_default_device().type != "cpu" else nullcontext()
    with inferring, elsewhere, torch.enable_grad(), _without_autocast("cpu"):
        yield


def _without_autocast(kind: str) -> AbstractContextManager[None]:
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """``model`` in eval mode and out of autocast; each module's own mode is restored afterwards.

    A model that is in eval mode already, as those of a session are, is not touched, so that several threads may ask it at
    once. One in training mode belongs to one thread at a time.
    """
    trained = [module for module in model.modules() if module.training]
    if trained:
        model.eval()
    try:
        with _without_autocast(device_of(model).type):
            yield model
    finally:
        for module in trained:
            module.training = True


_HOOKS = threading.RLock()  # nobody copies a module while another thread changes its hooks


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Callable]], before: bool = False) -> Iterator[None]:
    """Within it, each module's forward pass in this thread calls its hook; passes in other threads do not.

    A panel's job and a notebook's cell ask the same model at the same time, and torch calls a module's hooks whoever
    asks: without this the one would be handed the other's batch.

    Args:
        hooks: each module with its hook.
        before: call them before the module's forward pass, and not after it.
    """
    owner = threading.get_ident()

    def mine(hook: Callable) -> Callable:
        def called(*given: Any) -> Any:
            return hook(*given) if threading.get_ident() == owner else None

        called.passing = True  # a copy of the module has nothing to do with it
        return called

    with _HOOKS:
        handles = [
            (module.register_forward_pre_hook if before else module.register_forward_hook)(mine(hook))
            for module, hook in hooks
        ]
    try:
        yield
    finally:
        with _HOOKS:
            for handle in handles:
                handle.remove()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's state as tensors to be written: on the CPU, each with memory of its own, also where weights are tied."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, whoever asks the model meanwhile."""
    return _copied(model, {})


def _copied(model: nn.Module, shared: dict[int, Any]) -> nn.Module:
    """A deep copy without what :func:`hooked` has set for a while; ``shared`` holds by ``id`` what is not copied."""
    # What hooks compute from parameters before each call, as torch.nn.utils.weight_norm does, is computed again in the copy.
    computed = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    computed = {id(value): value.detach().clone() for value in computed if not value.is_leaf}
    with _HOOKS:
        made = copy.deepcopy(model, computed | shared)
    for module in made.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if getattr(hook, "passing", False)]:
                del hooks[key]
    return made


def own_modules(model: nn.Module) -> nn.Module:
    """The same tensors in modules of their own.

    ``torch.func.functional_call`` puts other values in a module's place while it runs; in these nobody else sees them.
    """
    kept = [*model.parameters(), *model.buffers()]
    kept += [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return _copied(model, {id(value): value for value in kept})


def evenly(most: int, count: int) -> Tensor:
    """Positions among ``count``, evenly spread from the first to the last: ``most`` of them, or all."""
    return torch.linspace(0, max(0, count - 1), min(most, count)).long().unique()


def real_numbers(given: Any) -> np.ndarray:
    """What somebody's function gave, tensors of any precision too, as an array of float64.

    Raises:
        TypeError, ValueError: it holds something else than real numbers; or is a column of a table out of its order.
    """
    index = getattr(given, "index", None)
    if hasattr(index, "is_monotonic_increasing") and not index.is_monotonic_increasing:
        raise ValueError("a column is read in its order, and its index says that it was sorted; give .sort_index()")
    try:
        values = given.detach().cpu() if isinstance(given, Tensor) else np.asarray(given)
    except ValueError:  # rows of several lengths
        raise TypeError("no numbers") from None
    if values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values):
        raise TypeError("complex numbers")
    try:
        return np.asarray(values.double() if isinstance(values, Tensor) else values, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError("no numbers") from None


def edits(*values: Any) -> tuple[int, ...]:
    """How often each tensor was written into so far, as torch counts it: through the tensor itself or any view of it."""
    each = [part for value in values for part in (value.values() if isinstance(value, Mapping) else (value,))]
    return tuple(part._version for part in each if isinstance(part, Tensor) and not part.is_inference())


@contextmanager
def only_looked_at(model: nn.Module, who: str) -> Iterator[None]:
    """Within it somebody is handed a model that others go on with.

    Raises:
        ValueError: its parameters were written into, or its modes changed, and what was kept in memory is forgotten with it.
    """

    def now() -> tuple:
        modes = [module.training for module in model.modules()]
        return edits(*model.parameters()), [value.requires_grad for value in model.parameters()], modes

    before = now()
    yield
    if now() != before:
        clear_caches()
        raise ValueError(
            f"{who} changed the model that it was handed, which others go on with; it may do so in a copy: copy.deepcopy(model)"
        )


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live; the CPU for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def placed(model: nn.Module, device: Any, without: str = "the CPU") -> nn.Module:
    """The model itself, moved to a device.

    Args:
        without: where it would be without a device of its own.

    Raises:
        ValueError: there is no such device here.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError, TypeError) as error:  # what torch says of a device that is not there
        raise ValueError(
            f"device={device!r} is none that models can be on here: {str(error).splitlines()[0]}; leave it out for {without}"
        ) from None


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


ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(value: object) -> str:
    """Its ``repr`` without the place in memory that Python tells of functions and plain objects, another in each process."""
    return ADDRESS.sub("", repr(value))


WORDS = 8192  # 64 KiB of 64-bit words, hashed together
TOGETHER = 16  # such blocks at once: what a processor's cache holds
SHARED = 8 * 2**20  # bytes from which several cores read together


def _multipliers() -> np.ndarray:
    """(WORDS,) odd 64-bit numbers without a pattern, the same in every version and process (Steele et al. 2014)."""
    mixed = np.arange(1, WORDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


MULTIPLIERS = _multipliers()
SHIFT = np.uint64(33)  # no multiple of a half, so that what differs alike in both halves of a word stays different


def fingerprint(*parts: object) -> str:
    """A content digest at memory speed: ten times as fast as :func:`digest`, of the same parts.

    It tells apart what differs by accident or by editing; it is no defence against someone who makes two contents meet.
    """
    large = [part for part in parts if _is_large(part)]
    if sum(part.nbytes for part in large) < SHARED:
        summaries = iter([_summary(part) for part in large])
    else:  # NumPy lets others run meanwhile, and one core alone cannot read as fast as memory gives
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            summaries = pool.map(_summary, large)
    return digest(*(next(summaries) if _is_large(part) else part for part in parts))


def _is_large(part: object) -> bool:
    """Whether reading a part costs more than the call that reads it."""
    return isinstance(part, (Tensor, np.ndarray)) and part.nbytes >= 8 * WORDS


def _summary(values: Tensor | np.ndarray) -> bytes:
    """Type, shape and the hash of each 64 KiB, the last of which may be shorter."""
    array = _as_array(values)
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat  # slices of .flat are copies, a few at a time
    step, room = TOGETHER * 8 * WORDS // array.itemsize, np.empty(TOGETHER * WORDS, np.uint64)
    summary = [f"{values.dtype}{tuple(values.shape)}".encode()]
    for start in range(0, array.size, step):
        words = _words(flat[start : start + step][None])[0]
        whole = len(words) // WORDS * WORDS
        summary += [
            _hashes(words[:whole].reshape(-1, WORDS), room).tobytes(),
            _hashes(words[None, whole:], room).tobytes(),
        ]
    return b"".join(summary)


def row_hashes(values: Tensor | np.ndarray) -> np.ndarray:
    """(n,) int64: a hash of the content of each row of (n, ...) values, at memory speed and without a copy of them.

    Each row is read as unsigned 64-bit words w; the hash is the sum of m_k · (w_k ^ w_k >> 33) modulo 2^64 with fixed
    odd m_k. The shift brings what differs in the highest bits alone, such as signs, to where the product spreads it. A
    signed shift would copy the sign and make complements alike, such as pictures x and 255 - x; one by 32 would make the
    signs of both float32 in a word cancel.
    """
    array = _as_array(values)
    count = len(array)
    size = array.nbytes // count if count else 0
    few = max(1, TOGETHER * 8 * WORDS // max(1, size))
    room = np.empty(TOGETHER * WORDS, np.uint64)
    parts = [_hashes(_words(array[start : start + few]), room) for start in range(0, count, few)]
    return np.concatenate(parts).view(np.int64) if parts else np.empty(0, np.int64)


def _as_array(values: Tensor | np.ndarray) -> np.ndarray:
    """A view as an array of plain numbers."""
    if isinstance(values, Tensor):
        values = values.detach().resolve_conj().resolve_neg().cpu()
        if values.dtype in (torch.bfloat16, torch.complex32):  # NumPy has none
            values = values.view(torch.int16 if values.dtype == torch.bfloat16 else torch.int32)
        values = values.numpy()
    return values


def _words(rows: np.ndarray) -> np.ndarray:
    """(r, w) the bytes of each row as 64-bit words, filled up with zeros."""
    rows = rows.astype(rows.dtype.newbyteorder("="), copy=False)  # another order of bytes is the same content
    rows = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    if rows.shape[1] % 8 or rows.ctypes.data % 8:
        padded = np.zeros((len(rows), -(-rows.shape[1] // 8) * 8), np.uint8)
        padded[:, : rows.shape[1]] = rows
        rows = padded
    return rows.view(np.uint64)


def _hashes(words: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(r,) of (r, w) words; rows longer than a block by the hashes of their blocks."""
    if words.shape[1] > WORDS:
        blocks = [_hashes(words[:, start : start + WORDS], room) for start in range(0, words.shape[1], WORDS)]
        return _hashes(np.stack(blocks, 1), room)
    mixed = room[: words.size].reshape(words.shape) if words.size <= room.size else np.empty(words.shape, np.uint64)
    np.bitwise_xor(np.right_shift(words, SHIFT, out=mixed), words, out=mixed)
    return np.einsum("rw,w->r", mixed, MULTIPLIERS[: words.shape[1]])


def tensors_of(model: nn.Module, without: str = "") -> list[object]:
    """The names and the tensors of a model, one after the other, for :func:`fingerprint` and :func:`digest`.

    Args:
        without: the name of a module whose own tensors do not count.
    """
    left_out = f"{without}." if without else None
    # One walk for both: named_parameters and named_buffers take three times as long.
    modules = [(f"{name}." if name else "", part) for name, part in model.named_modules(remove_duplicate=False)]
    parameters = [(name, part._parameters) for name, part in modules]
    buffers = [(name, part._buffers) for name, part in modules]
    return [
        part
        for name, own in (*parameters, *buffers)
        if own and (left_out is None or not name.startswith(left_out))
        for key, value in own.items()
        if value is not None
        for part in (name + key, value)
    ]


def same_tensors(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models have the same tensors under the same names, bit for bit, wherever they live.

    Of equal ones that takes half as long as a :func:`fingerprint` of one, of others it ends at the first that differs.
    """
    mine, others = tensors_of(first), tensors_of(second)
    with torch.no_grad():
        return mine[::2] == others[::2] and all(map(_same_bits, mine[1::2], others[1::2]))


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same; as bits, so that NaN is NaN and 0 is not -0."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.device != second.device:
        second = second.to(first.device)
    mine, other = (first.resolve_conj().resolve_neg().flatten(), second.resolve_conj().resolve_neg().flatten())
    ends = first.nbytes | first.itemsize * (mine.storage_offset() | other.storage_offset())
    whole = torch.uint8 if ends % 8 else torch.int64  # the wider, the fewer to compare
    return torch.equal(mine.view(whole), other.view(whole))


SAME = 100  # units in the last place by which answers may differ: as much as another number of threads does


def same(first: Any, second: Any) -> bool:
    """Whether two answers to the same question differ by rounding alone: tensors, and rows and mappings of them.

    What cannot be compared is not the same: nothing that rests on it may be kept.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)) and isinstance(second, (tuple, list)):
        return len(first) == len(second) and all(map(same, first, second))
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return (
            type(first) is type(second) and isinstance(first, (str, bool, int, float, type(None))) and first == second
        )
    if first.shape != second.shape or first.dtype != second.dtype or first.device != second.device:
        return False
    if torch.equal(first, second):
        return True
    largest = torch.maximum(first.abs(), second.abs()).nan_to_num(0.0, 0.0, 0.0).max() if first.numel() else 0.0
    slack = SAME * torch.finfo(first.dtype).eps * largest if first.is_floating_point() else 0.0
    return bool(torch.isclose(first, second, rtol=0.0, atol=float(slack), equal_nan=True).all())
