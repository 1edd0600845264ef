"""The influence laboratory: any readout in passes, memory, captum's own speed, mini-batches, and the truth."""

from __future__ import annotations

from collections.abc import Iterator
from time import process_time

import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.gradients import GeneralGradients, LinearGradients
from imu_lab.influence.through_captum import Loss, loader, undisturbed
from imu_lab.influence.tracin import Folded
from imu_lab.session import Session
from imu_lab.tasks.compute import one_thread

from .influence import image_task, linear_task
from .measure import Row, peak_mib, seconds

COUNT = 128  # the figures are ratios over the same samples, so a thousand give the same and take eight times as long


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


def whole_networks() -> Iterator[Row]:
    """All-parameter influence in units of one forward and one backward pass over the same samples."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(COUNT + 20, 3, 32, 32, generator=generator), torch.arange(COUNT + 20) % 10
    task = imu.tasks.Classification.from_data(
        resnet_18(),
        (images[:-10], labels[:-10]),
        (images[-10:], labels[-10:]),
        forget_indices=range(COUNT),
        readout="all",
    )
    model, forget = imu.train(task), task.split("forget")

    def both_ways() -> None:
        for _, batch in forget.batches(128):
            model.zero_grad()
            task.example_loss(model, batch).sum().backward()

    def estimate(name: str) -> Tensor:
        return imu.estimators.create(name)(task, model, forget, forget)

    with one_thread():  # two threads beside other work wait for each other
        unit, dot, fisher = seconds(
            both_ways,
            lambda: estimate("gradient-dot"),
            lambda: estimate("fisher-diagonal"),
            rounds=3,
            clock=process_time,
        )
    yield Row("all of a ResNet-18, gradient-dot / forward and backward pass", dot / unit, 2.3)
    yield Row("all of a ResNet-18, fisher-diagonal / forward and backward pass", fisher / unit, 4.0)
    few, many = (memory(count) for count in (256, 1024))
    yield Row("all of a ResNet-20, memory for 1,024 samples / for 256", many / few, 1.2)


def memory(count: int) -> float:
    """MiB that the Fisher diagonal and the influences of all parameters take."""
    task = image_task(count)
    model, forget = imu.train(task), task.split("forget")
    gradients = GeneralGradients(task, model, ("",))
    gradients.along(
        forget.take(torch.arange(2)), gradients.moments(forget.take(torch.arange(128)))[0]
    )  # loads torch's parts
    return max(1.0, peak_mib(lambda: gradients.along(forget, gradients.moments(forget)[0])))


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

        mine, theirs = seconds(ours, lambda: judge.self_influence(), clock=process_time)
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
