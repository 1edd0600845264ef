"""An example for each public name: written here, from its docstring, or the shortest line of a lesson that uses it."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache

import build_notebooks
import nbformat

import imu_lab as imu

PLAIN_ASCENT = """
@imu.method("plain-ascent")
@dataclass(frozen=True)
class PlainAscent(imu.Descent):                # lr, momentum, batch_size and the rest become settings
    def __call__(self, task, model, request):
        objectives = (
            imu.Objective({"ascent": -task.example_loss(model, batch).mean()}, positions)
            for positions, batch in imu.forget_batches(self, model, request)
        )
        return imu.descend(self, imu.moving_parameters(task, model), objectives)"""
WRITTEN = {
    "plot_side_by_side": """
record = imu.side_by_side(run_a, run_b, reference=retrained)
imu.plot_side_by_side(record, view="classes")""",
    "side_by_side": """
record = imu.side_by_side(run_a, run_b, reference=retrained)""",
    "chosen_runs": """
imu.chosen_runs(imu.compare(runs), "test accuracy > 0.9, method = imu")""",
    "plot_audit": """
imu.plot_audit(imu.audit(run, reference=retrained))""",
    "rewind": """
imu.rewind(run)                                 # cut off where the forget set is known as well as unseen samples""",
    "prediction_matrix": """
imu.prediction_matrix(run, "test-forget")        # what is answered in place of the forgotten class""",
    "class_accuracy": """
imu.class_accuracy(run, reference=retrained)   # on samples it was trained on, and on unseen ones""",
    "plot_trial": """
made = imu.trial(task, arms, at_forget=0.01, seeds=range(5))
imu.plot_trial(imu.over_seeds(made, ["updates", "retain accuracy change"]))""",
    "forget_like": """
task = imu.forget_like(task, original, example=12, count=50)  # it, and those most like it""",
    "DamagedFile": """
try:
    run = imu.load_run("runs/first")
except imu.DamagedFile as error:
    print(error)  # which file, and what is wrong with it""",
    "UnknownName": """
try:
    imu.intensity(scores, "invers")
except imu.UnknownName as error:
    print(error)  # the nearest name, and all that exist""",
    "NoReadout": """
try:
    scores = imu.influence(task, model)
except imu.NoReadout as error:
    print(error)  # which layers there are, and how to name one""",
    "NoFirstOrder": """
try:
    imu.responsible(run, example=12)
except imu.NoFirstOrder as error:
    print(error)  # why this method's steps have no prediction""",
    "Influence": """
scores = imu.influence(task, original)
scores.values          # (n,)
scores.frame.sort_values("influence").head()""",
    "Intensity": """
weights = imu.intensity(scores)
weights.effective, weights.gini
weights.frame.nlargest(5, "weight")""",
    "Run": """
run = imu.unlearn(task, original, weights, stop_at="forgotten")
run.value("forget", "accuracy")
run.samples.sort_values("time_to_forget").head()
run.save("runs/first")""",
    "load_run": """
run.save("runs/first")
run = imu.load_run("runs/first")""",
    "Statistics": """
kept = imu.statistics(task, original)      # while the training set is at hand
kept.save("original.statistics")""",
    "load_statistics": """
kept = imu.load_statistics("original.statistics")
imu.unlearn(task, original, method="curvature-ascent", statistics=kept)""",
    "Session": """
session = imu.Session(task, original)      # what the verbs share, made by hand
scores = session.influence("fisher-diagonal")""",
    "References": """
references = imu.references(task, seeds=range(5))
references.noise_floor                      # how far two of them are apart
references.models[0]""",
    "InfluenceMatrix": """
pairs = imu.influence_matrix(task, original)
pairs.values                                # (n, n): who supports whom
pairs.examples""",
    "checkpoints": """
states = imu.checkpoints(task, seed=0)      # the states of a training, for TracIn
scores = imu.influence(task, original, "tracin", checkpoints=states)""",
    "clear_caches": """
imu.clear_caches()                          # features, sessions and runs behind panels are forgotten""",
    "damage_by_class": """
imu.plot_damage(imu.damage_by_class(run))""",
    "plot_damage": """
imu.plot_damage(imu.damage_by_class(run))""",
    "neighbours": """
imu.neighbours(task, original, count=5)     # who lives near each forget sample, in the features""",
    "stability": """
scores = [imu.influence(task, imu.train(task, "train", seed=seed)) for seed in range(3)]
imu.stability(scores)""",
    "lorenz_curve": """
imu.lorenz_curve(weights)                   # share of samples against share of the weight""",
    "plot_comparison": """
runs = [imu.unlearn(task, original, imu.intensity(scores, rule)) for rule in ("sqrt-clipped", "uniform")]
imu.plot_comparison(imu.compare(runs, at_forget=0.01))""",
    "plot_one_step": """
imu.plot_one_step(imu.one_step_check(task, original, scores, samples=60))""",
    "plot_cmc": """
imu.plot_cmc([imu.retrieve(task, model, label=name) for name, model in models.items()])""",
    "pair_table": """
imu.pair_table(task, original)              # one row per question: what the model answers, and how surely""",
    "Evaluations": """
made = imu.load_open_unlearning("saves/unlearn/tofu_NPO", reference="saves/eval/tofu_retain90")
made.differences                            # where the file's own numbers are others""",
    "estimators": """
list(imu.estimators)                        # the names
imu.estimators["fisher-diagonal"]           # the class: help() of it explains its settings""",
    "methods": """
list(imu.methods)
help(imu.methods["imu"])""",
    "intensity_rules": """
imu.intensity_rules                         # in a notebook: a table of all of them""",
    "metrics": """
imu.unlearn(task, original, reference=retrained, follow=["kl-retrained"])
imu.metrics.create("transitions", source=1)""",
    "estimator": """
@imu.estimator("loss")
@dataclass(frozen=True)
class Loss:
    def __call__(self, task, model, forget, target):
        with torch.no_grad():
            return -task.example_loss(model, forget.batch())

scores = imu.influence(task, original, "loss")""",
    "intensity_rule": """
@imu.intensity_rule("halves")
@dataclass(frozen=True)
class Halves:
    \"\"\"The stronger half, all alike.\"\"\"

    def __call__(self, influence):
        return (influence <= np.median(influence)).astype(float)""",
    "method": PLAIN_ASCENT,
    "metric": """
@imu.metric("mean-loss", unit="nats", good="on forget: high; elsewhere: low")
@dataclass(frozen=True)
class MeanLoss:
    def __call__(self, task, model, reference):
        with torch.no_grad():
            losses = {name: task.example_loss(model, task.split(name).batch()) for name in ("forget", "test")}
        return {name: {"mean_loss": loss.mean().item()} for name, loss in losses.items()}""",
    "tasks.train": """
original = imu.train(task, "train", seed=0)  # imu.train and imu.tasks.train are one function""",
    "tasks.Task": """
imu.check_task(Rings())                     # a task of your own: what is missing, misshapen or not pure""",
    "tasks.Batch": """
batch = task.split("forget").batch()          # an imu.tasks.Batch: inputs, targets
task.example_loss(original, batch)            # (n,)""",
    "tasks.Examples": """
imu.tasks.Examples.of(points, labels, ids, "train")
task.split("forget").take([0, 1]).batch()""",
    "tasks.Recipe": """
imu.train(task, recipe=imu.tasks.Recipe(epochs=40, lr=0.1, batch_size=16))""",
    "tasks.averages": """
class Rings:
    ...
    evaluate = imu.tasks.averages           # the means of example_metrics""",
    "tasks.Language": """
task = imu.tasks.Language("invented-authors", forget_authors=(3, 8, 21, 30))""",
    "tasks.Abilities": """
help(imu.tasks.Abilities)                   # what a task may offer beyond the six members""",
    "Request": """
def __call__(self, task, model, request: imu.Request):
    request.forget, request.weights             # who is to go, and who gets how much
    request.retain                              # None, unless the method declares needs_retain""",
    "Update": """
yield imu.Update(terms={"ascent": float(loss)})  # what a method without the kit says of the update it has made""",
    "Descent": PLAIN_ASCENT,
    "Objective": PLAIN_ASCENT,
    "descend": PLAIN_ASCENT,
    "forget_batches": PLAIN_ASCENT,
    "retain_batches": """
for (positions, forget), retain in zip(imu.forget_batches(self, model, request), imu.retain_batches(self, model, request)):
    terms = {"ascent": -task.example_loss(model, forget).mean(), "retain": task.example_loss(model, retain).mean()}
    objective = imu.Objective(terms, positions)""",
    "frozen_copy": """
original = imu.frozen_copy(model)           # to stay close to while model moves""",
    "moving_parameters": PLAIN_ASCENT,
}


def public() -> list[str]:
    """Every public name, those of ``imu.tasks`` among them."""
    tasks = [f"tasks.{name}" for name, thing in vars(imu.tasks).items() if name[0] != "_" and _ours(thing)]
    return [name for name in imu.__all__ if name != "tasks"] + sorted(tasks)


def _ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("imu_lab")


@cache
def examples() -> dict[str, str]:
    """An example for each public name; empty where there is none."""
    sources = _lessons()
    return {name: _of(name, sources) for name in public()}


def _of(name: str, sources: list[str]) -> str:
    own = _docstring(name)
    return WRITTEN.get(name, "").strip() or _told(own) or _block(own) or _used(name, sources)


def _docstring(name: str) -> str:
    thing: object = imu
    for part in name.split("."):
        thing = getattr(thing, part)
    return inspect.getdoc(thing) or ""


def _told(docstring: str) -> str:
    """The code behind ``>>>`` of a docstring."""
    lines = [line.strip() for line in docstring.splitlines()]
    return "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))


def _block(docstring: str) -> str:
    """The code behind the first ``::`` of a docstring."""
    match = re.search(r"::\n\n((?:    .*\n|\n)+)", docstring + "\n")
    return inspect.cleandoc(match.group(1)) if match else ""


def _used(name: str, sources: list[str]) -> str:
    """The shortest statement of a lesson or of another's docstring that calls it; of a class, what makes one."""
    made = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for called in (name, made):
        call = re.compile(rf"\bimu\.(\w+_)?{re.escape(called)}\b" if called != name else rf"\bimu\.{re.escape(name)}\b")
        if found := [each for each in sources if call.search(each)]:
            return min(found, key=len)
    return ""


@cache
def _lessons() -> list[str]:
    """Every statement of the lessons, their solutions, the README's Python and the docstrings' examples."""
    readme = (build_notebooks.ROOT / "README.md").read_text("utf-8")
    cells = re.findall(r"```(?:python|py)\n(.*?)```", readme, re.S)
    for path in build_notebooks.notebooks():
        cells += [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    cells += [told for name in public() if (told := _told(_docstring(name)))]
    return [str(ast.get_source_segment(cell, part)) for cell in cells for part in ast.parse(cell).body]
