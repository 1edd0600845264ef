"""The influence laboratory: any readout in passes, memory, captum's own speed, mini-batches, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, cycle, repeat
from time import process_time

import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features.gradients import LinearGradients
from imu_lab.influences.hessian import Loss, loader, undisturbed
from imu_lab.influences.tracin import Folded
from imu_lab.lab.session import Session
from imu_lab.tasks.networks.images import resnet_20

from .influence import linear_task
from .measure import Row, allocated_mib, seconds

SLICE, SLICES = 125, 8  # a thousand samples, in parts that rivals take in turn


def rows() -> Iterator[Row]:
    """The table's rows on the laboratory."""
    yield from whole_networks()
    yield from against_captum()
    yield from minibatches()
    yield from truth()


def resnet_18() -> nn.Module:
    """ResNet-18 with the 3x3 stem that goes with 32x32 images: 11.2 M parameters."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model.eval()


def whole_network(count: int, model: nn.Module) -> imu.tasks.Classification:
    """Noise pictures, all parameters: only sizes matter for time and memory."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(count + 20, 3, 32, 32, generator=generator), torch.arange(count + 20) % 10
    return imu.tasks.Classification.from_data(
        model,
        (images[:-10], labels[:-10]),
        (images[-10:], labels[-10:]),
        forget_indices=range(count),
        readout="all",
    )


def whole_networks() -> Iterator[Row]:
    """All-parameter influence in units of one forward and one backward pass over the same samples; and its memory."""
    task = whole_network(SLICE * SLICES, resnet_18())
    model, forget = imu.train(task), task.split("forget")
    slices = cycle(forget.take(part) for part in torch.arange(SLICE * SLICES).split(SLICE))
    three = chain.from_iterable(repeat(each, 3) for each in slices)  # each of three rivals has its turn on a slice

    def both_ways() -> None:
        model.zero_grad()
        task.example_loss(model, next(three).batch()).sum().backward()

    def estimate(name: str) -> Tensor:
        examples = next(three)
        return imu.estimators.create(name)(task, model, examples, examples)

    rivals = both_ways, lambda: estimate("gradient-dot"), lambda: estimate("fisher-diagonal")
    with one_thread():  # two threads beside other work wait for each other
        unit, dot, fisher = seconds(*rivals, rounds=SLICES, clock=process_time)
    what = f"all of a ResNet-18, n = {SLICE * SLICES:,}, "
    yield Row(f"{what}gradient-dot / forward and backward pass", dot / unit, 2.3)
    yield Row(f"{what}fisher-diagonal / forward and backward pass", fisher / unit, 4.0)
    for name in ("gradient-dot", "fisher-diagonal"):
        few, many = (memory(name, count) for count in (512, 2_048))
        yield Row(f"all of a ResNet-20, {name}, memory for 2,048 samples / for 512", many / few, 1.02)


def memory(name: str, count: int) -> float:
    """MiB that the influences of all parameters of a ResNet-20 take above model and samples, at their most."""
    torch.manual_seed(0)
    task = whole_network(count, resnet_20(10, 3))
    model, forget = imu.train(task), task.split("forget")
    estimate = imu.estimators.create(name)
    return allocated_mib(lambda: estimate(task, model, forget, forget))


def against_captum() -> Iterator[Row]:
    """‖g_i‖² on cached features, ours and captum's."""
    from captum.influence import TracInCPFast

    whole = linear_task(5_000, 512, 10, torch.float32)
    task, model = Session(whole, imu.train(whole)).view()
    forget = task.split("forget")
    with one_thread(), undisturbed():
        folded = Folded(model, "")
        judge = TracInCPFast(folded, folded.head, loader(forget, folded), [0], lambda *_: 1.0, Loss(task, "sum"))

        def ours() -> Tensor:
            return LinearGradients(task, model, "").norms(forget).square()

        mine, theirs = seconds(ours, lambda: judge.self_influence(), rounds=21, clock=process_time, settle=3)
        difference = (ours() - judge.self_influence()).abs().max() / ours().max()
    yield Row("captum's TracInCPFast.self_influence / ours, cached features, n = 5,000", theirs / mine, 3, least=True)
    yield Row("difference between them", difference.item(), 1e-4, unit="of the largest")


def minibatches() -> Iterator[Row]:
    """Influence of the mini-batch against the whole set's: rank and time."""
    for request, floor in (({"forget_class": 3}, 0.9), ({"forget_fraction": 0.1}, 0.3)):
        task = imu.tasks.Classification("digits", **request)
        model = imu.train(task)
        whole, part = imu.influence(task, model), imu.influence(task, model, "fisher-minibatch", batch_size=64)
        rank = imu.rank_correlations([whole, part]).iloc[0, 1]
        yield Row(f"Spearman of mini-batch with set influence, digits, {request}", rank, floor, least=True, unit="")
    weights = imu.intensity(imu.influence(task, model))
    mini, plain = seconds(
        lambda: imu.unlearn(task, model, method="imu-minibatch", steps=50, record_every=50),
        lambda: imu.unlearn(task, model, weights, steps=50, record_every=50),
        clock=process_time,
    )
    yield Row("50 updates of imu-minibatch / of imu with its weights given", mini / plain, 3.0)


def truth() -> Iterator[Row]:
    """Spearman with true leave-one-out on digits, random 10 %, head refitted with L2."""
    task = imu.tasks.Classification("digits", forget_fraction=0.1)
    model = imu.refit(task, imu.train(task), l2=1e-3)
    found = imu.leave_one_out(task, model, l2=1e-3)
    for name, settings, floor in (
        ("exact", {"damping": 1e-3, "curvature": "train"}, 0.99),
        ("exact", {"damping": 1e-3}, 0.8),
        ("fisher-diagonal", {"damping": 1e-3}, 0.2),
        ("gradient-dot", {}, 0.2),
    ):
        score = imu.linear_datamodeling_score(imu.influence(task, model, name, **settings), found)
        yield Row(f"{name} {settings or ''} against leave-one-out", score.spearman, floor, least=True, unit="Spearman")
    exact = imu.influence(task, model, "exact", damping=1e-3)
    for name in ("naive", "arnoldi"):
        rank = imu.rank_correlations([exact, imu.influence(task, model, name, damping=1e-3)]).iloc[0, 1]
        yield Row(f"captum's {name} with exact, digits head of 650 parameters", rank, 0.99, least=True, unit="Spearman")
