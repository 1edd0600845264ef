"""The main job without a browser: ``python -m imu_lab`` prints the comparison and writes one HTML report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import imu_lab as imu
from imu_lab.core import storage
from imu_lab.core.messages import unheard
from imu_lab.studies.comparison import report_table
from imu_lab.widgets.pages import comparison

RULES = ("sqrt-clipped", "uniform", "shuffled", "gradient-norm")


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
    shown = report_table(plain + equal, given.at_forget)
    title = f"Forgetting class {task.classes[task.forgotten]}: {len(scores)} samples, {given.data}"
    page = comparison.write(plain, weights[0], shown, title)
    storage.write_whole(given.out, page.encode())
    sys.stdout.write(f"{title}\n\n{shown.to_string(index=False, na_rep='–')}\n\n")
    sys.stdout.write(f"The report with all curves: {given.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
