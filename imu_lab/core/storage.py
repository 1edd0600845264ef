"""A saved record: tables as parquet, provenance as JSON, weights as safetensors, in one zip file.

Written to a temporary name and renamed, so a file is whole or absent; each member carries a checksum, so a truncated
file is noticed; nothing is ever unpickled or silently overwritten.
"""

from __future__ import annotations

import io
import json
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd

FORMAT = "imu_lab record 1"
SNAPSHOTS, STATISTIC = "snapshots.safetensors", "statistic.safetensors"


def data_folder() -> Path:
    """Where checkpoints and decoded images are kept: ``$IMU_LAB_DATA``, else ``data/`` of the checkout, else a cache."""
    if os.environ.get("IMU_LAB_DATA"):
        return path_of(os.environ["IMU_LAB_DATA"])
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").exists() else Path.home() / ".cache" / "imu_lab"


def path_of(given: str | os.PathLike) -> Path:
    """A path that a user gave; ``~`` is their home folder, and no folder of that name."""
    return Path(os.path.expanduser(given))


class DamagedFile(ValueError):
    """A file that is not a whole record of ours."""


def write_whole(path: Path, data: bytes, overwrite: bool = True) -> None:
    """Write bytes so that ``path`` is either what it was or all of ``data``.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(data)
        if not overwrite and path.exists():
            raise FileExistsError(f"{path} exists already; give another path, or overwrite=True to replace it")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path, given: str) -> None:
    """Make a folder, and make sure that files can be written to it, before the work that is to be kept there.

    Args:
        given: what the caller calls it, such as ``"folder="``.

    Raises:
        ValueError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{given}{folder} cannot be written to ({error.strerror or error}); name another folder, or leave it out"
        ) from error


def write_array(path: Path, values: np.ndarray) -> None:
    """Write a NumPy array as ``.npy``, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    write_whole(path, buffer.getbuffer())


def pack(
    kind: str,
    tables: Mapping[str, pd.DataFrame],
    about: Mapping[str, Any],
    weights: bytes = b"",
    snapshots: bytes = b"",
    statistic: bytes = b"",
) -> bytes:
    """One zip of these tables, settings and safetensors bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        record = {"format": FORMAT, "kind": kind, "about": about}
        file.writestr("record.json", json.dumps(record, indent=1, default=_number))
        for name, table in tables.items():
            file.writestr(f"{name}.parquet", table.to_parquet(index=False))
        for name, data in {"weights.safetensors": weights, SNAPSHOTS: snapshots, STATISTIC: statistic}.items():
            if data:
                file.writestr(name, data)
    return buffer.getvalue()


def _number(value: Any) -> Any:
    """A NumPy number as Python's, which JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a saved record holds plain values only, not {value!r}")


def unpack(path: str | Path, kind: str) -> tuple[dict[str, pd.DataFrame], dict[str, Any], bytes]:
    """The tables, settings and safetensors bytes of a saved record.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFile: the file is truncated, altered, or not a record of this kind.
    """
    path = path_of(path)
    if not path.exists():
        raise FileNotFoundError(f"no saved {kind} at {path}")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
            if damaged:
                raise DamagedFile(f"{path} is damaged: {damaged} inside it fails its checksum")
            members = {name: file.read(name) for name in file.namelist()}
        record = json.loads(members.pop("record.json"))
        held = (record.get("kind"), record.get("format")) if isinstance(record, dict) else (None, None)
        if held != (kind, FORMAT):
            raise DamagedFile(f"{path} holds {held[0]!r} in {held[1]!r}, not a {kind} in {FORMAT!r}")
        about = record["about"]
        weights = members.pop("weights.safetensors", b"")
        for name in (SNAPSHOTS, STATISTIC):  # read by :func:`member`, by those who need them
            members.pop(name, None)
        tables = {name.removesuffix(".parquet"): pd.read_parquet(io.BytesIO(data)) for name, data in members.items()}
    except DamagedFile:
        raise
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RuntimeError) as error:  # parquet's are ValueErrors
        raise DamagedFile(
            f"{path} is not a whole saved {kind} ({error}); it may be truncated or another program's"
        ) from error
    return tables, about, weights


def member(path: str | Path, name: str) -> bytes:
    """The safetensors bytes of ``SNAPSHOTS`` or ``STATISTIC`` in a record that :func:`unpack` has found whole; empty without."""
    with zipfile.ZipFile(path_of(path)) as file:
        return file.read(name) if name in file.namelist() else b""
