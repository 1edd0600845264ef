"""What all tests share: one folder for checkpoints, so that each model is trained once in a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest_plugins = ["browser"]


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A fresh ``IMU_LAB_DATA`` for the session, unless one is given; the kernels of notebooks inherit it.

    Where several processes share the tests, as in `make check`, they share the folder, too.
    """
    together = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp().parent / "data" if together else tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("IMU_LAB_DATA"):
            patch.setenv("IMU_LAB_DATA", str(folder))
        yield
