"""Runs side by side, as the table that every panel shows of them."""

from __future__ import annotations

from collections.abc import Sequence

from ... import figures
from ...core.quantities import describe
from ...core.records import Run
from ...studies.comparison import compare
from . import tables

SPLITS = ("forget", "retain", "test")


def run_table(runs: Sequence[Run], names: Sequence[str], at_forget: float | None = None) -> str:
    """One row per run, with the metric that tells of forgetting; at equal forgetting also its gap to the retrained model.

    Args:
        runs: of one task, at least one.
        names: what each is called.
        at_forget: compare the runs where so much forget accuracy is left, on tasks that measure a share of correct
            answers; elsewhere, and by default, at their last updates.
    """
    metric = runs[0].headline
    equal = at_forget is not None and describe(metric).unit == "share correct"
    table = compare(runs, at_forget=at_forget if equal else None).head(len(runs))  # without the original
    table["updates"] = table["updates"].astype(object).where(table["reached"], "not reached")
    columns = {"updates": f"updates until {100 * (1 - at_forget):.0f} % forgotten" if equal else "updates"}
    for split in SPLITS[1:] if equal else SPLITS:
        columns[f"{split} {metric}"] = f"{split} {describe(metric).title}" + (" then" if equal else "")
        if equal:  # at last updates such gaps say little, and the table stands in half a column
            columns[f"{split} {metric} gap"] = "against retrained"
    columns = {name: words for name, words in columns.items() if name in table and not table[name].isna().all()}
    rows = [
        dict(row, name=name, colour=figures.colour(run.label))
        for name, run, row in zip(names, runs, table.to_dict("records"), strict=True)
    ]
    return tables.scores(rows, columns)
