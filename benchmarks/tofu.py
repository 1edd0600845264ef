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
from imu_lab.core import storage
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


def rows(task: imu.tasks.Language, seed: int) -> Iterator[dict[str, Any]]:
    """The table of one seed, row by row, each with its ``model``: of the original and the retrained model of that seed."""
    original, retrained = imu.train(task, seed=seed), imu.train(task, "retain", seed=seed)
    followed = Followed(task.data, split=REQUEST, shape=SHAPE, recipe=RECIPE)
    told, goal = measured(task, retrained), task.truth_ratios(retrained, "forget")
    yield {"arm": "do nothing", "seed": seed, "updates": 0, "model": original, **measured(task, original, goal)}
    yield {"arm": "retrained", "seed": seed, "updates": 0, "model": retrained, **told}
    held = imu.statistics(followed, original, ("S", "G"))  # of the training set, for who works from it
    for name, arm in ARMS.items():
        run = forgotten(followed, original, told["forget loss"], arm, seed, held)
        found = measured(task, run.model, goal)
        yield {"arm": name, "seed": seed, "updates": int(run.steps[-1]), "model": run.model, **found}


def shown(task: imu.tasks.Language) -> list[int]:
    """The pairs whose answers are shown."""
    return task.split("forget").ids[list(SHOWN)].tolist()


def answers(asked: list[list[str]], said: dict[str, list[str]]) -> str:
    """Markdown of a few questions, each with its answer in the data and what each model answers."""
    blocks = []
    for at, (question, answer) in enumerate(asked):
        lines = [f"**{question}**", "", f"- in the data: {answer}"]
        blocks.append("\n".join([*lines, *(f"- {name}: {short(words[at])}" for name, words in said.items())]))
    return "\n\n".join(blocks)


def short(words: str) -> str:
    """The beginning of a long answer, in one line."""
    words = " ".join(words.split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} …"


def main(arguments: list[str] | None = None) -> int:
    """Train each seed's two models, run the arms, and write the table and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tofu", description=__doc__)
    parser.add_argument("folder", type=Path, help="laid out like TOFU: full.json, forget01.json, ...")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=report.RESULTS / "tofu.md")
    given = parser.parse_args(arguments)
    task = imu.tasks.Language(part(given.folder), split=REQUEST, shape=SHAPE, recipe=RECIPE)
    asked = [task.corpus.train[example] for example in shown(task)]
    facts = {
        "about": task.about,
        "size": sum(value.numel() for value in task.make_model(0).parameters()) / 1e6,
        "asked": [[pair.question, pair.answer] for pair in asked],
        "answers": {},
    }
    table: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for row in rows(task, seed):
            model = row.pop("model")
            if row["arm"] in ANSWERING and seed == 0:
                facts["answers"][row["arm"]] = task.answers_of(model, shown(task))
            table.append(row)
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
        keep(table, facts, given.out)  # after each seed, for it is long
    return 0


def keep(rows: list[dict[str, Any]], facts: dict[str, Any], out: Path) -> None:
    """Write the table, with what else the page tells as its ``attrs``, and the page that is made of it."""
    table = pd.DataFrame(rows)
    table.attrs = facts
    storage.write_whole(out.with_suffix(".parquet"), table.to_parquet(index=False))
    storage.write_whole(out, markdown(table).encode())


def markdown(table: pd.DataFrame) -> str:
    """The whole page, made of the table and nothing else."""
    seeds, facts = table["seed"].nunique(), table.attrs
    means = table.drop(columns="seed").groupby("arm", sort=False)
    told, spread = means.mean().apply(lambda column: column.map("{:.3g}".format)), means.std()
    for name in told:
        told[name] += spread[name].map(lambda value: "" if pd.isna(value) or value == 0 else f" ± {value:.2g}")
    return "\n\n".join(
        [
            "# TOFU: forget01, with models trained here",
            f"{facts['about']}. A Llama of {facts['size']:.1f} M parameters from fresh weights, {RECIPE.epochs} epochs; only "
            f"the output layer moves afterwards, each update by {LENGTH:g} of its own length. Each arm stops after the first "
            "update whose mean loss on the forget set reaches the retrained model's. Each seed has an original and a "
            f"retrained model of its own; seeds: {seeds}; mean ± standard deviation over them. "
            "Losses in nats per token; the truth ratio is that of the forget set, the mean of min(R, 1/R), and should be the "
            "retrained model's; the KS distance is that of the truth ratios to those of the retrained model, 0 is good. "
            f"`python -m benchmarks.tofu FOLDER --seeds {seeds}` makes this page; the rows of all seeds are in `tofu.parquet`.",
            _markdown(told),
            verdict(table),
            "## Answers",
            "What the models of the first seed write.",
            answers(facts["asked"], facts["answers"]) + "\n",
        ]
    )


def verdict(table: pd.DataFrame) -> str:
    """What the table says: how well each arm keeps, and whose truth ratio is nearest to the retrained model's."""
    means = table.drop(columns="seed").groupby("arm", sort=False).mean()
    kept = means["retain loss"]
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
    ratios = table.pivot(index="seed", columns="arm", values="truth ratio")
    apart = ratios.sub(ratios["retrained"], axis=0).abs().drop(columns="retrained")
    near = apart.mean().idxmin()
    words.append(
        f"The truth ratio that is nearest to the retrained model's is, over the seeds, that of {near}: "
        f"{apart[near].mean():.2g} away in the mean, and the nearest in {(apart.idxmin(axis=1) == near).sum()} of {len(apart)} "
        f"seeds; doing nothing is {apart['do nothing'].mean():.2g} away."
    )
    return " ".join(words)


def _markdown(table: pd.DataFrame) -> str:
    lines = ["| arm | " + " | ".join(table) + " |", "|---|" + "---|" * len(table.columns)]
    return "\n".join(
        [*lines, *("| " + " | ".join([str(name), *row]) + " |" for name, row in zip(table.index, table.values))]
    )


if __name__ == "__main__":
    sys.exit(main())
