"""Saved records are whole or refused, never unpickled, never silently replaced."""

from __future__ import annotations

import ast
import json
import os
import zipfile
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest

import imu_lab as imu
from imu_lab.core import storage
from imu_lab.core.storage import DamagedFile

LIBRARY = Path(storage.__file__).parent
TABLE = pd.DataFrame({"step": [0, 1], "value": [0.5, float("nan")], "name": ["a", "ü"]})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A whole record on disk."""
    path = tmp_path / "a.imu"
    storage.write_whole(path, storage.pack("run", {"curve": TABLE}, {"lr": 1e-3}, b"weights"))
    return path


def test_round_trip(saved: Path) -> None:
    tables, about, weights = storage.unpack(saved, "run")
    pd.testing.assert_frame_equal(tables["curve"], TABLE)
    assert about == {"lr": 1e-3} and weights == b"weights"


def test_the_home_folder_is_meant_and_none_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # as Windows calls it
    run = imu.unlearn(cases.task("toy"), cases.original("toy"), steps=2)
    assert run.save("~/kept/run.imu") == tmp_path / "kept" / "run.imu"
    assert imu.load_run("~/kept/run.imu").curve.equals(run.curve)
    held = imu.statistics(cases.task("toy"), cases.original("toy"))
    assert held.save("~/held") == tmp_path / "held" and imu.load_statistics("~/held").digest == held.digest
    assert run.report("~/report.html") == tmp_path / "report.html"
    monkeypatch.setenv("IMU_LAB_DATA", "~/data")
    assert storage.data_folder() == tmp_path / "data"


def test_a_truncated_file_is_refused_at_every_length(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    short = tmp_path / "short.imu"
    for length in [*range(0, len(data), 97), len(data) - 1]:
        short.write_bytes(data[:length])
        with pytest.raises(DamagedFile, match="short.imu"):
            storage.unpack(short, "run")


def test_a_changed_byte_is_noticed_or_harmless(saved: Path, tmp_path: Path) -> None:
    data, broken, refused = bytearray(saved.read_bytes()), tmp_path / "broken.imu", 0
    for place in range(0, len(data), 41):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        broken.write_bytes(changed)
        try:
            tables, about, weights = storage.unpack(broken, "run")
        except DamagedFile:
            refused += 1
        else:
            assert about == {"lr": 1e-3} and weights == b"weights"
            pd.testing.assert_frame_equal(tables["curve"], TABLE)
    assert refused > len(data) / 41 / 2


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"readme.txt": "hello"},
        {"record.json": "[]"},
        {"record.json": "{}"},
        {"record.json": "null"},
        {"record.json": "not json"},
        {"record.json": json.dumps({"format": storage.FORMAT, "kind": "run"})},
        {"record.json": json.dumps({"format": storage.FORMAT, "kind": "run", "about": {}}), "x.parquet": "no"},
    ],
    ids=["empty", "no record", "list", "no format", "null", "no json", "no settings", "no parquet"],
)
def test_a_foreign_zip_is_refused(tmp_path: Path, members: dict[str, str]) -> None:
    path = tmp_path / "foreign.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    with pytest.raises(DamagedFile, match="foreign.zip"):
        storage.unpack(path, "run")


@pytest.mark.parametrize("data", [b"", b"PK", b"\x80\x04K\x01.", b"text " * 100])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.bin"
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="foreign.bin"):
        storage.unpack(path, "run")


def test_a_record_of_another_kind_is_refused(saved: Path) -> None:
    with pytest.raises(DamagedFile, match="'run'.*not a scores"):
        storage.unpack(saved, "scores")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile):
        storage.unpack(tmp_path, "run")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.imu"):
        storage.unpack(tmp_path / "nothing.imu", "run")


def test_an_existing_file_is_kept_unless_overwriting_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.imu"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="a.imu exists already.*overwrite=True"):
        storage.write_whole(path, b"new", overwrite=False)
    assert path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["a.imu"]
    storage.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.imu"
    path.write_bytes(b"mine")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_whole(path, b"new")
    assert path.read_bytes() == b"mine" and os.listdir(tmp_path) == ["a.imu"]


def test_arrays_are_written_whole(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    storage.write_array(tmp_path / "new" / "a.npy", values)
    assert np.array_equal(np.load(tmp_path / "new" / "a.npy", allow_pickle=False), values)


def test_nothing_in_the_library_can_unpickle() -> None:
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "dill", "joblib", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = ast.unparse(node.func)
                assert call not in ("torch.load", "torch.save", "pd.read_pickle"), path
                if call == "np.load":
                    assert "allow_pickle=False" in ast.unparse(node), path
