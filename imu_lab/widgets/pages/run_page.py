"""A run as a page: map, trajectories, histograms, ledger and the card of one sample, linked, without a kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ... import figures
from ...core.records import Run
from ...figures import dots, theme
from ...figures.explorer import AREA, AREAS, FAINT, LINE_OF_NAME, NAMED, shortened
from ...figures.explorer import KEPT as OPAQUE
from ...studies.brushing import bars
from ...studies.landscape import Landscape
from ..base import tables
from ..base.ledger import quantities, widened, withstood
from . import page
from .held import KEPT, NO_CLASS, Held
from .looks import cards_of, column_of, sprites_of
from .sprites import Sprites


def report(
    run: Run,
    path: str | os.PathLike,
    *,
    table: pd.DataFrame | None = None,
    projection: str = "pca",
    overwrite: bool = False,
) -> Path:
    """Write a run to one HTML file whose views are linked and need no kernel, no network and no installation.

    In the page one goes through the updates, selects samples by a lasso, by rows of the trajectories or by histograms of the
    ledger's columns, and chooses one to see its card. The file stays under 8 MB: of a large forget set, of many updates and
    of pictures it holds as many as fit, evenly spaced, and the page says so.

    Args:
        run: any run, also a loaded one; without its task there is no border, and no pictures, which the page says.
        path: of the file.
        table, projection: as in :func:`imu_lab.explore`.
        overwrite: replace a file that is there.

    Returns:
        The path.

    Raises:
        TypeError: no single run, or no path.
        FileExistsError: the path is taken and ``overwrite`` is False.

    >>> imu.report(run, "run.html")
    """
    path = page.check_path(path, overwrite)
    own = withstood(run)
    samples = widened(run.samples, own if table is None else widened(table, own))
    return page.write(path, run_page(Landscape(run, projection, KEPT), samples), overwrite)


def run_page(
    land: Landscape,
    samples: pd.DataFrame,
    *,
    selected: Iterable[int] | None = None,
    chosen: int | None = None,
    colour_by: str = "confidence",
) -> str:
    """The page of a run as one string of HTML.

    Args:
        land: where its samples lie.
        samples: its ledger, with all columns to colour and filter by.
        selected, chosen: what is selected at first (None: all), and whose card is shown.
        colour_by: ``"confidence"``, ``"margin"`` or a column.
    """
    run, held = land.run, Held(land)
    varied = quantities(samples)
    columns = [name for name in samples if name in varied or name in tables.LEDGER]
    forget = held.examples[: held.count]
    values = samples.set_index("example")[columns].loc[forget].astype(float).to_numpy(np.float32)
    pictures = sprites_of(run.task, held.examples)
    cards = cards_of(run.task, held.examples)
    histograms = [bars(column) for column in values.T]
    arrays = {**held.arrays(), "values": values.T, "bars": np.array([each.bar for each in histograms], np.uint8)}
    words = {
        **_scales(land, held, columns, varied),
        "bars": [[ends if np.isfinite(ends).all() else None for ends in each.ends.tolist()] for each in histograms],
        "first": run.last_useful(held.steps),
        "limit": run.events.get("utility_limit"),
        "colour_by": colour_by,
        "selected": None if selected is None else [int(each) for each in selected],
        "chosen": None if chosen is None else int(chosen),
        "cards": {str(example): card for example, card in cards.items()},
        "curves": json.loads(figures.plot_curves([run]).to_json()) if len(run.curve) else None,
    }
    if pictures is not None:
        arrays |= pictures.arrays()
        words["sprites"] = pictures.words()
    body = _body(run, land, notes(held, pictures, len(cards)))
    return page.whole(f"Run {run.label}", body, page.Data(words, arrays), "run_page.js")


def _scales(land: Landscape, held: Held, columns: list[str], varied: list[str]) -> dict[str, Any]:
    """What numbers stand for, and the looks of the notebook's explorer."""
    numbers = np.unique(held.arrays()["predicted"])
    live = ["confidence", *(["margin"] if held.has_margins else [])]
    areas = range(len(land.logits_of_the_plane(int(held.steps[0])).T)) if "borders" in held.arrays() else ()
    named = {int(number) for number in numbers if number != NO_CLASS} | set(areas)
    return {
        "count": held.count,
        "labels": held.label_names,
        "classes": {number: land.class_name(number) for number in sorted(named)},
        "brief": dict(zip(sorted(named), shortened([str(land.class_name(number)) for number in sorted(named)]))),
        "name": {"line": LINE_OF_NAME, "area": NAMED},
        "columns": [column_of(name) | {"varies": name in varied} for name in columns],
        "live": [column_of(name) | {"title": f"{tables.title(name)} now"} for name in live],
        "ledger": [name for name in tables.LEDGER if name in columns],
        "largest_margin": held.largest_margin,
        "window": [[float(end) for end in side] for side in dots.window(held.land.places[held.rows])],
        "size": [dots.WIDTH, dots.HEIGHT],
        "areas": AREAS,
        "opacity": {"area": AREA, "kept": OPAQUE, "faint": FAINT},
        "dots": theme.DOTS,
        "lost": theme.colour("test-forget"),
        "ink": theme.INK,
        "line": figures.colour(land.run.label),
    }


def notes(held: Held, pictures: Sprites | None, cards: int) -> list[str]:
    """What the page does not hold, in sentences."""
    land, run, told = held.land, held.land.run, []
    total, updates, shown = int(land.forgotten.sum()), len(land.steps), len(held.examples)
    if run.task is None:
        told.append("This run does not know its task, so there are no pictures, no kept samples and no border between "
                    "classes; imu.load_run(path, task=...) gives it back its task.")  # fmt: skip
    elif "borders" not in held.arrays():
        told.append(f"There is no border between classes: the plane is made by {land.about}.")
    if held.count < total:
        told.append(f"{held.count:,} of {total:,} forget samples are in this file, evenly spaced.")
    if shown - held.count == KEPT:
        told.append(f"{KEPT:,} kept samples are shown around the forget set; others are left out.")
    if len(held.steps) < updates:
        told.append(f"Samples are followed after {len(held.steps):,} of {updates:,} recorded updates, evenly spaced.")
    if run.task is not None and pictures is None:
        told.append("The task has no pictures of its samples.")
    if pictures is not None and len(pictures.examples) < shown:
        told.append(f"{len(pictures.examples):,} of {shown:,} pictures are in this file, evenly spaced.")
    if pictures is not None and pictures.squeezed:
        told.append("Pictures are squeezed: colours may be slightly off.")
    if run.task is not None and cards < shown:
        told.append(f"{cards:,} of {shown:,} cards have the task's own words.")
    if not len(run.reference):
        told.append("The run was not compared with a retrained model.")
    return told


def _body(run: Run, land: Landscape, told: list[str]) -> str:
    """The places of the views, and what is there before any of them is drawn."""
    listed = "".join(f"<li>{escape(note)}</li>" for note in told)
    aside = (
        f"<details class='imu-notes'><summary>What this file holds</summary><ul>{listed}</ul></details>" if told else ""
    )
    table = run.summary().to_html(index=False, border=0, float_format="{:.3f}".format, na_rep="–", escape=True)
    facts = repr(run).removeprefix(f"Run({run.label}, ").removesuffix(")")
    places = {"TITLE": escape(run.label), "FACTS": escape(facts), "NOTES": aside, "SUMMARY": table,
              "PLANE": escape(land.about)}  # fmt: skip
    return page.filled("run_page.html", places)
