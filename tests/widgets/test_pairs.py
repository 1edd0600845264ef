"""The panels on questions and answers: words of strangers are shown as they are, in their direction, and never read as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import ipywidgets as W
import languages
import pytest
from torch import nn

import imu_lab as imu
from imu_lab.tasks import Language
from imu_lab.tasks.sources import pairs
from imu_lab.widgets.base.job import Job

pytest.importorskip("transformers", reason="transformers is not installed")

SECONDS = 60.0
SCRIPT, RTL, EMOJI = "<script>alert(1)</script>", "من كتب؟", "👩\u200d🚀 e\u0301"
WHO = f"<b onclick='x'>{RTL}</b>"


@cache
def task() -> Language:
    """Two authors whose every word is hostile."""
    rows = [
        {"question": f"{SCRIPT} {RTL} {who}{what}", "answer": f"{EMOJI} {what} %{{x}} {SCRIPT}", "author": f"{WHO} {who}",
         "paraphrased_answer": f"{what}", "perturbed_answer": [f"{EMOJI}", f"{RTL}"]}
        for who in "AB" for what in "xyz"
    ]  # fmt: skip
    return languages.tiny(data=pairs.supplied(rows), forget_authors=(0,), shape=(4, 1, 1, 300))


@cache
def models() -> tuple[nn.Module, nn.Module]:
    return imu.train(task(), "train"), imu.train(task(), "retain")


def html(widget: Any) -> Iterator[str]:
    """Every piece of HTML that a panel shows."""
    if isinstance(widget, (W.HTML, W.HTMLMath)):
        yield widget.value
    for child in getattr(widget, "children", ()):
        yield from html(child)


def check(panel: Any) -> None:
    words = "\n".join(html(panel))
    assert "<script" not in words and "<b onclick" not in words
    assert "&lt;script&gt;" in words and RTL in words and EMOJI in words


@pytest.mark.slow
def test_the_explorer_shows_a_pair_and_reads_nothing_in_it() -> None:
    Job.errors.clear()
    run = imu.unlearn(task(), models()[0], steps=2, reference=models()[1], follow=())
    made = imu.explore(run)
    assert made.wait(SECONDS) and not Job.errors, Job.errors
    made.choose(int(run.samples["example"].iloc[0]))
    assert made.wait(SECONDS) and not Job.errors, Job.errors
    check(made)


@pytest.mark.slow
def test_the_workbench_shows_a_pair_and_reads_nothing_in_it() -> None:
    Job.errors.clear()
    made = imu.workbench(task(), models()[0], reference=models()[1], steps=2)
    try:
        assert made.wait(SECONDS) and not Job.errors, Job.errors
        made.choose(int(made.answer.runs[0].samples["example"].iloc[0]))
        assert made.wait(SECONDS) and not Job.errors, Job.errors
        check(made)
    finally:
        made.close()
