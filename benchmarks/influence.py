"""Influence against one forward pass, against the reference's loop and vmap, its precision and its memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import gradients
from imu_lab.lab.session import Session
from imu_lab.tasks.networks.images import resnet_20

from .measure import Row, peak_mib, seconds

COUNT, CLASSES = 5_000, 10


def image_task(count: int) -> imu.tasks.Classification:
    """Noise pictures through a ResNet-20: only sizes matter for time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count + 200, 3, 32, 32, generator=generator)
    labels = torch.arange(count + 200) % CLASSES
    torch.manual_seed(0)
    model = resnet_20(CLASSES, 3)
    return imu.tasks.Classification.from_data(
        model, (images[:-100], labels[:-100]), (images[-100:], labels[-100:]), forget_indices=range(count)
    )


def reference_loop(task: imu.tasks.Task, model: nn.Module) -> torch.Tensor:
    """The reference's way: one backward pass per sample for the Fisher, one more for the gradients."""
    explicit = gradients.explicit(task, model, task.split("forget"))
    again = gradients.explicit(task, model, task.split("forget"))
    return -again @ (again.mean(0) / (explicit.square().mean(0) + 0.01))


def vmapped(task: imu.tasks.Task, model: nn.Module) -> torch.Tensor:
    """All per-sample gradients at once with vmap(grad), then the same formula."""
    general = gradients.GeneralGradients(task, model, ("",))
    values = {name: value.detach() for name, value in model.named_parameters()}
    each = general._each(values, task.split("forget").batch())
    rows = torch.cat([part.flatten(1) for part in each.values()], 1)
    return -rows @ (rows.mean(0) / (rows.square().mean(0) + 0.01))


def forward(task: imu.tasks.Task, model: nn.Module) -> None:
    """One plain batched forward pass over the forget set."""
    with torch.no_grad():
        for _, batch in task.split("forget").batches():
            model(batch.inputs)


def fastest(task: imu.tasks.Task, model: nn.Module) -> Callable[[], None]:
    """The fastest plain forward pass over the forget set: of batches of 16 to 512, in both layouts of pictures."""
    forget = task.split("forget")

    def passes(size: int, layout: torch.memory_format, count: int) -> None:
        with torch.no_grad():
            for _, batch in forget.take(torch.arange(count)).batches(size):
                model(batch.inputs.contiguous(memory_format=layout))

    kinds = [(2**k, layout) for k in range(4, 10) for layout in (torch.contiguous_format, torch.channels_last)]
    tried = seconds(*(partial(passes, *kind, min(512, len(forget))) for kind in kinds), rounds=3)
    return partial(passes, *kinds[tried.index(min(tried))], len(forget))


def rows() -> Iterator[Row]:
    """The table's rows on influence."""
    task = image_task(COUNT)
    model = imu.train(task)
    few = image_task(1_000)

    def uncached() -> None:
        imu.clear_caches()
        Session(few, model).influence()

    plain, fresh = seconds(fastest(few, model), uncached, rounds=5)
    yield Row("influence of 1,000 samples, nothing cached / the fastest forward pass, ResNet-20", fresh / plain, 1.1)

    cached, head = Session(task, model).view()
    cached.split("forget")
    estimate = imu.estimators.create("fisher-diagonal")
    forget = cached.split("forget")
    with one_thread():
        ours, by_vmap = seconds(
            lambda: estimate(cached, head, forget, forget), lambda: vmapped(cached, head), rounds=15, settle=3
        )
        (by_loop,) = seconds(lambda: reference_loop(cached, head), rounds=1, warmup=0)
    (whole,) = seconds(lambda: forward(task, model), rounds=3)
    yield Row("influence of 5,000 samples, cached / forward pass", ours / whole, 0.02)
    yield fixed_cost()
    yield Row("per-sample autograd loop / ours, cached, n = 5,000", by_loop / ours, 100, least=True)
    yield Row("vmap(grad) / ours, cached, n = 5,000", by_vmap / ours, 10, least=True)
    for precision, target in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        yield Row(
            f"closed form against the loop, {precision}".replace("torch.", ""),
            difference(precision),
            target,
            unit="of the largest",
        )
    fresh = "from benchmarks.influence import memory; print(memory())"  # a process of its own: no freed pages to reuse
    taken = subprocess.run([sys.executable, "-c", fresh], capture_output=True, text=True, check=True).stdout
    yield Row("memory above the features, n = 50,000, d = 2,048, K = 1,000", float(taken), 500, unit="MiB")


def fixed_cost() -> Row:
    """A verb whose features are kept still reads the weights and puts the probe of eight through: how much else it does."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    model, pictures = resnet50(num_classes=CLASSES).eval(), torch.rand(40, 3, 64, 64)
    train, test = (pictures[:32], torch.arange(32) % CLASSES), (pictures[32:], torch.arange(8))
    task = imu.tasks.Classification.from_data(model, train, test, forget_indices=range(12))
    probe = task.split("forget").batch(torch.arange(8)).inputs

    def bare() -> None:
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.sum()
            model(probe)

    verb, least = seconds(lambda: imu.influence(task, model), bare, rounds=15, warmup=2)
    return Row("a verb on a ResNet-50, cached / read of its weights and probe, 64 x 64", verb / least, 1.3)


def linear_task(count: int, width: int, classes: int, precision: torch.dtype) -> imu.tasks.Classification:
    """Random features under a single linear layer."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, width, generator=generator, dtype=precision)
    labels = torch.arange(count) % classes
    torch.manual_seed(0)
    head = nn.Linear(width, classes).to(precision)
    test = torch.randn(classes, width, dtype=precision), torch.arange(classes)
    return imu.tasks.Classification.from_data(head, (features, labels), test, forget_indices=range(count - 1))


def difference(precision: torch.dtype) -> float:
    """Largest difference to the loop over the largest value."""
    task = linear_task(500, 64, CLASSES, precision)
    model = imu.train(task)
    loop = reference_loop(task, model).double().numpy()
    return float(abs(imu.influence(task, model).values - loop).max() / abs(loop).max())


def memory() -> float:
    """MiB that the influences of 50,000 samples need above their cached features."""
    features, labels = torch.randn(50_000, 2_048), torch.arange(50_000) % 1_000
    head = nn.Linear(2_048, 1_000)
    examples = imu.tasks.Examples.of(features, labels)

    class Cached(imu.tasks.Toy):
        """A stand-in for a cached task: features in memory, a linear head as the model."""

        readout = ("",)

        def split(self, name: str) -> imu.tasks.Examples:
            """The same rows for every split."""
            return examples

    estimate, task = imu.estimators.create("fisher-diagonal"), Cached()
    return peak_mib(lambda: estimate(task, head, examples, examples))
