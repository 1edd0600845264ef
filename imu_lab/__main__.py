"""The main job without a browser: ``python -m imu_lab`` prints the comparison and writes one HTML report."""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import imu_lab as imu
from imu_lab.core import storage
from imu_lab.core.messages import unheard
from imu_lab.core.quantities import describe

RULES = ("sqrt-clipped", "uniform", "shuffled", "gradient-norm")
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child { text-align: left; white-space: nowrap; }
"""


def main(arguments: list[str] | None = None) -> int:
    """Forget a class with influence-guided weights and with each control, at plain and at equal step length."""
    parser = argparse.ArgumentParser(prog="imu_lab", description="Forget a class; compare IMU with its controls.")
    parser.add_argument("--data", default="digits", help="'digits' or a folder with train/<class>/* and test/<class>/*")
    parser.add_argument("--forget-class", default="3", help="number or name of the class to forget")
    parser.add_argument("--at-forget", type=float, default=0.01, help="compare at this forget accuracy")
    parser.add_argument("--steps", type=int, default=150, help="updates at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("data/report.html"), help="where the report goes")
    given = parser.parse_args(arguments)
    forget = int(given.forget_class) if given.forget_class.isdigit() else given.forget_class
    try:
        task = imu.tasks.Classification(given.data, forget_class=forget, seed=given.seed)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"{error}\n")
    original, retrained = imu.train(task, seed=given.seed), imu.train(task, "retain", seed=given.seed)
    scores = imu.influence(task, original)
    weights = [imu.intensity(scores, rule) for rule in RULES]
    how = dict(steps=given.steps, stop_at=given.at_forget, reference=retrained, seed=given.seed)
    with unheard():  # the report shows what became of each
        plain = [imu.unlearn(task, original, each, **how) for each in weights]
    length = 2 * float(plain[0].terms.query("term == 'update_norm'")["value"].median())
    with unheard():
        equal = [imu.unlearn(task, original, each, step_norm=length, **how) for each in weights]
    shown = imu.compare(plain + equal, at_forget=given.at_forget)
    told = [name for name in shown if name.endswith((" accuracy", " accuracy gap"))]
    shown = shown[["run", "updates", *told]].round(3).astype({"updates": "Int64"})
    title = f"Forgetting class {task.classes[task.forgotten]}: {len(scores)} samples, {given.data}"
    figures = [imu.plot_curves(plain), imu.plot_intensity(weights[0]), imu.plot_trajectories(plain[0])]
    storage.write_whole(given.out, page(title, shown, figures).encode())
    sys.stdout.write(f"{title}\n\n{shown.to_string(index=False, na_rep='–')}\n\n")
    sys.stdout.write(f"The report with all curves: {given.out}\n")
    return 0


def page(title: str, shown: pd.DataFrame, figures: Sequence[Any]) -> str:
    """A heading, a table of runs and figures as one string of HTML that opens without a network."""
    accuracy = describe("accuracy")
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(accuracy.title)}: {html.escape(accuracy.meaning)} ({html.escape(accuracy.good)}). Runs are compared "
        "at equal forgetting: each at its first update with the forget accuracy asked for; a gap counts from the "
        "retrained model. A saving in updates that vanishes at equal step length is a matter of step size, not of influence.</p>",
        shown.to_html(index=False, border=0, na_rep="–"),
        *(each.to_html(full_html=False, include_plotlyjs=not number, config={"displayModeBar": False})
          for number, each in enumerate(figures)),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


if __name__ == "__main__":
    sys.exit(main())
