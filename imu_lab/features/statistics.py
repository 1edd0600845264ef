"""What a training set leaves behind for a later unlearning: a few means over it, and none of its examples."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core import storage
from ..core.arguments import checked
from ..core.messages import listed, unknown
from ..core.running import digest, fingerprint, tensors_of
from ..tasks.protocol import Examples, Task, own_data_key
from .gauss_newton import DENSE_LIMIT, curvature_of
from .gradients import GeneralGradients, LinearGradients, gradients_of
from .kronecker import SUMS, Unserved, moments, why_not
from .layered import OF, by_layer, layer_moments

MATRIX = "matrix"  # the whole Gauss-Newton matrix, where it is small
USUAL = ("S", "G")
SQUARES = "squares"  # of each example's own gradient
PARTS = (*SUMS, MATRIX, SQUARES)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Means over a training set under one model: all that a method that declares them learns of the training set.

    Attributes:
        parts: by name, in double precision. ``"S"`` (D, D) is mean a aᵀ of the rows a = [h; 1] that reach the readout;
            ``"G"`` (K, K) is mean (diag p − ppᵀ) of its answers, each times its factor in the loss, such as the weight of a
            class; ``"diagonal"`` (K, D) is that of the Gauss-Newton matrix, and ``"matrix"`` (P, P) the whole of it;
            ``"squares"`` (K, D) is mean g∘g of the examples' own gradients, the diagonal
            of the empirical Fisher matrix. D counts the bias. Of a readout of several layers each has its own,
            ``"S of <layer>"`` and ``"G of <layer>"``, and each parameter ``"squares of <parameter>"``.
        rows: n, how many rows the means are over; positions of a sequence count one by one.
        examples: N, how many training examples.
        about: ``model`` a digest of the model, ``readout`` the modules that may move, ``data`` the digest of the data or
            None where it has none, ``task`` in words, ``without`` why a usual part is missing, by name.
    """

    parts: Mapping[str, Tensor]
    rows: int
    examples: int
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def S(self) -> Tensor:  # noqa: N802  the letter of the formulas
        """(D, D) mean a aᵀ."""
        return self.part("S")

    @property
    def G(self) -> Tensor:  # noqa: N802
        """(K, K) mean (diag p − ppᵀ)."""
        return self.part("G")

    @property
    def n(self) -> int:
        """How many rows the means are over."""
        return self.rows

    @property
    def digest(self) -> str:
        """Of everything in it."""
        held = [value for name in sorted(self.parts) for value in (name, self.parts[name])]
        return digest(*held, self.rows, self.examples, *(self.about.get(key) for key in ("model", "readout", "data")))

    def part(self, name: str) -> Tensor:
        """One of the means.

        Raises:
            ValueError: it is not held, with the reason where there is one.
        """
        if name in self.parts:
            return self.parts[name]
        if reason := self.about.get("without", {}).get(name):
            raise ValueError(reason)
        if mine := [key for key in self.parts if key.startswith(f"{name}{OF}")]:
            raise ValueError(
                f"each layer of this readout has its own {name}: ask for part({mine[0]!r}), or for another of {listed(mine)}"
            )
        raise ValueError(
            f"this statistic holds {listed(list(self.parts))}, not {name!r}; make one that does with "
            f"imu.statistics(task, model, parts=({name!r},))"
        )

    def only(self, names: Iterable[str]) -> Statistics:
        """The same with these parts alone, of every layer.

        Raises:
            ValueError: one is not held.
        """
        layers, kept = by_layer(self.parts), {}
        for name in names:
            mine = {f"{name}{OF}{layer}": found[name] for layer, found in layers.items() if name in found}
            kept |= mine or {name: self.part(name)}
        return replace(self, parts=kept)

    def holds(self, names: Iterable[str]) -> bool:
        """Whether it has these parts."""
        return all(any(part == name or part.startswith(name + OF) for part in self.parts) for name in names)

    def copied(self) -> Statistics:
        """One of its own: editing it changes nothing here."""
        return replace(
            self, parts={name: value.clone() for name, value in self.parts.items()}, about=copy.deepcopy(self.about)
        )

    def check(self, model: nn.Module, names: tuple[str, ...], data: str | None = None) -> None:
        """Make sure that it speaks of this model, these modules and these data.

        Args:
            data: the digest of the task's data (:func:`own_data_key`); None where they have none, and are not compared.

        Raises:
            ValueError: it was made of another model, of another readout, or of other data.
        """
        mine, made = ", ".join(names) or "all", ", ".join(self.about.get("readout", ())) or "all"
        if list(names) != list(self.about.get("readout", ())):
            raise ValueError(
                f"this statistic was made for the readout {made}, and this task's is {mine}; make one with "
                "imu.statistics(task, model)"
            )
        if self.about.get("model") != _digest(model):
            raise ValueError(
                "this statistic was made of another model: its weights are not those of the model to unlearn; make one with "
                "imu.statistics(task, model)"
            )
        if data is not None and self.about.get("data") not in (None, data):
            raise ValueError(
                "this statistic was made of other data, or under another loss, than this task has; make one with "
                "imu.statistics(task, model)"
            )

    @checked
    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write it to one file that :func:`imu_lab.load_statistics` reads.

        Raises:
            FileExistsError: the path is taken and ``overwrite`` is False.
        """
        storage.write_whole(where := storage.path_of(path), storage.pack("statistic", {}, *self.packed()), overwrite)
        return where

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """Plain values, and the means as safetensors: what :meth:`unpacked` reads."""
        import safetensors.torch

        about = {"rows": self.rows, "examples": self.examples, **self.about}
        return about, safetensors.torch.save({name: value.contiguous() for name, value in self.parts.items()})

    @classmethod
    def unpacked(cls, about: Mapping[str, Any], held: bytes, path: str | Path) -> Statistics:
        """From what :meth:`packed` gave.

        Raises:
            DamagedFile: it is not whole.
        """
        import safetensors.torch

        try:
            rest = {name: value for name, value in about.items() if name not in ("rows", "examples")}
            return cls(safetensors.torch.load(held), int(about["rows"]), int(about["examples"]), rest)
        except (KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
            raise storage.DamagedFile(f"{path} holds no whole statistic ({error})") from error

    def __repr__(self) -> str:
        held = ", ".join(f"{name} {' × '.join(map(str, value.shape))}" for name, value in self.parts.items())
        readout = ", ".join(self.about.get("readout", ())) or "all"
        return f"Statistics({held} over {self.rows} rows of {self.examples} examples, readout {readout})"


def collect(
    task: Task, model: nn.Module, examples: Examples, parts: Iterable[str] | None = None, about: Mapping | None = None
) -> Statistics:
    """The means over these examples, in one pass over them for all but the matrix.

    Args:
        task, model: possibly seen from the readout, so that the features are those of the cache.
        parts: of ``PARTS``; None for the usual ones, S and G, of which G is left out where it cannot be had.
        about: what the record says of where it came from.

    Raises:
        UnknownName: a part that does not exist.
        ValueError: one that cannot be had, with the reason.
    """
    wanted = USUAL if parts is None else (parts,) if isinstance(parts, str) else tuple(parts)
    for name in wanted:
        if name not in PARTS:
            raise unknown("part of a statistic", name, PARTS)
    without, found, rows = {}, {}, len(examples)
    if sums := [name for name in wanted if name in SUMS]:
        gradients = gradients_of(task, model)
        if parts is None:
            without = {name: reason for name in sums if (reason := why_not(name, gradients, examples))}
        found, rows = means_of(gradients, examples, [name for name in sums if name not in without])
    if MATRIX in wanted:
        found[MATRIX] = _matrix(task, model, examples)
    if SQUARES in wanted:
        found |= squares_of(gradients_of(task, model), examples)
    held = {name: value.cpu() for name, value in found.items()}
    return Statistics(held, rows, len(examples), dict(about or {}) | {"without": without})


def means_of(
    gradients: LinearGradients | GeneralGradients, examples: Examples, names: Iterable[str]
) -> tuple[dict[str, Tensor], int]:
    """Means by name, of one linear layer or of each of several; and over how many rows."""
    make = moments if isinstance(gradients, LinearGradients) else layer_moments
    return make(gradients, examples, names)


def squares_of(gradients: LinearGradients | GeneralGradients, examples: Examples) -> dict[str, Tensor]:
    """``"squares"``, mean g∘g over examples: (K, D) of one linear layer, else of each parameter by its name."""
    found = {name: part.double() for name, part in gradients.moments(examples)[1].items()}
    if not isinstance(gradients, LinearGradients):
        return {f"{SQUARES}{OF}{name}": part for name, part in found.items()}
    weight, *bias = found.values()
    return {SQUARES: torch.cat([weight, bias[0][:, None]], 1) if bias else weight}


def linear_gradients(task: Task, model: nn.Module, who: str = "this needs", instead: str = "") -> LinearGradients:
    """The closed forms of a readout that is one linear layer; of another a ValueError says ``who`` needs it, and what to do."""
    gradients = gradients_of(task, model)
    if isinstance(gradients, LinearGradients):
        return gradients
    raise ValueError(
        f"{who} a readout that is one linear layer producing the output; this one acts on {gradients.described}{instead}"
    )


def _matrix(task: Task, model: nn.Module, examples: Examples) -> Tensor:
    curvature = curvature_of(task, model, examples)
    if curvature.size > DENSE_LIMIT:
        raise Unserved(
            f"the Gauss-Newton matrix of {curvature.size:,} parameters would take {curvature.size**2 * 8 / 2**30:.1f} GiB, and "
            f"{DENSE_LIMIT:,} are the most that it is formed for",
            'factors="both"',
            'curvature="forget"',
        )
    return curvature.matrix()


def load_statistics(path: str | Path) -> Statistics:
    """A statistic that was saved with ``statistics.save``.

    Raises:
        FileNotFoundError: no such file.
        DamagedFile: truncated, altered or foreign.
    """
    _, about, held = storage.unpack(path, "statistic")
    return Statistics.unpacked(about, held, path)


def origin_of(task: Task, model: nn.Module, names: Iterable[str]) -> dict[str, Any]:
    """What a statistic says of where it came from: the model, the modules that may move, the data."""
    words = repr(task).splitlines()[0]
    return {"model": _digest(model), "readout": list(names), "data": own_data_key(task), "task": words}


def _digest(model: nn.Module) -> str:
    """Of a model's tensors, wherever they lie."""
    return fingerprint(*tensors_of(model))
