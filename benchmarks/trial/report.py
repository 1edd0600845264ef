"""The trial's table as a tidy file and as Markdown for people; the README quotes the summary."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import imu_lab as imu
from benchmarks.trial.plan import ARMS, ENTRIES, TUNING, UNIFORM, Entry, words
from imu_lab.core import storage

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
ORIGINAL, RETRAINED = "original", "retrained"
NAMES = {ORIGINAL: "original: do nothing", RETRAINED: "retrained: the goal"}
FORGET, TEST = "forget kl_retrained", "test kl_retrained"


def keep(table: pd.DataFrame, out: Path = RESULTS) -> None:
    """Write the rows of tasks that were tried now, in the place of their old ones, and all that is made of the table."""
    write(table, "trial", list(ENTRIES), out, markdown, summary)


def write(
    table: pd.DataFrame,
    stem: str,
    tasks: list[str],
    out: Path,
    markdown: Callable[[pd.DataFrame], str],
    summary: Callable[[pd.DataFrame], str],
) -> None:
    """Put a table's tasks in the place of their old rows in ``stem.parquet``, and make ``stem.md`` and the README's copy.

    Args:
        tasks: all that there can be, in order.

    Raises:
        ValueError: the README has not exactly one place for the summary.
    """
    path = out / f"{stem}.parquet"
    now = set(table["task"])
    old = [rows[~rows["task"].isin(now)] for rows in ([pd.read_parquet(path)] if path.exists() else [])]
    whole = pd.concat([table, *(rows for rows in old if len(rows))], ignore_index=True)
    whole = whole.sort_values("task", key=lambda column: column.map(tasks.index), kind="stable").reset_index(drop=True)
    storage.write_whole(path, whole.to_parquet(index=False))
    storage.write_whole(out / f"{stem}.md", markdown(whole).encode())
    if out == RESULTS:
        words, places = place(stem).subn(lambda _: summary(whole), README.read_text("utf-8"))
        if places != 1:
            raise ValueError(
                f"the README has {places} places between <!-- {stem} --> and <!-- /{stem} -->; one is filled"
            )
        storage.write_whole(README, words.encode())


def place(stem: str) -> re.Pattern[str]:
    """What finds the place of a table's summary in the README."""
    return re.compile(rf"<!-- {stem} -->\n.*?<!-- /{stem} -->", re.S)


def summary(table: pd.DataFrame) -> str:
    """One row per arm, one column per task that was tried: the distances to the retrained model, and what uniform has more."""
    tasks = list(dict.fromkeys(table["task"]))
    head = "| arm | needs | " + " | ".join(tasks) + " |\n|---|---|" + "---|" * len(tasks)
    columns = [_summary_column(table[table["task"] == name]) for name in tasks]
    needs = dict(zip(table["arm"], table["needs"].fillna("")))
    needs |= {arm: found for arm, found in zip(table["arm"], table["needs"]) if isinstance(found, str)}
    arms = [arm for arm in dict.fromkeys(table["arm"]) if arm != RETRAINED]
    rows = [
        f"| {NAMES.get(arm, arm)} | {needs[arm]} | " + " | ".join(column.get(arm, "") for column in columns) + " |"
        for arm in arms
    ]
    floors = " | ".join(
        _pair(*(_mean(table[table["task"] == name], RETRAINED, f"{split} others") for split in SPLITS))
        for name in tasks
    )
    rows.append(f"| *two retrained models* | | {floors} |")
    return "\n".join(["<!-- trial -->", head, *rows, "<!-- /trial -->"])


MOST = 1 - 1e-6  # a correlation of 1 has no z
SPLITS = ("forget", "test")


def _summary_column(table: pd.DataFrame) -> dict[str, str]:
    """By arm: ``0.014 / 0.008 (−0.020 ± 0.006)``."""
    differences = _against(table, UNIFORM, [TEST])
    cells = {}
    for arm in dict.fromkeys(table["arm"]):
        mine = table[table["arm"] == arm]
        if "refused" in mine and mine["refused"].notna().all():
            cells[arm] = "cannot serve"
            continue
        if mine[TEST].isna().all():
            cells[arm] = "never got there"
            continue
        words = _pair(mine[FORGET].mean(), mine[TEST].mean())
        cells[arm] = words + (f" ({differences[TEST, arm]})" if arm not in (UNIFORM, RETRAINED) else "")
        part = int(mine[TEST].notna().sum())
        cells[arm] += f", {part} of {len(mine)} seeds" if part < len(mine) else ""
    return cells


def markdown(table: pd.DataFrame) -> str:
    """The whole report, made of the table and nothing else."""
    parts = [INTRODUCTION, summary(table), SUMMARY_WORDS]
    for name, entry in ENTRIES.items():
        mine = table[table["task"] == name]
        parts.append(f"## {name}")
        parts += (
            _section(mine, entry) if len(mine) else [f"Not tried{': it ' + entry.missing if entry.missing else ''}."]
        )
    parts.append("## Settings that were tried\n\n" + SETTINGS)
    parts += ["\n".join(f"- {name}: " + "; ".join(words(tried) for tried in arm.tried) for name, arm in ARMS.items())]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Does influence pay? The trial

Made by `make trial` from `benchmarks/trial/plan.py`; the rows of all runs are in `trial.parquet`. Every arm starts from the
same models, makes updates of the same length, and is read at equal forgetting. Distances are KL(retrained model ‖ model) in
nats per prediction, to the model that was retrained under the same seed.

The first number is the distance on the forget set, the second that on unseen data to keep; in brackets what the second is
more (+) or less (−) than that of uniform ascent, paired by seed, with the 95 % interval of the mean (Student's t)."""

SUMMARY_WORDS = """*Two retrained models* is the noise floor: the mean distance between models that were retrained under different
seeds. The influence step and the Newton step are one update each; they are read at its end, whatever they have forgotten."""

SETTINGS = f"""Each arm was given three settings, tried under seeds {TUNING[0]} and {TUNING[1]}, which are reported nowhere. The
one that reached the goal most often, and of those the nearest to the retrained model on unseen data (of sequences: on the
forget set), is the arm's setting in the tables; a control takes that of the arm whose control it is."""


def _section(table: pd.DataFrame, entry: Entry) -> list[str]:
    seeds = table["seed"].nunique()
    about = (
        f"Read at {entry.forgetting}; {table['steps'].iloc[0]}, at most {entry.steps} updates; {seeds} seeds. "
        f"{table['versions'].iloc[0]}, sources {table['sources'].iloc[0]}; {table['machine'].iloc[0]}."
    )
    return [about, _in_short(table), _whole_table(table, entry), _verdicts(table), *_resisting(table), *_heads(table)]


def _whole_table(table: pd.DataFrame, entry: Entry) -> str:
    """One row per arm: means ± standard deviation over seeds, differences to uniform with their intervals."""
    differences = _against(table, UNIFORM, [FORGET, TEST])
    wanted = {
        "forget KL": FORGET, "test KL": TEST, "to other seeds, forget": "forget others", "test": "test others",
        entry.known: entry.known, "updates": "updates", "seconds": "seconds",
        "probe": "test-forget linear probe", "prototypes": "test-forget prototypes",
    }  # fmt: skip
    shown = {title: column for title, column in wanted.items() if column in table and table[column].notna().any()}
    head = ["arm", "needs", "setting", "reached", "− uniform, forget", "− uniform, test", *shown]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm in dict.fromkeys(table["arm"]):
        mine = table[table["arm"] == arm]
        cells = [NAMES.get(arm, arm), _first(mine["needs"]), _first(mine["setting"]), _reached(mine, entry)]
        cells += ["" if arm == UNIFORM else differences[name, arm] for name in (FORGET, TEST)]
        lines.append("| " + " | ".join([*cells, *(_spread(mine[column]) for column in shown.values())]) + " |")
    return "\n".join(lines)


def _reached(mine: pd.DataFrame, entry: Entry) -> str:
    """How often the goal was reached; where it never was, how near it came."""
    if "refused" in mine and mine["refused"].notna().all():
        return "cannot serve: " + _first(mine["refused"]).split(";")[0].split(". ")[0]
    count = f"{int(mine['reached'].sum())} of {len(mine)}"
    if entry.goal == "nearest" and mine["updates"].mean() > 0.95 * entry.steps:
        return count + ", still nearing at the last update"
    if mine["reached"].all() or _first(mine["arm"]) in NAMES or entry.goal == "nearest":
        return count
    return f"{count}; came to {mine['came_to'].mean():.3g} ({_first(mine['goal'])})"


def _in_short(table: pd.DataFrame) -> str:
    """Whether curvature and joint weights pay on this task: the interval of the difference to uniform ascent decides."""
    parts = []
    for arm in ("curvature-ascent", "joint-ascent"):
        told = []
        for column, where in ((TEST, "unseen data to keep"), (FORGET, "the forget set")):
            found = imu.over_seeds(table, [column], against=UNIFORM)
            found = found[(found["arm"] == arm) & (found["seeds"] > 1)]
            if len(found):
                low, high = found["low"].iloc[0], found["high"].iloc[0]
                side = "pays" if high < 0 else "costs" if low > 0 else "changes nothing that these seeds show"
                told.append(f"{side} on {where} ({_against(table, UNIFORM, [column])[column, arm]})")
        if told:
            parts.append(f"**{arm}** {' and '.join(told)}")
    return f"Against uniform ascent, {'; '.join(parts)}." if parts else "Nothing to compare with uniform ascent."


def _verdicts(table: pd.DataFrame) -> str:
    """In sentences: who is nearer than uniform ascent and than doing nothing, and what lies inside the noise floor."""
    lines = [
        f"- On {where}, against {of}: {_verdict(table, split, other)}"
        for split, where in (("test", "unseen data to keep"), ("forget", "the forget set"))
        for other, of in ((UNIFORM, "uniform ascent"), (ORIGINAL, "doing nothing"))
    ]
    for name, arm in ARMS.items():
        if arm.control_of and arm.control_of in set(table["arm"]):
            found = _against(table, name, [TEST])[TEST, arm.control_of] or "nothing to compare"
            lines.append(
                f"- On unseen data to keep, {arm.control_of} minus the same weights on the wrong samples: {found}."
            )
    return "\n".join(lines)


def _verdict(table: pd.DataFrame, split: str, other: str) -> str:
    found = imu.over_seeds(table, [f"{split} kl_retrained"], against=other)
    found = found[~found["arm"].isin([other, ORIGINAL, RETRAINED]) & (found["seeds"] > 1)]
    sides = {
        "nearer to the retrained model": found["high"] < 0,
        "farther from it": found["low"] > 0,
        "no difference found": (found["low"] <= 0) & (found["high"] >= 0),
    }
    told = "; ".join(f"{side} {', '.join(found['arm'][which])}" for side, which in sides.items() if which.any())
    floor = _mean(table, RETRAINED, f"{split} others")
    beyond = found["arm"][found["mean"].abs() > floor]
    noise = f"more than the noise floor ({floor:.3f}) in the mean: {', '.join(beyond) or 'none'}"
    return f"{told or 'none to compare'}. Of these differences {noise}."


def _resisting(table: pd.DataFrame) -> list[str]:
    """Whether the samples that resist under uniform ascent resist under each arm, too."""
    if "alike" not in table:
        return []
    # By Fisher's z, so that no interval leaves [-1, 1].
    found = imu.over_seeds(table.assign(alike=np.arctanh(table["alike"].clip(-MOST, MOST))), ["alike"]).set_index("arm")
    found[["mean", "low", "high"]] = np.tanh(found[["mean", "low", "high"]])
    told = [
        f"{NAMES.get(arm, arm)} {row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]".replace("-0", "−0")
        for arm, row in found.iterrows()
        if arm not in (UNIFORM, RETRAINED) and row["seeds"] > 1
    ]
    return [
        "Do the same samples resist? Spearman's correlation of the samples' margins at the goal with those under uniform "
        "ascent, mean over seeds [95 % interval, by Fisher's z]; that of doing nothing says what was so before any update: "
        f"{', '.join(told)}."
    ]


def _heads(table: pd.DataFrame) -> list[str]:
    if "test-forget linear probe" not in table or table["test-forget linear probe"].isna().all():
        return []
    goal, original = (_mean(table, arm, "test-forget linear probe") for arm in (RETRAINED, ORIGINAL))
    means = table[~table["arm"].isin([RETRAINED, ORIGINAL])].groupby("arm")["test-forget linear probe"].mean().dropna()
    same = "the same under every arm, for only the last layer moved"
    under = same if np.ptp(means) < 1e-9 else f"{means.min():.3f} to {means.max():.3f} under the arms"
    return [
        "Is it only the head? `probe` and `prototypes` are the accuracies on unseen samples of what was forgotten, of a fresh "
        f"linear probe and of class means of ten samples on the frozen features. The probe finds {goal:.3f} on the retrained "
        f"model's features, which is the goal, {original:.3f} on the original's, and {under}."
    ]


def _against(table: pd.DataFrame, other: str, columns: list[str]) -> dict[tuple[str, str], str]:
    """{(column, arm): "−0.020 ± 0.006"}."""
    found = imu.over_seeds(table, columns, against=other)
    return {
        (row.quantity, row.arm): f"{row.mean:+.3f} ± {row.high - row.mean:.3f}".replace("-", "−")
        if row.seeds > 1
        else ""
        for row in found.itertuples()
    }


def _mean(table: pd.DataFrame, arm: str, column: str) -> float:
    return float(table.loc[table["arm"] == arm, column].mean()) if column in table else np.nan


def _pair(forget: float, test: float) -> str:
    return f"{forget:.3f} / {test:.3f}"


def _spread(values: pd.Series) -> str:
    values = values.dropna().astype(float)
    if not len(values):
        return ""
    return f"{values.mean():.3g} ± {values.std(ddof=1):.2g}" if len(values) > 1 else f"{values.mean():.3g}"


def _first(values: pd.Series) -> str:
    known = [value for value in values if isinstance(value, str)]
    return known[0] if known else ""
