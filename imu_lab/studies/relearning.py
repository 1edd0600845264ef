"""How soon what was forgotten is back: updates of one fixed recipe until the model answers as the original did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..core.running import device_of, one_thread
from ..features import readout, view
from ..features.cache import by_content
from ..tasks.evaluation import checked_losses
from ..tasks.protocol import Batch, Task, offered
from .audited import ORIGINAL, RUN, Audited, Row, notes_of

UPDATES, RATE, WITHIN = 300, 1e-3, 0.05
MOST = 1000  # samples that are learned again
DRAWS = 500  # resamplings at most
FARTHER = 1.5  # times as many updates as were needed are recorded, for the interval


class Relearned(NamedTuple):
    """What is recorded of a model while it learns what it forgot, before the first update and after each.

    Attributes:
        losses: (t, n) of each sample, in nats.
        right: (t, n) 1 where it is right, else 0; NaN where a task has no margins.
    """

    losses: np.ndarray
    right: np.ndarray


def relearn(
    task: Task,
    model: nn.Module,
    some: Tensor,
    back: Callable[[Relearned], np.ndarray],
    updates: int = UPDATES,
    lr: float = RATE,
) -> Relearned:
    """A copy of a model learns all these forget samples at each update, by Adam at one rate; only the readout moves.

    With all samples in one batch no order plays a part.

    Args:
        some: positions in the forget set.
        back: from what is recorded to (t,) where the model is back; it goes on half as long again, or until ``updates`` were made.
    """
    task, model = view(task, model)
    private = readout.private_copy(model, readout.resolve(task, model))
    moving = [value for value in private.parameters() if value.requires_grad]
    batch = task.split("forget").batch(some).to(device_of(private))
    optimizer, rows, last = torch.optim.Adam(moving, lr=lr), [], updates
    with one_thread(), torch.enable_grad():
        for update in range(updates + 1):
            made = private(batch.inputs)
            loss = checked_losses(task, task.example_loss(lambda _, made=made: made, batch), len(some))
            rows.append(_recorded(task, made.detach(), batch, loss.detach()))
            if last == updates and back(Relearned(*rows[-1][:, None]))[0]:
                last = min(updates, int(FARTHER * update) + 10)
            if update >= last:
                break
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
    return Relearned(*np.stack(rows, 1))


def _recorded(task: Task, made: Tensor, batch: Batch, losses: Tensor) -> np.ndarray:
    """(2, n) each sample's loss, and 1 where it is right."""
    margin = offered(task).example_margin
    right = torch.full_like(losses, torch.nan) if margin is None else (margin(lambda _: made, batch) > 0).to(losses)
    return torch.stack([losses, right]).double().cpu().numpy()


def relearn_rows(asked: Audited) -> Iterator[Row]:
    """Updates until the forget set is answered as the original answers it, and their ratio to the retrained model's."""
    some = asked.once("relearned", lambda: by_content(asked.split("forget"))[:MOST])
    first = relearn(asked.task, asked.models[ORIGINAL], some, lambda _: np.array([True]), updates=0)
    by_accuracy = asked.of_a_group and np.isfinite(first.right).all()
    relearned = {}

    def back(found: Relearned, counts: np.ndarray | None = None) -> np.ndarray:
        """(t,) where it is back, of samples that count so often."""
        mine, start = (found.right, first.right) if by_accuracy else (found.losses, first.losses)
        weights = np.ones(mine.shape[1]) if counts is None else counts
        level = start[0] @ weights / weights.sum()
        now = mine @ weights / weights.sum()
        return now >= (1 - WITHIN) * level - 1e-12 if by_accuracy else now <= (1 + WITHIN) * level + 1e-12

    def needed(who: str, counts: np.ndarray | None = None) -> float:
        if who not in relearned:
            relearned[who] = relearn(asked.task, asked.models[who], some, back)
        met = back(relearned[who], counts)
        return float(met.argmax()) if met.any() else np.inf

    random, size = np.random.default_rng(asked.seed), len(some)
    drawn = [random.multinomial(size, np.full(size, 1 / size)) for _ in range(min(asked.draws, DRAWS))]
    yield from _rows(asked, needed, drawn, by_accuracy)


def _rows(asked: Audited, needed: Callable[..., float], drawn: list[np.ndarray], by_accuracy: bool) -> Iterator[Row]:
    what = "accuracy" if by_accuracy else "mean loss"
    formula = (
        f"updates of Adam (lr {RATE:g}, all forget samples at once, the readout moves) until their {what} is within "
        f"{WITHIN:.0%} of the original's"
    )
    times = {who: needed(who) for who in (RUN, *asked.retrained)}
    mine = np.array([needed(RUN, counts) for counts in drawn])
    goals = np.array([min(times[who], UPDATES) for who in asked.retrained])
    # Some may be infinite, and no time in between is made up.
    low, high = np.quantile(mine, [0.025, 0.975], method="inverted_cdf").tolist()
    low = min(low, UPDATES)  # later than can be told, as the value itself is: that end is the longest time tried
    late = ["retrained" if who != RUN else "run" for who in times if np.isinf(times[who])]
    censored = (
        f"not back within {UPDATES} updates, counted as {UPDATES}: {', '.join(dict.fromkeys(late))}" if late else ""
    )
    goal = float(goals.mean()) if len(goals) else np.nan
    yield Row(
        "relearn time", "forget", min(times[RUN], UPDATES), "updates", formula, low, high, goal, 0.0, note=censored
    )
    if not len(goals):
        return
    known = goal > 0
    ends = [each / goal if known else np.nan for each in (times[RUN], low, high)]
    yield Row(
        "relearn time, ratio to the retrained",
        "forget",
        min(ends[0], UPDATES / goal) if known else np.nan,
        "ratio",
        f"relearn time over that of the retrained model; {formula}",
        *ends[1:],
        goal=1.0,
        original=0.0 if known else np.nan,
        direction="close to 1: as if it had never been learned; far below: it can be recalled; above: it was pushed too far",
        note=notes_of(censored, "" if known else "the retrained model needs no update, so there is no ratio"),
    )
