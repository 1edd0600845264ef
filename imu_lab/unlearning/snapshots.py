"""The weights after each recorded update: only what moves, and never more than a limit."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn

from ..tasks.networks.fresh import keeps_still

LIMIT = 256 * 2**20  # bytes; a linear readout of 650 parameters takes 160 kB over 60 updates

State = dict[str, Tensor]


def moving_state(model: nn.Module) -> State:
    """A copy of what moves in a model, by name: parameters, and the buffers beside them, such as running means.

    Beside them are, too, those of a layer without parameters in a part that moves: of BatchNorm without an affine map. Buffers
    that are no part of the model's state, such as masks, never move.
    """
    found = {name: value for name, value in model.named_parameters() if value.requires_grad}
    owners, kept = {name.rpartition(".")[0] for name in found}, model.state_dict().keys()
    for name, value in model.named_buffers():
        owner = name.rpartition(".")[0]
        if owner in owners or (name in kept and not keeps_still(model, owner)):
            found[name] = value
    return {name: value.detach().clone() for name, value in found.items()}


class Snapshots:
    """What moves in a model, after its recorded updates, by update.

    Where they would exceed ``limit`` bytes, only every second, fourth, ... is kept (and always the first and the
    newest), so a long run of a large model keeps an even, coarser row of them.
    """

    def __init__(self, kept: Mapping[int, State] | None = None, limit: int = LIMIT) -> None:
        self.limit = limit
        self.kept: dict[int, State] = dict(kept or {})
        self._order: list[int] = list(self.kept)  # all that were ever added
        self._stride = 1

    @property
    def bytes(self) -> int:
        """What they hold now."""
        return sum(map(_size, self.kept.values()))

    def add(self, step: int, state: State) -> None:
        """Keep what moves, as it is after update ``step``; nobody may write to it afterwards."""
        self._order.append(step)
        self.kept[step] = {name: value.cpu() for name, value in state.items()}
        if self._stride == 1 and len(self.kept) * _size(state) <= self.limit:  # all of one size: no need to count each
            return
        self._thin()
        while self.bytes > self.limit and len(self.kept) > 2:
            self._stride *= 2
            self._thin()

    def _thin(self) -> None:
        wanted = {*self._order[:: self._stride], self._order[-1]}
        for dropped in [step for step in self.kept if step not in wanted]:
            del self.kept[dropped]

    def write(self, step: int, model: nn.Module) -> nn.Module:
        """Put what moved, as it was after update ``step``, which is kept, into ``model``, which is returned."""
        values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        with torch.no_grad():
            for name, value in self.kept[step].items():
                values[name].copy_(value)
        return model

    def renamed(self, prefix: str) -> Snapshots:
        """The same snapshots for a model that holds this one under ``prefix``."""
        inside = f"{prefix}." if prefix else ""
        return Snapshots(
            {step: {inside + name: value for name, value in state.items()} for step, state in self.kept.items()}
        )

    def pack(self) -> bytes:
        """As safetensors bytes; empty without any."""
        flat = {f"{step}/{name}": value for step, state in self.kept.items() for name, value in state.items()}
        return safetensors.torch.save({name: value.contiguous() for name, value in flat.items()}) if flat else b""

    @classmethod
    def unpack(cls, data: bytes) -> Snapshots:
        """From what :meth:`pack` gave."""
        kept: dict[int, State] = {}
        for key, value in (safetensors.torch.load(data) if data else {}).items():
            step, name = key.split("/", 1)
            kept.setdefault(int(step), {})[name] = value
        return cls(dict(sorted(kept.items())))


def _size(state: State) -> int:
    return sum(value.nbytes for value in state.values())
