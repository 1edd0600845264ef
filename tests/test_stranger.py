"""A stranger's first hour: a folder of pictures, a ResNet-18, no knob; and the section of the README that tells of it."""

from __future__ import annotations

import ast
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(SECTION,) = re.findall(r"### Your own pictures\n.*?```py\n(.*?)```", README, re.S)
CELLS, MINUTES = 12, 3
SHAPES = ("disc", "square", "cross")
WRONG = (7, 21, 48, 66, 90)  # of the discs' pictures, which show something else


def picture(shape: str, random: np.random.Generator) -> np.ndarray:
    """uint8 (32, 32, 3): a shape somewhere near the middle, light on dark, under noise."""
    y, x = np.mgrid[:32, :32] - random.uniform(12, 20, 2)[:, None, None]
    size = random.uniform(6, 10)
    inside = {
        "disc": x**2 + y**2 < size**2,
        "square": (abs(x) < 0.85 * size) & (abs(y) < 0.85 * size),
        "cross": ((abs(x) < 2.5) | (abs(y) < 2.5)) & (abs(x) < size) & (abs(y) < size),
    }[shape]
    colours = random.uniform(0, 110, 3), random.uniform(130, 255, 3)
    drawn = np.where(inside[..., None], colours[1], colours[0]) + random.normal(0, 20, (32, 32, 3))
    return drawn.clip(0, 255).astype(np.uint8)


def folder(path: Path, seed: int) -> Path:
    """``train/<class>`` with 120 pictures of each class, ``test/<class>`` with 30; five discs are something else."""
    random = np.random.default_rng(seed)
    for part, count in (("train", 120), ("test", 30)):
        for name in SHAPES:
            (path / part / name).mkdir(parents=True)
            for number in range(count):
                wrong = part == "train" and name == "disc" and number in WRONG
                shape = SHAPES[1 + WRONG.index(number) % 2] if wrong else name
                Image.fromarray(picture(shape, random)).save(path / part / name / f"{number:03d}.png")
    return path


def test_the_section_is_short() -> None:
    cells = [cell for cell in SECTION.split("\n\n") if cell.strip()]
    assert len(cells) <= CELLS and "architecture" in SECTION
    called = [node for node in ast.walk(ast.parse(SECTION)) if isinstance(node, ast.Call)]
    given = {word.arg for call in called for word in call.keywords}
    assert given <= {"forget_class", "architecture", "on"}, "a request and a model are no knobs; all else is"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])  # two of three that were tried; all found the five
def test_the_mislabelled_are_among_the_ten_most_suspect(seed: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("IMU_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "pictures", seed)
    names: dict[str, Any] = {}
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*the run (collapsed|passed)")  # what a run with no stop_at= says
        exec(compile(SECTION, "README.md", "exec"), names)  # the README itself is what is tested
    spent = time.process_time() - started
    task, run, table = names["task"], names["run"], names["table"]
    # Seven trainings, of three folders, came to 0.85 to 0.98 on one processor; one answer alone is right on 0.5.
    assert task.evaluate(names["original"], "test")["accuracy"] > 0.75, "a default recipe learns so few pictures, too"
    right = (run.samples["margin_before"] >= 0).sum()
    assert run.events["forgotten"] == right > 100 and run.events["goal_at"] is not None
    assert len(table) == 120 and {"rank", "time_to_forget", "label_suspicion", "likelier"} <= set(table)
    ten = table.sort_values("label_suspicion", ascending=False).head(10)
    found = {int(Path(file).stem) for file in ten["file"]} & set(WRONG)
    assert found == set(WRONG), f"only {sorted(found)} among {ten['file'].tolist()}"
    assert spent < 2 * 60 * MINUTES, "the processors' seconds, of two"
