"""A run as one file: what it holds is what the run holds, what it lacks is said, and labels stay words."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from pages import held
from PIL import Image
from torch import nn

import imu_lab as imu
from imu_lab.studies.landscape import Landscape
from imu_lab.widgets.pages import page
from imu_lab.widgets.pages.run_page import run_page
from imu_lab.widgets.pages.sprites import sprites


@pytest.fixture(scope="module")
def run() -> imu.Run:
    task, original = cases.task("digits class"), cases.original("digits class")
    weights = imu.intensity(imu.influence(task, original))
    return imu.unlearn(task, original, weights, steps=20, reference=cases.retrained("digits class"))


@pytest.fixture(scope="module")
def written(run: imu.Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    return run.report(tmp_path_factory.mktemp("pages") / "run.html").read_text(encoding="utf-8")


def test_the_page_holds_the_numbers_of_the_run(run: imu.Run, written: str) -> None:
    words, arrays = held(written)
    ids, steps = arrays["examples"][: words["count"]], arrays["steps"]
    assert np.array_equal(ids, run.samples["example"]) and np.array_equal(steps, run.steps)
    for name, scale in (("confidence", 65_534), ("margin", 32_766 / words["largest_margin"])):
        wide = run.trajectory.pivot(index="example", columns="step", values=name).loc[ids].to_numpy()
        assert np.abs(arrays[name] / scale - wide).max() <= 0.51 / scale + 1e-5
    names = [each["name"] for each in words["columns"]]
    table = run.samples.set_index("example").loc[ids]
    for name in ("influence", "pressure", "time_to_forget"):
        assert cases.close(arrays["values"][names.index(name)], table[name].to_numpy(float))
    drawn = imu.plot_trajectories(run).data[0].customdata
    assert np.array_equal(ids[arrays["order"]], np.asarray(drawn)[:, 0]), "rows stand as in the notebook"


def test_what_is_the_same_for_all_is_on_the_card_but_nothing_to_sort_by(run: imu.Run) -> None:
    even = imu.unlearn(run.task, cases.original("digits class"), steps=2, lr=1e-6)
    words, arrays = held(page_of(even))
    told = {each["name"]: each["varies"] for each in words["columns"]}
    assert not told["weight"] and not told["time_to_forget"] and told["confidence_before"]
    assert {"weight", "time_to_forget"} <= set(words["ledger"])
    at = list(told).index("weight")
    assert cases.close(arrays["values"][at], even.samples.set_index("example").loc[arrays["examples"][:146], "weight"])


def page_of(run: imu.Run) -> str:
    return run_page(Landscape(run, context=50), run.samples)


def test_the_head_says_what_became_of_the_run_in_words(run: imu.Run, written: str) -> None:
    (facts,) = re.findall(r'id="facts">([^<]*)<', written)
    assert facts.startswith("20 updates, forget accuracy ") and "Run(" not in facts and not facts.endswith(")")


def test_borders_and_lost_samples_are_those_of_the_notebook(run: imu.Run, written: str) -> None:
    words, arrays = held(written)
    land = Landscape(run, context=1_500)
    assert cases.close(arrays["places"], land.places)
    for at, step in enumerate(run.steps):
        x, y, classes = land.regions(int(step))
        origin, across, up = arrays["borders"][at]
        drawn = (origin + x[None, :, None] * across + y[:, None, None] * up).argmax(2)
        assert (drawn == classes).mean() > 0.999
        start, now = land.state(0), land.state(int(step))
        assert np.array_equal(arrays["lost"][:, at], ((start.margin >= 0) & (now.margin < 0))[~land.forgotten])
        assert np.array_equal(arrays["predicted"][:, at], now.predicted)
    assert words["classes"]["3"] == "3"


def test_pictures_are_cut_out_where_they_belong(run: imu.Run, written: str) -> None:
    words, arrays = held(written)
    look = words["sprites"]
    for place in (0, 33, 1_030):
        sheet = np.asarray(
            Image.open(io.BytesIO(arrays[f"sheet {place // look['across'] ** 2}"].tobytes())).convert("RGB")
        )
        row, column = divmod(place % look["across"] ** 2, look["across"])
        high, wide = look["height"], look["width"]
        tile = sheet[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        assert np.array_equal(tile, run.task.pictures([arrays["pictured"][place]])[0])


@pytest.mark.full
def test_many_large_pictures_are_squeezed_then_thinned_and_that_is_told() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 40, 30, 3), dtype=np.uint8)
    look = lambda examples: noise[examples]  # noqa: E731
    exact, squeezed, thinned = (sprites(look, range(600), most) for most in (10**7, 900_000, 100_000))
    assert not exact.squeezed and squeezed.squeezed and len(exact.examples) == len(squeezed.examples) == 600
    assert 10 < len(thinned.examples) < 300 and {0, 599} <= set(thinned.examples)
    sizes = [sum(map(len, each.sheets)) for each in (squeezed, thinned)]
    assert sizes[0] < 1.1 * 900_000 and sizes[1] < 1.2 * 100_000
    assert (exact.width, exact.height) == (30, 40) and sprites(None, range(3), 10) is sprites(look, [], 10) is None


def test_nothing_is_fetched_and_only_the_page_s_own_scripts_may_run(written: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written)[1]
    assert policy.startswith("default-src 'none'") and "unsafe-inline" not in policy.split("style-src")[0]
    shell = re.sub(r'<script type="text/plain".*?</script>', "", written, flags=re.S)
    assert "://" not in shell and "import(" not in shell
    assert written.count('id="imu-plotly"') == 1


def test_a_run_without_its_task_says_what_is_missing(run: imu.Run, tmp_path: Path) -> None:
    text = imu.report(replace(run, task=None, reference=run.reference.iloc[:0]), tmp_path / "x.html").read_text()
    assert "does not know its task, so there are no pictures, no kept samples and no border" in text
    assert "not compared with a retrained model" in text
    words, arrays = held(text)
    assert "borders" not in arrays and "sprites" not in words and len(arrays["examples"]) == words["count"]


def test_a_run_without_margins_is_shown_without_times(run: imu.Run, tmp_path: Path) -> None:
    """As one that was read from files of open-unlearning."""
    names = ["example", "label", "confidence_before", "confidence_after"]
    bare = replace(run, task=None, snapshots=None, samples=run.samples[names],
                   trajectory=run.trajectory.drop(columns="margin"))  # fmt: skip
    words, arrays = held(imu.report(bare, tmp_path / "x.html").read_text())
    assert "margin" not in arrays and [each["name"] for each in words["live"]] == ["confidence"]
    explorer = imu.explore(bare)
    assert "when each was forgotten is not known" in explorer.paths.caption.value
    explorer.close()


def test_a_file_is_never_overwritten_by_accident(run: imu.Run, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        run.report(path)
    assert path.read_text() == "mine"
    assert run.report(str(path), overwrite=True) == path and path.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("path, error", [(3, TypeError), (None, TypeError), (".", IsADirectoryError)])
def test_what_is_no_path_is_refused(run: imu.Run, path: object, error: type) -> None:
    with pytest.raises(error, match="page.html"):
        run.report(path)


def test_what_is_no_run_is_refused(run: imu.Run, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a list of Run"):
        imu.report([run], tmp_path / "x.html")
    with pytest.raises(ValueError, match="no column 'example'"):
        imu.report(run, tmp_path / "x.html", table=pd.DataFrame({"a": [1]}))
    assert not list(tmp_path.iterdir())


def test_words_that_would_be_code_stay_words(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    x, y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    task = imu.tasks.Classification.from_data(model=nn.Linear(4, 3), train=(x[30:], y[30:]), test=(x[:30], y[:30]),
                                              forget_indices=range(6), classes=[hostile, "b", "c"])  # fmt: skip
    text = imu.report(imu.unlearn(task, task.make_model(0), steps=3, lr=0.1), tmp_path / "x.html").read_text()
    assert "<img src=x" not in text and text.count("</script>") == text.count("<script")


@pytest.mark.full
def test_an_explorer_is_saved_as_it_stands(run: imu.Run, tmp_path: Path) -> None:
    explorer = imu.explore(run, context=150)
    explorer.select(run.samples["example"].iloc[:5])
    explorer.choose(int(run.samples["example"].iloc[2]))
    words, arrays = held(explorer.save(tmp_path / "x.html").read_text())
    assert words["selected"] == run.samples["example"].iloc[:5].tolist() and words["chosen"] == explorer.chosen
    assert len(arrays["examples"]) == len(run.samples) + 150
    with pytest.raises(FileExistsError):
        explorer.save(tmp_path / "x.html")
    explorer.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the model is right on")  # nobody has trained it
def test_five_thousand_samples_with_pictures_stay_under_eight_megabytes(tmp_path: Path) -> None:
    noise = torch.Generator().manual_seed(0)  # which no format can squeeze
    x, y = torch.rand(7_050, 3, 32, 32, generator=noise), torch.randint(0, 10, (7_050,), generator=noise)
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))
    given = dict(train=(x[50:], y[50:]), test=(x[:50], y[:50]))
    task = imu.tasks.Classification.from_data(model=model, **given, forget_indices=range(5_000))
    run = imu.unlearn(task, model, steps=70, lr=0.01)
    path = run.report(tmp_path / "x.html")
    words, arrays = held(path.read_text())
    assert path.stat().st_size <= page.LARGEST and words["count"] == 5_000
    assert len(arrays["pictured"]) > 500 and f"{len(arrays['pictured']):,} of 6,500 pictures" in path.read_text()
    assert "61 of 71 recorded updates" in path.read_text()
