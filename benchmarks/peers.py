"""The neighbours on the same quantity: one thread, this process's own seconds, from fresh data to the numbers.

What torch itself offers is always measured. Other libraries are measured where they are installed, in an environment of
their own beside this one, as ``PYTHONPATH=. /path/to/its/python -m benchmarks peers``; else the row says what is missing.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, vmap

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import view

from .measure import Row, Skipped, allocated_mib, seconds

DAMPING = 1e-2
STEPS = 10  # of conjugate gradients, dattri's default
Data = tuple[nn.Linear, Tensor, Tensor]  # a head, features (n, d) and labels (n,)


def rows() -> Iterator[Row | Skipped]:
    """The table's rows on the neighbours."""
    with one_thread():
        yield from cold()
        for size in ((360, 64, 10), (1_000, 64, 10), (5_000, 64, 10)):
            yield from exact(size)
        yield from kronfluence((1_000, 64, 10))
        yield from memory((5_000, 512, 10))


def drawn(size: tuple[int, int, int], seed: int = 0) -> Data:
    """Features of ``size`` (n, d, K), rectified as a network's are, under a head that knows four labels of five."""
    samples, width, classes = size
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(samples + 200, width, generator=generator).relu()
    torch.manual_seed(seed)
    head = nn.Linear(width, classes)
    with torch.no_grad():
        head.weight *= 3
        labels = head(features).argmax(1)
    labels[::5] = torch.arange(len(labels[::5])) % classes
    labels[:classes] = labels[-classes:] = torch.arange(classes)
    return head, features, labels


def task_of(data: Data) -> imu.tasks.Classification:
    """The request to forget all but the last 200 of them."""
    head, x, y = data
    return imu.tasks.Classification.from_data(
        head, (x[:-100], y[:-100]), (x[-100:], y[-100:]), forget_indices=range(len(x) - 200)
    )


def forget(data: Data) -> Data:
    """The head, and what is to be forgotten."""
    head, x, y = data
    return head, x[:-200], y[:-200]


def losses(head: nn.Linear) -> tuple[dict[str, Tensor], Callable]:
    """The head's parameters, and one example's loss as a function of them."""

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(head, values, (x[None],)), y[None])

    return {name: value.detach() for name, value in head.named_parameters()}, loss


def by_vmap(data: Data) -> Tensor:
    """The diagonal-Fisher influence from per-example gradients."""
    head, x, y = forget(data)
    values, loss = losses(head)
    each = torch.cat([part.flatten(1) for part in vmap(grad(loss), (None, 0, 0))(values, x, y).values()], 1)
    return -each @ (each.mean(0) / (each.square().mean(0) + DAMPING))


def cold() -> Iterator[Row]:
    """From the user's tensors to influences, nothing prepared: new data each time."""
    fresh, again = (map(lambda seed: drawn((5_000, 64, 10), seed), count()) for _ in range(2))

    def ours() -> Any:
        data = next(fresh)
        begin = process_time()
        imu.influence(task_of(data), data[0], "fisher-diagonal", damping=DAMPING)
        return process_time() - begin

    def theirs() -> float:
        data = next(again)
        begin = process_time()
        by_vmap(data)
        return process_time() - begin

    pairs = [(ours(), theirs()) for _ in range(17)][2:]
    mine, others = (sorted(column)[len(pairs) // 2] for column in zip(*pairs))
    yield Row("vmap(grad) / ours, cached features, n = 5,000, task made anew each time", others / mine, 1.5, least=True)


def mean_loss(data: Data) -> tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The parameters in one vector, the forget set's mean loss as a function of it, and the products g_i · v."""
    head, x, y = forget(data)
    values, loss = losses(head)
    shapes = {name: value.shape for name, value in values.items()}
    start = torch.cat([value.flatten() for value in values.values()])

    def named(vector: Tensor) -> dict[str, Tensor]:
        parts = vector.split([shape.numel() for shape in shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts)}

    def mean(vector: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(head, named(vector), (x,)), y)

    def along(vector: Tensor) -> Tensor:
        each = vmap(grad(loss), (None, 0, 0))(values, x, y)
        return sum((part * v).flatten(1).sum(1) for part, v in zip(each.values(), named(vector).values()))

    return start, mean, along


def by_hessian(data: Data) -> Tensor:
    """Influence under the Hessian, from torch.func.hessian and a dense solve."""
    start, mean, along = mean_loss(data)
    matrix = hessian(mean)(start)
    matrix.diagonal().add_(DAMPING)
    return -along(torch.linalg.solve(matrix, grad(mean)(start)))


def by_conjugate_gradients(data: Data) -> Tensor:
    """The same by ten steps of conjugate gradients on products by two backward passes, as dattri makes them."""
    start, mean, along = mean_loss(data)
    gradient = grad(mean)(start)

    def times(vector: Tensor) -> Tensor:
        return grad(lambda point: grad(mean)(point) @ vector)(start) + DAMPING * vector

    found = gradient.clone()
    residual = direction = gradient - times(found)
    for _ in range(STEPS):
        moved = times(direction)
        step = residual @ residual / (direction @ moved)
        found, before = found + step * direction, residual @ residual
        residual = residual - step * moved
        direction = residual + residual @ residual / before * direction
    return -along(found)


def by_dattri(data: Data) -> Tensor:
    """dattri's own ten steps."""
    from dattri.func.hessian import ihvp_at_x_cg

    start, mean, along = mean_loss(data)
    solve = ihvp_at_x_cg(mean, start, max_iter=STEPS, regularization=DAMPING)
    return -along(solve(grad(mean)(start))[0])


def exact(size: tuple[int, int, int]) -> Iterator[Row | Skipped]:
    """``exact`` against a dense Hessian and against ten steps of conjugate gradients, which are not enough."""
    data = drawn(size)
    task, head = view(task_of(data), data[0])
    examples = task.split("forget")
    estimate = imu.estimators.create("exact", damping=DAMPING)
    rivals = {"torch.func.hessian": by_hessian, "10 steps of conjugate gradients": by_conjugate_gradients}
    if find_spec("dattri"):
        rivals["dattri's CG"] = by_dattri
    else:
        yield Skipped("dattri's CG / exact", "dattri is not installed here")
    work = [lambda: estimate(task, head, examples, examples), *(lambda how=how: how(data) for how in rivals.values())]
    mine, *others = seconds(*work, rounds=7, clock=process_time)
    for name, taken in zip(rivals, others):
        yield Row(f"{name} / exact, head of (n, d, K) = {size}", taken / mine, 1, least=True)
    truth = by_hessian(in_double(data))
    for name, values in (("exact", work[0]()), ("torch.func.hessian", by_hessian(data))):
        error = ((values - truth).abs().max() / truth.abs().max()).item()
        yield Row(f"{name} against the same in float64, {size}", error, 1e-3, unit="of the largest")


def in_double(data: Data) -> Data:
    """The same head and features in double precision."""
    head, x, y = data
    wide = nn.Linear(head.in_features, head.out_features).double()
    wide.load_state_dict(head.state_dict())
    return wide, x.double(), y


def kronfluence(size: tuple[int, int, int]) -> Iterator[Row | Skipped]:
    """Products, the diagonal and the Kronecker factors of kronfluence, which writes its results to disk."""
    if not find_spec("kronfluence"):
        yield Skipped("kronfluence / ours", "kronfluence is not installed here")
        return
    fresh = map(lambda seed: drawn(size, seed), count())
    for theirs, ours in (("identity", "gradient-dot"), ("diagonal", "fisher-diagonal"), ("kfac", "kfac")):

        def mine(ours: str = ours) -> None:
            data = next(fresh)
            imu.influence(task_of(data), data[0], ours)

        mine_taken, taken = seconds(mine, lambda how=theirs: by_kronfluence(how, next(fresh)), clock=process_time)
        yield Row(f"kronfluence's {theirs} / ours, head of (n, d, K) = {size}", taken / mine_taken, 1, least=True)


def by_kronfluence(strategy: str, data: Data) -> Any:
    """Influences on the forget set's summed loss."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from torch.utils.data import TensorDataset

    class Head(Task):
        def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
            logits = model(batch[0])
            truth = torch.multinomial(logits.detach().softmax(1), 1)[:, 0] if sample else batch[1]
            return nn.functional.cross_entropy(logits, truth, reduction="sum")

        def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    head, x, y = forget(data)
    examples, task = TensorDataset(x, y), Head()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own use of torch
        judge = Analyzer(
            "peers", prepare_model(nn.Sequential(head), task), task, cpu=True, disable_tqdm=True, output_dir=folder
        )
        judge.fit_all_factors(
            "factors", examples, per_device_batch_size=len(x), factor_args=FactorArguments(strategy=strategy)
        )
        return judge.compute_pairwise_scores(
            "scores",
            "factors",
            examples,
            examples,
            per_device_query_batch_size=len(x),
            per_device_train_batch_size=len(x),
            score_args=ScoreArguments(aggregate_query_gradients=True),
        )


def memory(size: tuple[int, int, int]) -> Iterator[Row]:
    """What tensors take at their most, above the data."""
    data = drawn(size)
    task, head = view(task_of(data), data[0])
    examples = task.split("forget")
    for name, most in (("fisher-diagonal", 0.5), ("exact", 3)):  # exact holds its features in double, too
        estimate = imu.estimators.create(name)
        taken = allocated_mib(lambda estimate=estimate: estimate(task, head, examples, examples))
        share = taken / (data[1].nbytes / 2**20)
        yield Row(f"memory of {name} / the features' own, head of (n, d, K) = {size}", share, most)
