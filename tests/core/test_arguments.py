"""Every public function says in one sentence what it was handed in the place of what it takes, before any work starts."""

import inspect
import pickle
import re
from typing import Any

import cases
import numpy as np
import pytest

import imu_lab as imu

BY_DRAWING = {name for name in imu.__all__ if name.startswith("plot_")}  # which are tested beside the figures
FREE = {"check", "predict", "knob", "estimator", "intensity_rule", "method", "metric", "check_task", "clear_caches"}
KIT = {
    "descend",
    "forget_batches",
    "retain_batches",
}  # for writing a method: what they give is made when it is asked for
PUBLIC = {name: call for name in imu.__all__ if inspect.isfunction(call := getattr(imu, name))}
NEEDED = {"example": 0, "examples": [0], "where": "loss > 0", "path": "page.html", "step": 1, "at_forget": 0.1}
NEEDED |= {"help": "On or off.", "quantities": "steps", "methods": "imu", "arms": {"imu": {}}, "sliders": {}}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    task, model = cases.task("toy"), cases.original("toy")
    scores = imu.influence(task, model)
    run = imu.unlearn(task, model, steps=1, lr=0.5)
    return {"task": task, "model": model, "scores": scores, "run": run, "class": type(task)} | {
        "weights": imu.intensity(scores), "matrix": imu.influence_matrix(task, model), "array": np.arange(4.0),
        "none": None, "words": "digits", "number": 3, "row": [None], "names": {"a": None}, "table": run.samples,
    }  # fmt: skip


def right(first: inspect.Parameter, given: str) -> bool:
    """Whether that of these things may stand in the first place."""
    places = {"Task": "task", "Run": "run", "Influence": "scores", "Intensity": "weights", "InfluenceMatrix": "matrix"}
    places |= {"Module": "model", "str": "words", "DataFrame": "table"}
    return given in {places.get(word) for word in re.findall(r"\w+", first.annotation)}


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - BY_DRAWING - FREE - KIT))
def test_a_wrong_first_argument_is_told_of(name: str, made: dict) -> None:
    call, (first, *others) = PUBLIC[name], inspect.signature(PUBLIC[name]).parameters.values()
    beside = made | NEEDED | {"original": made["model"], "models": {"a": made["model"]}, "reference": made["model"]}
    beside |= {"other": made["scores"], "truth": made["table"], "run_b": made["run"]}
    asked = {
        each.name: beside[each.name] for each in others if each.default is each.empty and each.kind != each.VAR_KEYWORD
    }
    for kind, given in made.items():
        if right(first, kind):
            continue
        with pytest.raises((TypeError, ValueError)) as caught:
            call(given, **asked)
        words = str(caught.value)
        assert "attribute" not in words and "argument must be" not in words and "os.PathLike" not in words, words
        assert re.search(r"\b(got|need|fit)\b", words), (kind, words)


FLAGS = [
    (name, each.name) for name, call in PUBLIC.items() for each in inspect.signature(call).parameters.values()
    if each.annotation == "bool" and name not in BY_DRAWING
]  # fmt: skip


@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_a_word_is_no_flag(name: str, flag: str, made: dict) -> None:
    """Words are always on, also "no"."""
    first, *others = inspect.signature(PUBLIC[name]).parameters.values()
    beside = made | NEEDED | {"original": made["model"]}
    asked = {
        each.name: beside[each.name] for each in others if each.default is each.empty and each.kind != each.VAR_KEYWORD
    }
    good = next((given for kind, given in made.items() if right(first, kind)), None)
    for word in ("no", "False", None, 2, np.array([True, False])):
        with pytest.raises(ValueError, match=f"{name} needs True or False for {flag}, got "):
            PUBLIC[name](good, **asked, **{flag: word})


def test_methods_of_records_take_no_words_for_flags_either(made: dict, tmp_path) -> None:
    session, held = imu.Session(made["task"], made["model"]), imu.statistics(made["task"], made["model"])
    for ask in (
        lambda: session.influence(cache="no"), lambda: session.unlearn(steps=1, lr=0.1, cache="no"), lambda: session.view("no"),
        lambda: made["run"].save(tmp_path / "a", overwrite="no"), lambda: held.save(tmp_path / "b", overwrite="no"),
        lambda: imu.explore(made["run"]).save(tmp_path / "c.html", overwrite="no"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="needs True or False for (cache|overwrite), got 'no'"):
            ask()
    assert not list(tmp_path.iterdir())
    assert imu.influence(made["task"], made["model"], cache=np.bool_(False)).values.shape == (len(made["scores"]),)


def test_a_slip_is_told_with_the_way_out(made: dict) -> None:
    slips = {
        "takes a run of imu.unlearn; got a list of Run; pick one of them": lambda: imu.report([made["run"]], "a.html"),
        r"takes a task, .*; got a type; make one of it, as in Toy\(...\)": lambda: imu.train(imu.tasks.Toy),
        "missing a required argument: 'model'|missing 1 required positional argument: 'model'": lambda: imu.influence(made["task"]),
        "unexpected keyword argument 'casche'": lambda: imu.neighbours(made["task"], made["model"], casche=True),
        r"influence takes a model \(a torch.nn.Module\), .*; got a Run": lambda: imu.influence(made["task"], made["run"]),
    }  # fmt: skip
    for words, slip in slips.items():
        with pytest.raises(TypeError, match=words):
            slip()


def test_public_functions_can_be_sent_to_another_process() -> None:
    for name, call in PUBLIC.items():
        assert pickle.loads(pickle.dumps(call)) is call, name
