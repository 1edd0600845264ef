"""What forgetting does to the rest: the damage that first order predicts, the damage measured, and who caused it.

Pressing sample i moves the readout along its own gradient, θ ← θ + lr · w_i g_i, so the loss of a retained sample r
rises by **lr · w_i g_r·g_i** to first order: it is damaged when the two gradients point the same way. Positive is
damage. The prediction looks at the original model alone; after many updates the measured damage is another, and the
difference between the two is part of what there is to see.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from ..core.messages import listed, unheard
from ..core.records import Run
from ..core.registry import methods
from ..core.running import copied, one_thread
from ..core.taken import several_examples
from ..features import readout, view
from ..features.cache import as_seen_by
from ..features.gradients import gradients_of
from ..lab.what_if import what_if
from ..tasks.evaluation import mean_loss, outcomes
from ..tasks.protocol import Examples, Task, labels_of, names_of


class NoFirstOrder(ValueError):
    """The damage of such a run cannot be predicted to first order."""


def collateral(run: Run, split: str = "retain", step: int | None = None) -> pd.DataFrame:
    """The damage that a run does to each sample of a kept split: predicted to first order, and measured.

    >>> imu.plot_collateral(imu.collateral(run))

    Args:
        run: with its task and its models.
        split: the split whose samples are measured.
        step: the recorded update to measure at, and to predict for; None for the last.

    Returns:
        ``example, label, predicted, measured`` (nats of loss, positive is damage), ``margin_before, margin_after,
        lost`` (right before, wrong after), most damaged first. ``predicted`` is empty where first order does not apply:
        see :func:`step_length`.
    """
    whole = run.known_task()
    step = run.kept_steps[-1] if step is None else step
    views = [view(whole, run.model_at(at)) for at in (0, step)]  # two, for the backbone may have moved
    (task, before), examples = views[0], views[0][0].split(split)
    with one_thread():
        predicted = _predicted(run, task, before, examples, step)
        first, last = (outcomes(view, model, view.split(split)).double().numpy() for view, model in views)
    table = pd.DataFrame({"example": examples.ids.numpy(), "label": names_of(run.task, run.task.split(split))})
    table["predicted"], table["measured"] = predicted, last[:, 0] - first[:, 0]
    table["margin_before"], table["margin_after"] = first[:, 1], last[:, 1]
    table["lost"] = (first[:, 1] >= 0) & (last[:, 1] < 0)
    return table.sort_values("measured", ascending=False, ignore_index=True)


def _predicted(run: Run, task: Task, before: nn.Module, examples: Examples, step: int) -> np.ndarray | float:
    """(n,) nats for each of these examples; NaN where first order does not apply to the run."""
    try:
        counts = lengths_followed(run, step)
    except NoFirstOrder:  # the damage can still be measured
        return np.nan
    gradients, forget = gradients_of(task, before), task.split("forget")
    direction = gradients.mean(forget, torch.as_tensor(counts))  # (1/n) Σ_i counts_i g_i
    return len(forget) * gradients.along(examples, direction).double().cpu().numpy()


def damage_by_sample(
    run: Run,
    split: str = "retain",
    step: int | None = None,
    *,
    label: str | None = None,
    example: int | None = None,
    measure: int | None = 200,
) -> pd.DataFrame:
    """The damage that each forget sample's own share of a run does to kept samples, predicted and measured.

    ``measured`` is what happens when the original readout is moved by that share alone, along the sample's own gradient.
    Where it differs from the prediction, the step is too long for first order, whatever the other samples do.

    Args:
        run, split, step: see :func:`imu_lab.collateral`.
        label, example: only the damage to this class of the split, or to this one sample of it.
        measure: how many forget samples to measure, those of the largest prediction; None for all. Each costs one forward
            pass over the damaged samples.

    Returns:
        ``example, label, pressure, predicted, measured`` (nats of loss, mean over those damaged; positive is damage) and
        ``intervention``, in words, most damaging first.

    Raises:
        ValueError: the split holds no such class or sample, or both were asked for.
        NoFirstOrder: see :func:`step_length`.
    """
    task, before = view(run.known_task(), run.model_at(0))
    step = run.kept_steps[-1] if step is None else step
    examples, forget, counts = damaged(task, split, label, example), task.split("forget"), lengths_followed(run, step)
    gradients = gradients_of(task, before)
    table = pd.DataFrame({"example": forget.ids.numpy(), "label": names_of(run.task, run.task.split("forget"))})
    with one_thread():
        products = gradients.along(forget, gradients.mean(examples)).double().cpu().numpy()
        table["pressure"], table["predicted"] = received(run, step), counts * products
        wanted = table["predicted"].abs().nlargest(len(table) if measure is None else measure).index
        table.loc[wanted, "measured"] = _alone(task, before, examples, counts, wanted.tolist())
    table["intervention"] = "each alone"
    return table.sort_values("predicted", ascending=False, ignore_index=True)


def damaged(task: Task, split: str, label: str | None = None, example: int | None = None) -> Examples:
    """The samples of a split whose damage is measured: one, those of one label, or all."""
    examples = task.split(split)
    if label is not None and example is not None:
        raise ValueError(f"give a label or an example, not both; got label={label!r} and example={example}")
    if example is not None:
        wanted = examples.ids.numpy() == example
        if not wanted.any():
            raise ValueError(f"example {example} is not in {split!r}; it holds {len(examples)} examples")
    elif label is not None:
        labels = names_of(task, examples)
        if label not in labels:
            raise ValueError(f"no sample of {split!r} has the label {label!r}; there are {listed(sorted(set(labels)))}")
        wanted = np.asarray(labels) == label
    else:
        return examples
    return examples.take(torch.as_tensor(np.flatnonzero(wanted)))


def _alone(task: Task, before: nn.Module, examples: Examples, counts: np.ndarray, wanted: list[int]) -> list[float]:
    """The change of the mean loss of some examples after a step by the share of each wanted forget sample alone."""
    moved = copied(before)
    values = readout.parameters(moved, readout.resolve(task, moved))
    start = {name: value.detach().clone() for name, value in values.items()}
    gradients, forget, first = gradients_of(task, before), task.split("forget"), mean_loss(task, before, examples)
    changes = []
    for position in wanted:
        gradient = gradients.mean(forget.take(torch.tensor([position])))
        with torch.no_grad():
            for name, value in values.items():
                value.copy_(start[name] + counts[position] * gradient[name])
        changes.append(mean_loss(task, moved, examples) - first)
    return changes


def responsible(run: Run, example: int, split: str = "retain", step: int | None = None) -> pd.DataFrame:
    """Which forget samples cause the damage predicted for one kept sample, the largest share first.

    >>> worst = imu.collateral(run)["example"][0]
    >>> imu.responsible(run, worst).head()

    Args:
        run, split, step: see :func:`imu_lab.collateral`.
        example: the damaged sample, by its index in its source.

    Returns:
        ``example, label, pressure, alignment`` (cosine of the two gradients) and ``predicted`` (nats).

    Raises:
        ValueError: the split does not hold that example.
    """
    task, before = view(run.known_task(), run.model_at(0))
    step = run.kept_steps[-1] if step is None else step
    victim, forget = damaged(task, split, None, example), task.split("forget")
    gradients = gradients_of(task, before)
    with one_thread():
        toward = gradients.mean(victim)
        products = gradients.along(forget, toward).double().cpu().numpy()
        size = float(sum(part.square().sum() for part in toward.values())) ** 0.5
        own = gradients.norms(forget).double().cpu().numpy()
    table = pd.DataFrame({"example": forget.ids.numpy(), "label": names_of(run.task, run.task.split("forget"))})
    table["pressure"] = received(run, step)
    table["alignment"] = np.divide(products, own * size, out=np.zeros_like(products), where=own * size > 0)
    table["predicted"] = lengths_followed(run, step) * products
    return table.sort_values("predicted", ascending=False, ignore_index=True)


def damage_by_class(run: Run, split: str = "retain", step: int | None = None) -> pd.DataFrame:
    """The mean damage that first order predicts from each forget sample to each class of a kept split.

    Returns:
        One row per forget sample, indexed by ``example``; one column per class, in nats; positive is damage.
    """
    task, before = view(run.known_task(), run.model_at(0))
    step = run.kept_steps[-1] if step is None else step
    gradients, examples, forget = gradients_of(task, before), task.split(split), task.split("forget")
    labels = np.asarray(names_of(run.task, run.task.split(split)))
    length, columns = lengths_followed(run, step), {}
    with one_thread():
        mine = gradients.on(forget)
        for label in sorted(set(labels.tolist())):
            of_class = gradients.mean(examples.take(torch.as_tensor(np.flatnonzero(labels == label))))
            columns[label] = length * mine.along(of_class).double().cpu().numpy()
    return pd.DataFrame(columns, index=pd.Index(forget.ids.numpy(), name="example"))


def step_length(run: Run, updates: int) -> float:
    """How far one unit of pressure moves the readout in so many updates of SGD: the learning rate, with momentum.

    Raises:
        NoFirstOrder: a run without a fixed step length per unit of pressure (another optimizer, steps scaled to one
            length, or a fork, which has the settings of two runs), a method that moves more than the readout, one
            without a learning rate, or one whose steps are no shares of a batch's pressure (``normalise="set"``), do not
            follow the samples' own losses, or also follow an L1 term or the retain set.
    """
    settings = run.settings.get("settings") or {}
    plain = (
        settings.get("optimizer", "sgd") == "sgd" and not settings.get("step_norm") and settings.get("lr") is not None
    )
    if not plain or run.settings.get("forked") or run.moves_backbone:
        raise NoFirstOrder(
            "first-order damage needs plain SGD steps of one learning rate on the readout; this run has method="
            f"{run.settings.get('method')!r}, scope={settings.get('scope')!r}, lr={settings.get('lr')!r}, "
            f"optimizer={settings.get('optimizer')!r}, step_norm={settings.get('step_norm')!r}, "
            f"forked={run.settings.get('forked')!r}"
        )
    if settings.get("normalise", "batch") != "batch":
        raise NoFirstOrder(
            f"first-order damage needs steps in which the pressure of a batch adds up to 1; this run has normalise="
            f"{settings['normalise']!r}, whose steps have another length in each batch; unlearn with normalise='batch'"
        )
    if settings.get("alpha"):
        raise NoFirstOrder(
            f"first-order damage is that of the pressure; this run has alpha={settings['alpha']!r}, and the L1 term moves "
            "the readout besides; unlearn with alpha=0"
        )
    method = run.settings.get("method")
    if not methods.declared(method, "follows_losses"):
        raise NoFirstOrder(
            f"first-order damage needs steps along the forget samples' own loss gradients; the method "
            f"{method!r} takes others; compare with a method that ascends the loss, such as 'imu'"
        )
    if methods.declared(method, "needs_retain"):
        raise NoFirstOrder(
            f"first-order damage needs steps along the forget samples' gradients alone; the method "
            f"{method!r} also follows the retain set; compare with a method that sees the forget "
            "set only, such as 'imu'"
        )
    return float(settings["lr"]) * _momentum_gain(float(settings.get("momentum", 0.0)), max(1, updates))


def _momentum_gain(momentum: float, updates: int) -> float:
    """How far momentum carries a gradient on average over a run: mean over updates t of (1 − m^(T−t+1)) / (1 − m)."""
    remaining = np.arange(1, updates + 1)
    return float(np.mean((1 - momentum**remaining) / (1 - momentum)))


def received(run: Run, step: int) -> np.ndarray:
    """(n,) the pressure on each forget sample up to an update, taken as growing evenly to the total of the run."""
    total = run.samples["pressure"].to_numpy(dtype=float)
    steps = run.events.get("steps") or 1
    if not 0 <= step <= steps:
        raise ValueError(f"no update {step}: this run made {steps}")
    return total * (step / steps)


def lengths_followed(run: Run, step: int) -> np.ndarray:
    """(n,) lr · pressure of each forget sample up to an update: how far its own gradient was followed, to first order.

    Raises:
        NoFirstOrder: see :func:`step_length`; or a method that does not record the pressure.
    """
    counts = step_length(run, step) * received(run, step)
    if not np.isfinite(counts).all():
        raise NoFirstOrder(
            f"first-order damage needs a known pressure; the method {run.settings.get('method')!r} does not record it"
        )
    return counts


def ablate_pressure(
    run: Run,
    examples: Iterable[int] | None = None,
    split: str = "retain",
    step: int | None = None,
    *,
    label: str | None = None,
    example: int | None = None,
) -> pd.DataFrame:
    """The damage to kept samples that each forget sample causes in a whole run, next to the predicted damage.

    The run is repeated without that sample's pressure; ``measured`` is the loss of the kept samples after the run minus
    their loss after the repetition, so everything that happens along the way counts. Weights add up to the same, so the
    others take over its share: zero means that it does the same damage as they do.

    >>> imu.ablate_pressure(run, [108, 44])  # two runs, each without one of these samples

    Args:
        run: with its task and models.
        examples: forget samples to ablate, one at a time, each in a run of its own; None for all.
        split, step, label, example: whose damage, and when; see :func:`imu_lab.damage_by_sample`.

    Returns:
        ``example, label, pressure, predicted, measured`` (nats of loss, mean over those damaged; positive is damage) and
        ``intervention``, in words, most damaging first. ``predicted`` is empty where first order says nothing of the run.

    Raises:
        ValueError: an example that is not in the forget set, a split without the class or sample that is asked for, or a
            run that nothing can be asked of (no task, no weights, a fork).
    """
    task = run.known_task()
    step = run.kept_steps[-1] if step is None else step
    table = _predictions(run, split, step, label, example)
    wanted = table["example"].tolist() if examples is None else several_examples(examples, "examples=")
    whole = _loss(run, damaged(task, split, label, example), step)
    changes = {}
    for each in tqdm(wanted, desc="runs without one sample's pressure", unit="run", delay=2, leave=False):
        with unheard():
            other = what_if(run, drop=[each], steps=step, record_every=max(1, step), stop_at=None, follow=())
        changes[each] = whole - _loss(other, damaged(task, split, label, example), step)
    table = table[table["example"].isin(wanted)]
    table = table.assign(measured=table["example"].map(changes), intervention="each without its pressure")
    return table.sort_values("measured", ascending=False, ignore_index=True)


def _predictions(run: Run, split: str, step: int, label: str | None, example: int | None) -> pd.DataFrame:
    try:
        return damage_by_sample(run, split, step, label=label, example=example, measure=0)
    except NoFirstOrder:
        table = run.samples[["example", "pressure"]].reset_index(drop=True)
        return table.assign(label=labels_of(run.known_task(), table["example"]), predicted=np.nan)


def _loss(run: Run, examples: Examples, step: int) -> float:
    """The mean loss of these examples after that update, or after the last where it stopped before."""
    task, model = view(run.known_task(), run.model_at(min(step, run.kept_steps[-1])))
    with one_thread():
        return mean_loss(task, model, as_seen_by(task, examples))
