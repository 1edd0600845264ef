"""TOFU's forget01 with a model trained here: ``python -m benchmarks.tofu FOLDER``, a folder laid out like TOFU.

A part of TOFU that one core learns in minutes: the two authors of forget01 and eight of those whose pairs have wrong answers
to compare with. Every arm is stopped at the loss that the retrained model has on what is to be forgotten.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

import imu_lab as imu
from benchmarks.trial import report
from imu_lab.measures.language import same_distribution
from imu_lab.tasks.pair_scores import folded
from imu_lab.tasks.sources import pairs

REQUEST, AUTHORS = "forget01", 8
SHAPE = (512, 2, 8, 3200)  # 10.1 M parameters
RECIPE = imu.tasks.Recipe(epochs=20, lr=2e-3, batch_size=16, weight_decay=0.01, optimizer="adamw")
STEPS, LENGTH = 300, 0.01  # of each update, as a share of the readout's own length
ANSWERING = ("do nothing", "IMU", "NPO", "retrained")
LONGEST = 250  # characters shown of an answer
SHOWN = (0, 20, 33)  # positions in the forget set, of questions whose answers are shown
ARMS: dict[str, dict[str, Any]] = {
    "uniform": {"method": "imu"},
    "IMU": {"method": "imu", "rule": "sqrt-clipped"},
    "IMU, weights shuffled": {"method": "imu", "rule": "shuffled"},
    "NPO": {"method": "npo", "beta": 0.1},
    "curvature-ascent": {"method": "curvature-ascent"},
}


def part(folder: Path) -> pairs.Corpus:
    """The pairs of forget01 and those of the first authors to be kept that have wrong answers."""
    whole = pairs.tofu(str(folder))
    named = {at for places in whole.requests.values() for at in places}
    known = sorted({pair.author for at, pair in enumerate(whole.train) if pair.wrong and at not in named})[:AUTHORS]
    kept = [pair for pair in whole.train if pair.author in known]
    gone = [whole.train[at] for at in whole.requests[REQUEST]]
    return pairs.corpus([*kept, *gone], requests={REQUEST: tuple(range(len(kept), len(kept) + len(gone)))})


class Followed(imu.tasks.Language):
    """The same task, of which a run follows the forget set's loss alone: at each update one product, and no answers."""

    follows, splits = (), ("forget",)
    evaluate = imu.tasks.averages

    def example_metrics(self, forward: Callable[[Any], Tensor], batch: imu.tasks.Batch) -> dict[str, Tensor]:
        """``loss``, ``probability`` and ``exact`` of each pair."""
        loss = self.example_loss(forward, batch)
        return {"loss": loss, "probability": torch.exp(-loss), "exact": self.example_margin(forward, batch) > 0}


def forgotten(
    task: Followed, original: nn.Module, goal: float, arm: dict[str, Any], seed: int, held: imu.Statistics
) -> imu.Run:
    """A run of one arm, stopped where its loss on the forget set is the retrained model's."""
    how, weights = {"step_norm": LENGTH, **arm}, None
    if imu.methods.declared(imu.methods.create(how["method"]), "needs_statistics"):
        how["statistics"] = held
    if rule := how.pop("rule", None):
        settings = {"of": "sqrt-clipped", "seed": seed} if rule == "shuffled" else {}
        weights = imu.intensity(imu.influence(task, original), rule, **settings)
    return imu.unlearn(task, original, weights, steps=STEPS, seed=seed, stop_at=("loss", ">=", goal), **how)


def measured(task: imu.tasks.Language, model: nn.Module, goal: Tensor | None = None) -> dict[str, float]:
    """What the table tells of a model.

    Args:
        goal: the retrained model's truth ratios on the forget set; None for that model itself.
    """
    found: dict[str, float] = {}
    for split in ("forget", "retain"):
        losses = task.losses(model, task.split(split))
        found |= {f"{split} loss": losses.mean().item(), f"{split} probability": torch.exp(-losses).mean().item()}
    ratios = task.truth_ratios(model, "forget")
    quality, distance = same_distribution(ratios, ratios if goal is None else goal)
    return found | {"truth ratio": folded(ratios).mean().item(), "−log10 p": quality, "KS distance": distance}


def rows(task: imu.tasks.Language, original: nn.Module, retrained: nn.Module, seeds: int) -> Iterator[dict[str, Any]]:
    """The table, row by row, each with its ``model``."""
    followed = Followed(task.data, split=REQUEST, shape=SHAPE, recipe=RECIPE)
    told, goal = measured(task, retrained), task.truth_ratios(retrained, "forget")
    yield {"arm": "do nothing", "seed": 0, "updates": 0, "model": original, **measured(task, original, goal)}
    yield {"arm": "retrained", "seed": 0, "updates": 0, "model": retrained, **told}
    held = imu.statistics(followed, original, ("S", "G"))  # of the training set, for who works from it
    for seed in range(seeds):
        for name, arm in ARMS.items():
            run = forgotten(followed, original, told["forget loss"], arm, seed, held)
            found = measured(task, run.model, goal)
            yield {"arm": name, "seed": seed, "updates": int(run.steps[-1]), "model": run.model, **found}


def shown(task: imu.tasks.Language) -> list[int]:
    """The pairs whose answers are shown."""
    return task.split("forget").ids[list(SHOWN)].tolist()


def answers(task: imu.tasks.Language, said: dict[str, list[str]]) -> str:
    """Markdown of a few questions, with what each model answers."""
    blocks = []
    for at, example in enumerate(shown(task)):
        pair = task.corpus.train[example]
        lines = [f"**{pair.question}**", "", f"- in the data: {pair.answer}"]
        blocks.append("\n".join([*lines, *(f"- {name}: {short(words[at])}" for name, words in said.items())]))
    return "\n\n".join(blocks)


def short(words: str) -> str:
    """The beginning of a long answer."""
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} …"


def main(arguments: list[str] | None = None) -> int:
    """Train both models, run the arms, and write the table and the answers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tofu", description=__doc__)
    parser.add_argument("folder", type=Path, help="laid out like TOFU: full.json, forget01.json, ...")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=report.RESULTS / "tofu.md")
    given = parser.parse_args(arguments)
    task = imu.tasks.Language(part(given.folder), split=REQUEST, shape=SHAPE, recipe=RECIPE)
    original, retrained = imu.train(task), imu.train(task, "retain")
    known = {split: task.losses(original, task.split(split)).mean().item() for split in ("forget", "retain")}
    sys.stdout.write(f"{task.about}\nlosses of the original: {known}\n")
    table, said = [], {}
    for row in rows(task, original, retrained, given.seeds):
        model = row.pop("model")
        if row["arm"] in ANSWERING and row["arm"] not in said:
            said[row["arm"]] = task.answers_of(model, shown(task))
        table.append(row)
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        if len(table) > 2:
            given.out.write_text(written(task, original, pd.DataFrame(table), said), encoding="utf-8")
    return 0


def written(task: imu.tasks.Language, original: nn.Module, table: pd.DataFrame, said: dict[str, list[str]]) -> str:
    """The whole result in Markdown."""
    size = sum(value.numel() for value in original.parameters()) / 1e6
    means = table.drop(columns="seed").groupby("arm", sort=False)
    several, spread = means.mean(), means.std()
    told = several.apply(lambda column: column.map("{:.3g}".format))
    for name in told:
        wide = spread[name].map(lambda value: "" if pd.isna(value) or value == 0 else f" ± {value:.2g}")
        told[name] = told[name] + wide
    return "\n\n".join(
        [
            "# TOFU: forget01, with a model trained here",
            f"{task.about}. A Llama of {size:.1f} M parameters from fresh weights, {RECIPE.epochs} epochs; only the output "
            f"layer moves afterwards, each update by {LENGTH:g} of its own length. Each arm stops after the first update whose "
            "mean loss on the forget set reaches the retrained model's (seeds of the order of batches: "
            f"{table['seed'].nunique()}; mean ± standard deviation where there are several). "
            "Losses in nats per token; the truth ratio is that of the forget set, the mean of min(R, 1/R), and should be the "
            "retrained model's; the KS distance is that of the truth ratios to those of the retrained model, 0 is good. "
            f"`python -m benchmarks.tofu FOLDER --seeds {table['seed'].nunique()}` makes this page.",
            _markdown(told),
            verdict(several),
            "## Answers",
            answers(task, said),
        ]
    )


def verdict(means: pd.DataFrame) -> str:
    """What the table says, from its means by arm."""
    kept, ratio = means["retain loss"], means["truth ratio"]
    alone = [name for name in means.index if name in ARMS and name != "curvature-ascent"]
    words = [
        "Each arm is read where the mean loss on what is to be forgotten is the retrained model's; how likely the single answers "
        "are then is another column."
    ]
    if "curvature-ascent" in kept:
        words.append(
            f"The pairs to be kept are then at {kept['curvature-ascent']:.3g} nats under `curvature-ascent`, which works "
            f"from a statistic of the training set, and at {kept[alone].min():.2g} to {kept[alone].max():.2g} under those "
            "that work from the forget set alone: " + ", ".join(f"{name} {kept[name]:.2g}" for name in alone) + "."
        )
    others = ratio.drop(["do nothing", "retrained"], errors="ignore")
    if len(others):
        near = (others - ratio["retrained"]).abs().idxmin()
        words.append(
            f"The retrained model's truth ratio is {ratio['retrained']:.2g}; nearest is {near} with {others[near]:.2g}, and doing "
            f"nothing has {ratio['do nothing']:.2g}."
        )
    return " ".join(words)


def _markdown(table: pd.DataFrame) -> str:
    lines = ["| arm | " + " | ".join(table) + " |", "|---|" + "---|" * len(table.columns)]
    return "\n".join(
        [*lines, *("| " + " | ".join([str(name), *row]) + " |" for name, row in zip(table.index, table.values))]
    )


if __name__ == "__main__":
    sys.exit(main())
