"""What one slider move costs on digits, 200 updates at CIFAR's size, and what is kept at equal forgetting."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import torch

import imu_lab as imu
from imu_lab.core.running import copied, one_thread
from imu_lab.features.kronecker import damped
from imu_lab.lab.session import Session
from imu_lab.unlearning.allocation import allocate, exchange

from .influence import linear_task
from .measure import Row, seconds


def rows() -> Iterator[Row]:
    """The table's rows on unlearning."""
    task = imu.tasks.Classification("digits", forget_class=3)
    original, retrained = imu.train(task), imu.train(task, "retain")
    damping = iter(range(1, 10_000))

    def answer() -> None:
        scores = imu.influence(task, original, damping=1e-3 * next(damping))
        imu.unlearn(task, original, imu.intensity(scores), steps=60, reference=retrained)

    (taken,) = seconds(answer, rounds=15, warmup=3)
    yield Row("digits: influence + intensity + 60 recorded updates + curves", 1e3 * taken, 60, unit="ms")
    yield from cifar_sized()
    yield from directions(task, original)
    yield turned_updates(512)
    yield from allocations()
    yield from kept()


def directions(task: imu.tasks.Classification, original: torch.nn.Module) -> Iterator[Row]:
    """What a turned update costs beside a plain one, the statistic at hand; the measuring in between is in both."""
    kept = imu.statistics(task, original)
    how = {"steps": 200, "record_every": 200, "step_norm": 0.01}

    def turned() -> None:
        imu.unlearn(task, original, method="curvature-ascent", statistics=kept, **how)

    plain, curved = seconds(lambda: imu.unlearn(task, original, **how), turned, rounds=9)
    yield Row("digits: 200 updates of curvature-ascent / of imu", curved / plain, 1.3)


def turned_updates(wide: int) -> Row:
    """Updates alone, of 256 of 500 samples at a time: the turn reads a matrix of wide² numbers besides."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(2_000, wide, generator=generator).relu(), torch.arange(2_000) % 10
    task = imu.tasks.Classification.from_data(
        torch.nn.Linear(wide, 10), (rows, labels), (rows[:50] + 1, labels[:50]), forget_indices=range(500)
    )
    original = imu.train(task)
    task, head = Session(task, original).view()
    held = imu.statistics(task, head)
    forget = task.split("forget")
    request = imu.Request(forget, torch.full((len(forget),), 1 / len(forget)), statistics=held)

    def updates(name: str) -> Callable[[], object]:
        made = imu.methods.create(name, lr=1e-4)(task, copied(head), request)
        return lambda: deque(islice(made, 20), maxlen=0)

    with one_thread():
        plain, curved = seconds(updates("imu"), updates("curvature-ascent"), rounds=60, clock=time.thread_time)
    return Row(f"n = 500, d = {wide}, K = 10: an update of curvature-ascent / of imu", curved / plain, 1.3)


def allocations() -> Iterator[Row]:
    """One joint allocation for many samples, and what the non-negative least squares of a library takes for the same."""
    generator = torch.Generator().manual_seed(0)
    for count, target in ((1_000, 50), (5_000, 500)):
        inputs = torch.cat([torch.randn(count, 64, generator=generator).relu(), torch.ones(count, 1)], 1)
        classes = torch.arange(count) % 10
        errors = (
            torch.randn(count, 10, generator=generator).add(4 * torch.eye(10)[classes]).softmax(1)
            - torch.eye(10)[classes]
        )
        factors = (
            damped(inputs.double().T @ inputs.double() / count, 0.1),
            damped(torch.eye(10, dtype=torch.float64), 0.1),
        )
        given = exchange(errors, inputs, *factors)
        with one_thread():
            (taken,) = seconds(lambda given=given: allocate(given), rounds=5)
        yield Row(f"joint allocation, n = {count:,}, d = 64, K = 10", 1e3 * taken, target, unit="ms")


def cifar_sized() -> Iterator[Row]:
    """Updates at CIFAR's size with every split measured at each, and what the products of that measuring take alone."""
    features = linear_task(50_000, 64, 10, torch.float32).labelled
    generator = torch.Generator().manual_seed(1)
    test = torch.randn(10_000, 64, generator=generator), torch.arange(10_000) % 10
    task = imu.tasks.Classification.from_data(
        torch.nn.Linear(64, 10), tuple(features.train.batch()), test, forget_indices=range(5_000)
    )
    original = imu.train(task)
    weights = imu.intensity(imu.influence(task, original))
    whole = [task.split(split).batch().inputs for split in ("forget", "retain", "test")]
    session, head = imu.Session(task, original), copy.deepcopy(original).requires_grad_(False)

    def run(steps: int = 60) -> None:
        session.unlearn(weights, steps=steps, lr=1e-4)

    def products() -> None:
        for _ in range(60):
            for rows in whole:
                head(rows)

    with one_thread():
        taken, alone = seconds(run, products, rounds=7)
    what = "recorded updates, n = 5,000, retain 45,000, test 10,000, d = 64"
    yield Row(f"60 {what}", taken, 0.2, unit="s")
    yield Row(f"60 {what} / a product for each split and state alone", taken / alone, 1.5)
    (taken,) = seconds(lambda: run(200), rounds=3)
    yield Row(f"200 {what}", taken, 2, unit="s")


def kept() -> Iterator[Row]:
    """Digits, class 3, five seeds: what retain accuracy loses by forget accuracy 1 %, in points."""
    task = imu.tasks.Classification("digits", forget_class=3)
    for length in (None, 0.02):
        for rule in ("sqrt-clipped", "uniform", "shuffled", "gradient-norm"):
            lost, updates = [], []
            for seed in range(5):
                original = imu.train(task, seed=seed)
                weights = imu.intensity(imu.influence(task, original), rule)
                run = imu.unlearn(task, original, weights, steps=300, stop_at=0.01, step_norm=length)
                row = imu.compare(run, at_forget=0.01).iloc[0]
                lost.append(-100 * row["retain accuracy change"])
                updates.append(row["updates"])
            name = (
                f"digits, {rule}, {'equal' if length else 'plain'} steps, {min(updates):.0f}-{max(updates):.0f} updates"
            )
            yield Row(f"{name}: worst loss of retain accuracy over 5 seeds", max(lost), 2, unit="points")
            yield Row(f"{name}: mean loss", sum(lost) / 5, 1, unit="points")
