"""Per-sequence influence at the published setting against a forward pass and against the reference's loop."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import gradients
from imu_lab.lab.session import Session

from .influence import forward, reference_loop
from .measure import Row, peak_mib, seconds


def rows() -> Iterator[Row]:
    """The table's rows on sequences. Weights do not matter for time: the paper's network is used as it is born."""
    task, model = published()
    some = task.split("forget").take(torch.arange(0, 8_000, 8))
    with one_thread():
        (pass_over_some,) = seconds(lambda: gradients.explicit(task, model, some), rounds=1, warmup=0)
        plain, ours = seconds(lambda: forward(task, model), lambda: fresh(task, model), rounds=5)
    yield Row("influence of 8,000 sequences, nothing cached / forward pass", ours / plain, 1.25)
    by_loop = 2 * 8 * pass_over_some  # the reference passes twice over all; the loop's time grows with the number
    yield Row("per-sample autograd loop (timed on 1,000) / ours, 8,000 sequences", by_loop / ours, 5.5, least=True)
    alone = "from benchmarks.sequence import memory; print(memory())"  # a process of its own: no freed pages to reuse
    taken = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True).stdout
    yield Row("memory above the 74 MiB of features, 8,000 sequences", float(taken), 150, unit="MiB")
    yield Row("closed form against the loop, 200 sequences", difference(), 1e-3, unit="of the largest")
    yield Row("small preset, cold: training the original", trained(), 20, unit="s")


def published() -> tuple[imu.tasks.Task, nn.Module]:
    """The published setting, both sources to be forgotten, with a network as it is born."""
    task = imu.tasks.Sequence("paper", forget_sources=(1, 2))
    return task, task.make_model(0).eval()


def memory() -> float:
    """MiB that the influences of 8,000 sequences need above their cached features."""
    task, model = published()
    forward(imu.tasks.Sequence("small", forget_sources=(1,)), model)  # what the libraries take at their first use
    with one_thread():
        return peak_mib(lambda: fresh(task, model)) - 8_000 * 19 * 128 * 4 / 2**20


def fresh(task: imu.tasks.Task, model: nn.Module) -> imu.Influence:
    """The user's verb with nothing cached: one forward pass that keeps the features, then the closed form."""
    imu.clear_caches()
    return Session(task, model).influence()


def difference() -> float:
    """Largest difference to the loop over the largest value, on a model of the small preset."""
    task = imu.tasks.Sequence("small", forget_sources=(1,))
    sides = (task.corpus.train, task.corpus.test)
    few = imu.tasks.Sequence.from_data(*(tuple(part[::4] for part in side) for side in sides))
    model = imu.train(few)
    loop = reference_loop(few, model).double().numpy()
    return float(abs(imu.influence(few, model).values - loop).max() / abs(loop).max())


def trained() -> float:
    """Seconds to train the small preset's model, checkpoints aside."""
    task = imu.tasks.Sequence("small", forget_sources=(1,))
    model, examples = task.make_model(0), task.split("train")
    start = time.perf_counter()
    list(imu.tasks.training.epochs(task, model, examples, task.recipe, 0))
    return time.perf_counter() - start
