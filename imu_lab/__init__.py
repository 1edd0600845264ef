"""imu_lab: see, move and check influence-guided machine unlearning.

The pipeline reads from top to bottom::

    task = imu.tasks.Classification("digits", forget_class=3)
    original = imu.train(task, "train")
    scores = imu.influence(task, original)
    weights = imu.intensity(scores)
    run = imu.unlearn(task, original, weights)
    imu.plot_curves(run)
"""

# ruff: noqa: F401, I001  (a table of contents in the order of the pipeline, not of the alphabet)
from importlib import import_module as _import_module
from types import FunctionType as _Function
from types import ModuleType as _Module

from .core.arguments import checked as _checked
from .core.version import VERSION as __version__
from . import influences as _estimators, unlearning as _methods  # registers what is built in

# What can be forgotten, and how models of it are trained
from . import tasks
from .tasks.checkpoints import train
from .tasks.checks import check_task
from .lab.requesting import forget_like, forget_where

# Influence: who supports the loss that is to rise
from .lab.verbs import influence
from .influences.pairwise import InfluenceMatrix, influence_matrix, proponents
from .influences.tracin import checkpoints
from .influences.tokens import token_scores

# Intensity: who gets how much of the pressure
from .intensities import intensity
from .lab.joint import joint_intensity

# Unlearning: runs, made once, made again, forked and asked what would be
from .lab.verbs import load_run, statistics, unlearn
from .features.statistics import load_statistics
from .lab.again import again
from .lab.fork import fork, rewind
from .lab.what_if import what_if
from .lab.session import Session

# Records, and what can go wrong with them
from .core.records import Influence, Intensity, Run
from .features.statistics import Statistics
from .core.storage import DamagedFile
from .core.memo import clear_caches
from .core.messages import UnknownName
from .features.readout import NoReadout

# Measures that need no new run, and what they are measured against
from .measures.ensemble import References, references
from .measures.attribution import gradcam
from .measures.language import pair_table
from .measures.truth_ratio import TruthRatios, truth_ratios
from .measures.answers import Answers, own_answers
from .measures.open_unlearning import Evaluations, load_open_unlearning
from .measures.retrieval import embedding_map, retrieve

# Studies: questions put to records
from .studies.comparison import compare
from .studies.audit import audit, class_accuracy, membership, prediction_matrix
from .studies.shadows import u_lira
from .studies.head_only import head_only
from .studies.margins import klom
from .studies.trial import trial, over_seeds
from .studies.sweep import load_runs, sweep
from .studies.pareto import pareto
from .studies.side_by_side import side_by_side
from .studies.chosen_runs import chosen_runs
from .studies.pressure import lorenz_curve, pressure_shares
from .studies.agreement import (
    damping_effect,
    largest_disagreements,
    rank_agreement,
    rank_correlations,
    rank_stability,
    stability,
)
from .studies.ground_truth import leave_groups_out, leave_one_out, linear_datamodeling_score
from .studies.refit import refit
from .studies.one_step import one_step_check
from .studies.spectrum import curvature_spectrum
from .studies.resistance import mean_ranks, resistance
from .studies.explanation import explain_resistance, predict_resistance, reasons
from .studies.brushing import explain_selection
from .studies.beforehand import neighbours
from .studies.suspicion import suspects
from .studies.leakage import leakage
from .studies.comeback import Comeback, comeback
from .studies.collateral import (
    NoFirstOrder,
    ablate_pressure,
    collateral,
    damage_by_class,
    damage_by_sample,
    responsible,
)

# The registries, and how to join them: a contract for each, and the kit for writing a method
from .core.registry import estimator, estimators, intensity_rule, intensity_rules, method, methods, metric, metrics
from .core.knobs import knob
from .influences.contract import Estimator
from .intensities import IntensityRule
from .measures.contract import Metric
from .unlearning.request import Method, Request, Update
from .unlearning.objectives import (
    Descent,
    Objective,
    descend,
    forget_batches,
    frozen_copy,
    moving_parameters,
    retain_batches,
)

# The notebooks' own
from .lessons.exercise import check

# Drawing needs plotly and ipywidgets, a second to import: they load when first asked for.
_LATER = {
    name: module
    for module, names in {
        "figures": """
            plot_influence plot_fit plot_proponents plot_intensity plot_pressure plot_curves plot_trajectories
            plot_comparison plot_trial plot_forgetting_damage plot_quality_utility plot_pareto plot_side_by_side
            plot_head_only plot_audit plot_membership plot_agreement plot_damping plot_stability plot_disagreements
            plot_one_step plot_collateral plot_damage plot_damage_by_sample plot_spectrum plot_resistance plot_reasons
            plot_dependence plot_retrieval plot_cmc plot_embedding plot_attribution plot_transitions plot_tokens
            plot_truth_ratio plot_leakage plot_comeback
        """,
        "lessons.prediction": "predict",
        "widgets.sheet": "gallery",
        "widgets.ab": "ab",
        "widgets.run_table": "run_table",
        "widgets.workbench.workbench": "workbench",
        "widgets.explorer.explorer": "explore",
        "widgets.pages.run_page": "report",
        "widgets.run_control": "run_control",
    }.items()
    for name in names.split()
}


def _open(name: str, found: object) -> object:
    """A function as users call it: it looks at what it is handed, and is found here by whoever pickles it."""
    if type(found) is not _Function or name.startswith("plot_"):  # figures say themselves what they draw
        return found
    call = _checked(found)
    call.__module__, call.__qualname__ = __name__, name
    return call


globals().update({name: _open(name, found) for name, found in globals().items() if name[0] != "_"})


def __getattr__(name: str) -> object:
    if name in _LATER:
        globals()[name] = _open(name, getattr(_import_module(f".{_LATER[name]}", __name__), name))
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = sorted(
    {name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _Module)}
    | {"tasks", *_LATER}
)


def __dir__() -> list[str]:
    return list(__all__)
