"""The re-identification default: training time, what evaluation costs, and its difficulty."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.tasks import ranking
from imu_lab.tasks.sources.drawing import people

from .measure import Row, peak_mib, seconds


def rows() -> Iterator[Row]:
    """The table's rows on the drawn people."""
    yield Row("drawing the people, cold", drawn(), 5, unit="s")
    yield Row(
        "memory to rank 19,732 gallery pictures for 500 queries, d = 512, streamed", market_sized(), 1_024, unit="MiB"
    )
    task = imu.tasks.ReID("figures", forget_persons=(7,))
    original, taken = trained(task, "train")
    yield Row("training the original, cold", taken, 60, unit="s")
    retrained, _ = trained(task, "retain")
    with one_thread():
        forward, evaluated = seconds(lambda: passed(task, original), lambda: everything(task, original), rounds=5)
    yield Row("evaluating every split / one forward pass over all pictures", evaluated / forward, 2)
    yield Row("50 recorded updates of the readout, as a share of a cold training", updates(task, original) / taken, 0.5)
    found = {model: task.evaluate(model, "test-forget")["map"] for model in (original, retrained)}
    others = task.evaluate(original, "test")["map"]
    yield Row("mAP of the others, original (neither 1 ...", others, 0.95, unit="")
    yield Row("... nor chance)", others, 0.5, least=True, unit="")
    yield Row("mAP of the forgotten, retrained / original", found[retrained] / found[original], 0.9)


def market_sized() -> float:
    """MiB above the embeddings, of Market-1501's gallery by six cameras; how many queries decides nothing but time."""
    generator = torch.Generator().manual_seed(0)

    def seen(count: int) -> ranking.Seen:
        persons, cameras = (torch.randint(low, high, (count,), generator=generator) for low, high in ((0, 751), (1, 7)))
        return ranking.Seen(torch.randn(count, 512, generator=generator), persons, cameras)

    query, gallery = seen(500), seen(19_732)
    return peak_mib(lambda: ranking.scores(query, gallery))


def drawn() -> float:
    """Seconds to draw all pictures."""
    people.figures.cache_clear()
    start = time.perf_counter()
    people.figures(0)
    return time.perf_counter() - start


def trained(task: imu.tasks.Task, split: str) -> tuple[nn.Module, float]:
    """The model, and the seconds it took to train, checkpoints aside."""
    model, examples = task.make_model(0), task.split(split)
    start = time.perf_counter()
    list(imu.tasks.training.epochs(task, model, examples, task.recipe, 0))
    return model.eval(), time.perf_counter() - start


def passed(task: imu.tasks.Task, model: nn.Module) -> None:
    """One forward pass over everything that an evaluation looks at."""
    with torch.no_grad():
        for split in ("train", "gallery"):
            for _, batch in task.split(split).batches():
                model(batch.inputs)


def everything(task: imu.tasks.Task, model: nn.Module) -> None:
    """All splits measured, with nothing remembered."""
    ranking._remembered.clear()
    for split in task.splits:
        task.evaluate(model, split)


def updates(task: imu.tasks.Task, model: nn.Module) -> float:
    """Seconds for 50 updates on cached features, every one recorded on every split."""
    weights = imu.intensity(imu.influence(task, model))
    start = time.perf_counter()
    imu.unlearn(task, model, weights, steps=50)
    return time.perf_counter() - start
