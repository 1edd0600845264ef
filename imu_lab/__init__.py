"""imu_lab: see, move and check influence-guided machine unlearning.

The pipeline reads from top to bottom::

    task = imu.tasks.Classification("digits", forget_class=3)
    original = imu.train(task, "train")
    scores = imu.influence(task, original)
    weights = imu.intensity(scores)
    run = imu.unlearn(task, original, weights)
    imu.plot_curves(run)
"""

# ruff: noqa: I001  (a table of contents in the order of the pipeline, not of the alphabet)
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _Module

from . import influences as _estimators, unlearning as _methods  # noqa: F401  (registers what is built in)

# What can be forgotten, and how models of it are trained
from . import tasks as tasks
from .tasks.checkpoints import train as train
from .tasks.checks import check_task as check_task
from .lab.requesting import forget_like as forget_like
from .lab.requesting import forget_where as forget_where

# Influence: who supports the loss that is to rise
from .lab.verbs import influence as influence
from .influences.pairwise import InfluenceMatrix as InfluenceMatrix
from .influences.pairwise import influence_matrix as influence_matrix
from .influences.pairwise import proponents as proponents
from .influences.tracin import checkpoints as checkpoints
from .influences.tokens import token_scores as token_scores

# Intensity: who gets how much of the pressure
from .intensities import intensity as intensity
from .lab.joint import joint_intensity as joint_intensity

# Unlearning: runs, made once, made again, forked and asked what would be
from .lab.verbs import statistics as statistics
from .features.statistics import load_statistics as load_statistics
from .lab.verbs import load_run as load_run
from .lab.verbs import unlearn as unlearn
from .lab.again import again as again
from .lab.fork import fork as fork
from .lab.rewind import rewind as rewind
from .lab.what_if import what_if as what_if
from .lab.session import Session as Session

# Records, and what can go wrong with them
from .core.records import Influence as Influence
from .core.records import Intensity as Intensity
from .core.records import Run as Run
from .features.statistics import Statistics as Statistics
from .core.storage import DamagedFile as DamagedFile
from .core.memo import clear_caches as clear_caches
from .core.messages import UnknownName as UnknownName
from .features.readout import NoReadout as NoReadout

# Measures that need no new run, and what they are measured against
from .measures.ensemble import References as References
from .measures.ensemble import references as references
from .measures.attribution import gradcam as gradcam
from .measures.language import pair_table as pair_table
from .measures.truth_ratio import TruthRatios as TruthRatios
from .measures.truth_ratio import truth_ratios as truth_ratios
from .measures.answers import Answers as Answers
from .measures.answers import own_answers as own_answers
from .measures.open_unlearning import Evaluations as Evaluations
from .measures.open_unlearning import load_open_unlearning as load_open_unlearning
from .measures.retrieval import embedding_map as embedding_map
from .measures.retrieval import retrieve as retrieve

# Studies: questions put to records
from .studies.comparison import compare as compare
from .studies.audit import audit as audit
from .studies.audit import class_accuracy as class_accuracy
from .studies.audit import membership as membership
from .studies.audit import prediction_matrix as prediction_matrix
from .studies.shadows import u_lira as u_lira
from .studies.head_only import head_only as head_only
from .studies.margins import klom as klom
from .studies.trial import trial as trial
from .studies.trial import over_seeds as over_seeds
from .studies.sweep import load_runs as load_runs
from .studies.sweep import sweep as sweep
from .studies.pareto import pareto as pareto
from .studies.side_by_side import side_by_side as side_by_side
from .studies.chosen_runs import chosen_runs as chosen_runs
from .studies.pressure import lorenz_curve as lorenz_curve
from .studies.pressure import pressure_shares as pressure_shares
from .studies.agreement import damping_effect as damping_effect
from .studies.agreement import largest_disagreements as largest_disagreements
from .studies.agreement import rank_agreement as rank_agreement
from .studies.agreement import rank_correlations as rank_correlations
from .studies.agreement import rank_stability as rank_stability
from .studies.agreement import stability as stability
from .studies.ground_truth import leave_groups_out as leave_groups_out
from .studies.ground_truth import leave_one_out as leave_one_out
from .studies.ground_truth import linear_datamodeling_score as linear_datamodeling_score
from .studies.refit import refit as refit
from .studies.one_step import one_step_check as one_step_check
from .studies.spectrum import curvature_spectrum as curvature_spectrum
from .studies.resistance import mean_ranks as mean_ranks
from .studies.resistance import resistance as resistance
from .studies.explanation import explain_resistance as explain_resistance
from .studies.explanation import predict_resistance as predict_resistance
from .studies.explanation import reasons as reasons
from .studies.brushing import explain_selection as explain_selection
from .studies.beforehand import neighbours as neighbours
from .studies.suspicion import suspects as suspects
from .studies.leakage import leakage as leakage
from .studies.comeback import Comeback as Comeback
from .studies.comeback import comeback as comeback
from .studies.collateral import NoFirstOrder as NoFirstOrder
from .studies.collateral import ablate_pressure as ablate_pressure
from .studies.collateral import collateral as collateral
from .studies.collateral import damage_by_class as damage_by_class
from .studies.collateral import damage_by_sample as damage_by_sample
from .studies.collateral import responsible as responsible

# The registries, and how to join them: a contract for each, and the kit for writing a method
from .core.registry import estimator as estimator
from .core.registry import estimators as estimators
from .core.registry import intensity_rule as intensity_rule
from .core.registry import intensity_rules as intensity_rules
from .core.knobs import knob as knob
from .core.registry import method as method
from .core.registry import methods as methods
from .core.registry import metric as metric
from .core.registry import metrics as metrics
from .influences.contract import Estimator as Estimator
from .intensities import IntensityRule as IntensityRule
from .unlearning.request import Method as Method
from .measures.contract import Metric as Metric
from .unlearning.request import Request as Request
from .unlearning.request import Update as Update
from .unlearning.objectives import Descent as Descent
from .unlearning.objectives import Objective as Objective
from .unlearning.objectives import descend as descend
from .unlearning.objectives import forget_batches as forget_batches
from .unlearning.objectives import frozen_copy as frozen_copy
from .unlearning.objectives import moving_parameters as moving_parameters
from .unlearning.objectives import retain_batches as retain_batches

# The notebooks' own
from .lessons.exercise import check as check

__version__ = _version("imu_lab")

# Drawing needs plotly and ipywidgets, a second to import: they load when first asked for.
_LATER = {
    "plot_resistance": "figures",
    "plot_reasons": "figures",
    "plot_dependence": "figures",
    "plot_collateral": "figures",
    "plot_damage": "figures",
    "plot_damage_by_sample": "figures",
    "plot_agreement": "figures",
    "plot_damping": "figures",
    "plot_stability": "figures",
    "plot_disagreements": "figures",
    "plot_proponents": "figures",
    "plot_spectrum": "figures",
    "plot_fit": "figures",
    "plot_one_step": "figures",
    "plot_pressure": "figures",
    "plot_trial": "figures",
    "plot_influence": "figures",
    "plot_intensity": "figures",
    "plot_curves": "figures",
    "plot_trajectories": "figures",
    "plot_comparison": "figures",
    "plot_forgetting_damage": "figures",
    "plot_head_only": "figures",
    "plot_quality_utility": "figures",
    "plot_truth_ratio": "figures",
    "plot_leakage": "figures",
    "plot_comeback": "figures",
    "plot_audit": "figures",
    "plot_membership": "figures",
    "plot_pareto": "figures",
    "plot_side_by_side": "figures",
    "plot_transitions": "figures",
    "plot_tokens": "figures",
    "plot_retrieval": "figures",
    "plot_cmc": "figures",
    "plot_embedding": "figures",
    "plot_attribution": "figures",
    "predict": "lessons.prediction",
    "gallery": "widgets.sheet",
    "ab": "widgets.ab",
    "run_table": "widgets.run_table",
    "workbench": "widgets.workbench.workbench",
    "explore": "widgets.explorer.explorer",
    "report": "widgets.pages.run_page",
    "run_control": "widgets.run_control",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(_import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = sorted(
    {name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _Module)}
    | {"tasks", *_LATER}
)


def __dir__() -> list[str]:
    return list(__all__)
