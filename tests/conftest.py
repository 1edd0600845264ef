"""What all tests share: one folder for checkpoints, and which cases of a test `make check` takes."""

from __future__ import annotations

import gc
import os
import random
import zlib
from collections.abc import Iterator
from itertools import groupby

import pytest
from few import few

pytest_plugins = ["browser"]

LEFT = {"browser", "slow", "full"}  # what `make check` leaves to `make test`


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


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    """torch's number of threads is the whole process's: left at two by one test, all later ones wait for each other."""
    import torch  # which the process that hands out the tests does not need

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def drawn_anew(name: str) -> None:
    """Seed all generators by a name, so that what is drawn next does not depend on what was drawn before."""
    import numpy as np
    import torch

    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)
    # torch.manual_seed also writes down for CUDA from where it was called: 20 s of `make check`.
    torch.default_generator.manual_seed(seed)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef) -> Iterator[object]:
    """A fixture that draws without a seed of its own draws the same in every order of tests, and in every process."""
    drawn_anew(f"{fixturedef.baseid} {fixturedef.argname}")
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """So does a test: one that fails by its draw fails always, and is found when it is written."""
    drawn_anew(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end: nobody need look through it again for what can go."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)  # before cases are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked ``few``, the cases that `make check` leaves to `make test` carry the mark ``full``."""
    for _, group in groupby(items, lambda item: (item.parent, getattr(item, "originalname", item.name))):
        cases = [item for item in group if not LEFT & {mark.name for mark in item.iter_markers()}]
        if cases and (mark := cases[0].get_closest_marker("few")):
            taken = few(
                [{name: id(value) for name, value in case.callspec.params.items()} for case in cases], *mark.args
            )
            for place in set(range(len(cases))) - set(taken):
                cases[place].add_marker("full")
