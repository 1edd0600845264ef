"""The comparison as a tidy file and as Markdown for people; the README quotes the summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import imu_lab as imu
from benchmarks.compare.plan import ANEW, ANEW_STEPS, ENTRIES, LOOKS, METHODS, SEEDS, TUNING, UNIFORM, WHOLE
from benchmarks.trial.report import FORGET, NAMES, ORIGINAL, RESULTS, RETRAINED, TEST, write

TITLE = "What should forgetting look like, and who gets there at what cost?"
FLOOR = "two retrained models"
KNOWN = "test accuracy"
NOT_TRIED = "not tried: hours"


def keep(table: pd.DataFrame, out: Path = RESULTS) -> None:
    """Write the rows of tasks that were compared now, in the place of their old ones, and all that is made of the table."""
    write(table, "compare", list(ENTRIES), out, markdown, summary)


def summary(table: pd.DataFrame) -> str:
    """One row per method and a column per task: distance on the forget set / on unseen data to keep, and the passes."""
    tasks = list(dict.fromkeys(table["task"]))
    columns = [_summary_column(table[table["task"] == name]) for name in tasks]
    needs = table[table["needs"] != ""].groupby("method")["needs"].first()
    lines = [f"| method | needs | {' | '.join(tasks)} |", "|---" * (2 + len(tasks)) + "|"]
    for method in [name for name in _methods(table) if name != RETRAINED]:
        cells = [
            NAMES.get(method, method),
            needs.get(method, ""),
            *(column.get(method, NOT_TRIED) for column in columns),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    goals = [f"{_goal(table[table['task'] == name])}" for name in tasks]
    lines.append(f"| *{FLOOR}* | | {' | '.join(goals)} |")
    return "\n".join(["<!-- compare -->", *lines, "<!-- /compare -->"])


def _summary_column(table: pd.DataFrame) -> dict[str, str]:
    """By method: ``0.012 / 0.006 ± 0.002, 6.4 passes``."""
    found = imu.over_seeds(table, [FORGET, TEST, "passes"], by=["method"]).set_index(["quantity", "method"])
    cells = {}
    for method in _methods(table):
        if (why := _why_not(table[table["method"] == method])) is not None:
            cells[method] = why
            continue
        forget, test, cost = (found.loc[(name, method)] for name in (FORGET, TEST, "passes"))
        cells[method] = f"{forget['mean']:.3f} / {_interval(test)}, {cost['mean']:.2g} passes"
        cells[method] += f", {int(test['seeds'])} of {int(test['of'])} seeds" if test["seeds"] < test["of"] else ""
    return cells


def _why_not(mine: pd.DataFrame) -> str | None:
    """Why a method has no numbers on a task; None where it has some."""
    if (mine["error"] != "").all():
        return "cannot serve"
    return "never got there" if mine[TEST].isna().all() else None


def _goal(table: pd.DataFrame) -> str:
    """How far retrained models of two seeds are from each other, and what retraining costs."""
    mine = table[table["method"] == RETRAINED]
    return f"{mine['forget others'].mean():.3f} / {mine['test others'].mean():.3f}, {mine['passes'].mean():.2g} passes"


def markdown(table: pd.DataFrame) -> str:
    """The whole report, made of the table and nothing else."""
    parts = [INTRODUCTION, summary(table)]
    for name, entry in ENTRIES.items():
        mine, parts = table[table["task"] == name], [*parts, f"## {name}"]
        if not len(mine):
            parts.append("Not compared: it " + entry.missing)
            continue
        parts.append(
            f"Read at {entry.forgetting}; every update {entry.step_norm:g} long, at most {entry.steps} of them; seeds "
            f"{', '.join(map(str, sorted(set(mine['seed']))))}. {_all(mine, 'versions')}, sources {_all(mine, 'sources')}; "
            f"{_all(mine, 'machine')}."
        )
        parts += [_whole_table(mine), _verdict(mine)]
    return "\n\n".join(parts) + "\n"


def _all(table: pd.DataFrame, column: str) -> str:
    """What the rows of a table say there: rows of other methods may have been made later."""
    return " and ".join(table[column].unique())


INTRODUCTION = f"""# {TITLE}

Made by `make compare` from `benchmarks/compare/plan.py`; the rows of all runs are in `compare.parquet`. Every method starts
from the same models and is read at equal forgetting. Each was given three settings, tried under the seeds
{" and ".join(map(str, TUNING))} (of CIFAR-10 the first alone), which are reported nowhere: the setting that reached the goal most
often, and of those the nearest to the retrained model on unseen data, is the method's setting below.

Distances are KL(retrained model ‖ model) in nats, to the model retrained under the same seed: on the forget set / on unseen
data to keep, mean ± the half width of the 95 % interval over {len(SEEDS)} seeds (Student's t). A *pass* is as many examples as
the training set holds: those of the forget and the retain set that a method read until then, and one for a statistic of
the training set.

Only the readout moves, and fine-tuning is then CF-k with k = 1; but a bad teacher moves the whole network, and CF-k and EU-k
the last layers. EU-k begins with layers that know nothing, which may be past the goal, and comes back from there: it is read at
its end, after {ANEW_STEPS} updates, and has numbers where it is then still as forgotten as the goal says. Its settings and its
length were changed once after its rows on the reported seeds had been seen, so its row flatters it. CF-k is recorded at
every {LOOKS["cf-k"]}th update and where it reaches the goal. Of CIFAR-10 these take a GPU: a look at 6,000 pictures through
the whole ResNet-20 takes about 20 s of one core (measured on a quarter of them, 5 to 6 s beside other work), so that a run of
300 updates takes 1.7 hours, and a method with its settings, seeds and both requests 20. So all rows of CIFAR-10 were made anew
on an NVIDIA H200, models included, by processes that shared it, so that their seconds compare with no others; the rows that a
CPU had made before are in `cifar10_on_a_cpu.parquet`. SalUn's run of seed 2 on the random tenth was made on a CPU from the same
models. Its run of seed 1 and UNDIAL's, made on both, are 3e-5 apart or less on unseen data.

Of all of CIFAR-10 each method has the setting that was chosen on the tenth of its pictures, and those that move more than the
readout were not tried: a look takes ten times as long there.

*Two retrained models* is how far models of different seeds are apart that were retrained, and what that costs."""


def _whole_table(table: pd.DataFrame) -> str:
    """One row per method, the nearest to the retrained model on unseen data first, then those without numbers."""
    wanted = {"forget KL": FORGET, "test KL": TEST, "test accuracy": KNOWN, "passes": "passes", "updates": "updates"}
    found = imu.over_seeds(table, [*wanted.values(), "seconds"], by=["method"]).set_index(["method", "quantity"])
    paired = imu.over_seeds(table, [TEST], by=["method"], against=UNIFORM).set_index("method")
    lines = [f"| method | needs | setting | reached | {' | '.join(wanted)} | seconds | − uniform, test KL |"]
    lines.append("|---" * (6 + len(wanted)) + "|")
    distance = {method: found.loc[(method, TEST), "mean"] for method in _methods(table)}
    for method in sorted(distance, key=lambda name: (np.isnan(distance[name]), distance[name])):
        mine = table[table["method"] == method]
        cells = [NAMES.get(method, method), mine["needs"].iloc[0], mine["setting"].iloc[0], _reached(mine)]
        cells += [_interval(found.loc[(method, column)]) for column in wanted.values()]
        cells += [f"{found.loc[(method, 'seconds'), 'mean']:.2g}", _interval(paired.loc[method], sign="+")]
        lines.append(f"| {' | '.join(cells[:-1] + ['' if method == UNIFORM else cells[-1]])} |")
    return "\n".join(lines)


def _reached(mine: pd.DataFrame) -> str:
    """How often the goal was reached; where it never was, how near it came, or why it could not be tried."""
    if (mine["error"] != "").all():
        return "cannot serve: " + mine["error"].iloc[0].split(";")[0].split(". ")[0]
    count = f"{int(mine['reached'].sum())} of {len(mine)}"
    if mine["reached"].any() or mine["method"].iloc[0] in NAMES:
        return count
    return f"{count}; came to {mine['came_to'].mean():.3g} ({mine['goal'].dropna().iloc[0]})"


def _verdict(table: pd.DataFrame) -> str:
    """In sentences: whose interval of the difference to doing nothing, and to uniform ascent, excludes 0."""
    lines = []
    for other, words in ((ORIGINAL, "doing nothing"), (UNIFORM, "uniform ascent")):
        for column, where in ((FORGET, "the forget set"), (TEST, "unseen data to keep")):
            found = imu.over_seeds(table, [column], by=["method"], against=other)
            found = found[~found["method"].isin([other, ORIGINAL, RETRAINED]) & (found["seeds"] > 1)]
            nearer, farther = (list(found["method"][which]) for which in (found["high"] < 0, found["low"] > 0))
            told = [f"nearer {', '.join(nearer)}"] if nearer else []
            told += [f"farther {', '.join(farther)}"] if farther else []
            lines.append(f"- On {where}, against {words}: {'; '.join(told) or 'no difference found'}.")
    return "\n".join(lines)


def _methods(table: pd.DataFrame) -> list[str]:
    """The rows of a table in the order of the plan, doing nothing first."""
    known = list(dict.fromkeys(table["method"]))
    order = [ORIGINAL, *METHODS, *WHOLE, *ANEW]
    place = {"shuffled": order.index("imu") + 0.5, **{name: at for at, name in enumerate(order)}}
    return sorted(known, key=lambda name: place.get(name, len(order)))


def _interval(found: pd.Series, sign: str = "") -> str:
    """``0.012 ± 0.003``; without an interval where there is one number, empty where there is none."""
    if found["mean"] != found["mean"]:
        return ""
    half = found["high"] - found["mean"]
    words = f"{found['mean']:{sign}.3g}" if abs(found["mean"]) >= 1 else f"{found['mean']:{sign}.3f}"
    return (words + (f" ± {half:.2g}" if half == half else "")).replace("-", "−")
