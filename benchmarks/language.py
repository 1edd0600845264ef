"""Language models: influence of pairs against passes over them, at the output and at the attention; memory; answers.

At the output layer, d inputs wide with K tokens, a predicted token costs five products with its K x d weights (its logits,
their gradients' mean, squares and product with F⁻¹ḡ, and the plain product with ḡ beside the influence) where a forward pass
has one, after N weights of the network for each token read. With r tokens read for each predicted that is about
(r N + 5 K d) / (r N + K d) forward passes: 1.2 for the 12 M parameters here, and 1.6 for the default model of 0.7 M, a fifth
of whose weights are its output layer. Softmax and squares, which are no products, add to both, so 1.4 is not to be had where
the output layer is so large a part of the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from torch import nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import cache
from imu_lab.lab.session import Session

from .measure import Row, peak_mib, seconds

AUTHORS = tuple(range(40))  # all that there are: 400 pairs
WIDE = (512, 8, 8, 2048)  # 30 M parameters
SEVERAL = 144  # pairs: more than go through a network together
ATTENTION = ("network.model.layers.*.self_attn",)


def rows() -> Iterator[Row]:
    """The table's rows on language. Weights do not matter for time: networks are used as they are born."""
    with one_thread():
        yield Row(
            "influence of 400 pairs, output layer, nothing cached / the fastest forward pass, 12 M", at_output(), 1.4
        )
        yield Row("influence on the attention of 30 M parameters / forward + backward, 48 pairs", *at_attention())
        yield Row(f"its memory, {SEVERAL} pairs / training with batches of 8", memory(), 2)
        yield Row("answers one by one / together, left-padded, 64 questions", together(), 5, least=True)


def pairs_of(shape: tuple[int, int, int, int], authors: tuple[int, ...], **settings: object) -> imu.tasks.Language:
    """A task that forgets the pairs about these authors."""
    return imu.tasks.Language("invented-authors", forget_authors=authors, shape=shape, **settings)


def at_output() -> float:
    """Forward passes that the user's verb takes with a fresh session and no features kept; tokens are known to both."""
    task = pairs_of((384, 6, 6, 2048), AUTHORS)
    model = task.make_model(0).eval()

    def fresh() -> None:
        cache.STORE.clear()
        Session(task, model).influence()

    passes = [partial(forward, task, model, size) for size in (16, 32, 64)]
    plain, *_ = sorted(seconds(*passes, rounds=3, clock=time.process_time))
    ours, again = seconds(fresh, passes[1], rounds=3, clock=time.process_time)
    return ours / min(plain, again)


def forward(task: imu.tasks.Language, model: nn.Module, size: int) -> None:
    """One pass over the forget set, those of like length together and without needless padding."""
    forget = task.split("forget")
    with torch.no_grad():
        for few in forget.alike().split(size):
            model(forget.batch(few).inputs)


def at_attention() -> tuple[float, float]:
    """Forward and backward passes that influence on the attention takes; and the target."""
    task = attentive()
    model = task.make_model(0).eval()
    forget = task.split("forget")

    def both_ways() -> None:
        for few in forget.alike().split(32):
            batch = forget.batch(few)
            task.example_loss(model, batch).sum().backward()
            model.zero_grad(set_to_none=True)

    ours, plain = seconds(lambda: Session(task, model).influence(), both_ways, rounds=1, clock=time.process_time)
    return ours / plain, 4.0


def attentive() -> imu.tasks.Language:
    """48 pairs, and a network of 30 M parameters of which the attention is the readout."""
    return pairs_of(WIDE, (), forget_pairs=tuple(range(48)), readout=ATTENTION)


def memory() -> float:
    """What influences of several passes take at most, over what two updates of a training take: each in a process of its own."""
    taken = []
    for work in (trained, influences):
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            taken.append(alone.submit(above_the_model, work).result())
    return taken[1] / taken[0]


def above_the_model(work: Callable[[imu.tasks.Language, nn.Module], object]) -> float:
    """How far the resident memory of this process rises over what it is with the model."""
    with one_thread():
        task = pairs_of(WIDE, (), forget_pairs=tuple(range(SEVERAL)), readout=ATTENTION)
        model = task.make_model(0)
        return peak_mib(lambda: work(task, model))


def trained(task: imu.tasks.Language, model: nn.Module) -> None:
    """Two updates with a batch of 8."""
    optimizer, batch = torch.optim.AdamW(model.parameters()), task.split("forget").batch(torch.arange(8))
    for _ in range(2):
        task.example_loss(model, batch).mean().backward()
        optimizer.step()


def influences(task: imu.tasks.Language, model: nn.Module) -> None:
    """Those of all pairs to be forgotten."""
    Session(task, model.eval()).influence()


def together() -> float:
    """How much longer questions take one by one; an answer ends where it ends."""
    task = pairs_of((128, 2, 4, 1024), (3,))
    model, questions = task.make_model(0).eval(), list(range(64))

    def alone() -> None:
        for at in questions:
            task.answers_of(model, [at], progress=_silent)

    one, all_of_them = seconds(alone, lambda: task.answers_of(model, questions, progress=_silent), rounds=2)
    return one / all_of_them


def _silent(done: int, of: int) -> None:
    """No bar in a measurement."""
