"""Writes the workbench of the first lesson as one page that needs no installation: ``make page``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import imu_lab as imu

ABOUT = """A small network has learned to read handwritten digits, and is now to forget every 3 without being trained again. \
Each update makes the samples of the forget set harder for it. How much of that pressure each sample gets follows from its \
influence; the dotted lines are a model that was trained again without any 3, which is what perfect forgetting looks like.

Move damping and watch who is pressed. Move the quantile down to 0.05: whose curve is it then? Switch step_norm on, so that \
each run makes steps of one length: what is left of the saving? Move lr up: which digits go next, and how soon?"""
SLIDERS = {"lr": 5, "step_norm": [None, 0.02], "damping": 7, "quantile": [0.05, 0.5, 0.93, 1.0]}


def main(arguments: list[str] | None = None) -> int:
    """Train both models, work out all answers, and write the page."""
    parser = argparse.ArgumentParser(description="Write the workbench of lesson 00 as one HTML file.")
    parser.add_argument("--out", type=Path, default=Path("data/start_here.html"), help="where it goes")
    given = parser.parse_args(arguments)
    task = imu.tasks.Classification("digits", forget_class=3, seed=0)
    original, retrained = imu.train(task, "train", seed=0), imu.train(task, "retain", seed=0)
    bench = imu.workbench(task, original, reference=retrained)
    path = bench.save(given.out, SLIDERS, about=ABOUT, overwrite=True)
    bench.close()
    sys.stdout.write(f"The page, {path.stat().st_size / 1e6:.1f} MB: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
