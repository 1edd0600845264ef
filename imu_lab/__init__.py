"""imu_lab: see, move and check influence-guided machine unlearning.

The pipeline reads from top to bottom::

    task = imu.tasks.Classification("digits", forget_class=3)
    original = imu.train(task, "train")
    scores = imu.influence(task, original)
    weights = imu.intensity(scores)
    run = imu.unlearn(task, original, weights)
    imu.plot_curves(run)
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version

__version__ = _version("imu_lab")

from . import influence as _estimators  # noqa: F401  (registers the estimators)
from . import tasks as tasks
from . import unlearning as _methods  # noqa: F401
from .again import again as again
from .agreement import damping_effect as damping_effect
from .agreement import largest_disagreements as largest_disagreements
from .agreement import lorenz_curve as lorenz_curve
from .agreement import pressure_shares as pressure_shares
from .agreement import rank_correlations as rank_correlations
from .archive import DamagedFile as DamagedFile
from .collateral import NoFirstOrder as NoFirstOrder
from .collateral import collateral as collateral
from .collateral import damage_by_class as damage_by_class
from .collateral import damage_by_sample as damage_by_sample
from .collateral import responsible as responsible
from .comparison import compare as compare
from .experiment import influence as influence
from .experiment import load_run as load_run
from .experiment import unlearn as unlearn
from .explanation import explain_resistance as explain_resistance
from .explanation import predict_resistance as predict_resistance
from .explanation import reasons as reasons
from .fork import fork as fork
from .ground_truth import leave_groups_out as leave_groups_out
from .ground_truth import leave_one_out as leave_one_out
from .ground_truth import linear_datamodeling_score as linear_datamodeling_score
from .influence.checkpoints import checkpoints as checkpoints
from .influence_matrix import InfluenceMatrix as InfluenceMatrix
from .influence_matrix import influence_matrix as influence_matrix
from .influence_matrix import supporters as supporters
from .intensity import intensity as intensity
from .left_out import left_out as left_out
from .metrics.attribution import gradcam as gradcam
from .metrics.retrieval import embedding_map as embedding_map
from .metrics.retrieval import retrieve as retrieve
from .metrics.tokens import token_scores as token_scores
from .neighbours import neighbours as neighbours
from .one_step import one_step_check as one_step_check
from .over_seeds import over_seeds as over_seeds
from .rank_agreement import agreement_of_ranks as agreement_of_ranks
from .readout import NoReadout as NoReadout
from .registry import UnknownName as UnknownName
from .registry import estimator as estimator
from .registry import estimators as estimators
from .registry import intensity_rule as intensity_rule
from .registry import intensity_rules as intensity_rules
from .registry import knob as knob
from .registry import method as method
from .registry import methods as methods
from .registry import metric as metric
from .registry import metrics as metrics
from .resistance import mean_ranks as mean_ranks
from .resistance import resistance as resistance
from .results import Influence as Influence
from .results import Intensity as Intensity
from .results import Run as Run
from .session import Session as Session
from .stability import rank_stability as rank_stability
from .stability import stability as stability
from .stationary import refit as refit
from .tasks.training import train as train
from .trial import trial as trial
from .unlearning.request import Request as Request
from .unlearning.request import Update as Update
from .what_if import what_if as what_if

# Drawing needs plotly and ipywidgets, a second to import: they load when first asked for.
_LATER = {
    "plot_resistance": "figures.resistance",
    "plot_reasons": "figures.resistance",
    "plot_dependence": "figures.resistance",
    "plot_collateral": "figures.collateral",
    "plot_damage": "figures.collateral",
    "plot_damage_by_sample": "figures.collateral",
    "plot_agreement": "figures.agreement",
    "plot_damping": "figures.agreement",
    "plot_stability": "figures.stability",
    "plot_disagreements": "figures.disagreement",
    "plot_supporters": "figures.supporters",
    "plot_fit": "figures.fit",
    "plot_one_step": "figures.one_step",
    "plot_pressure": "figures.pressure",
    "plot_trial": "figures.trial",
    "plot_influence": "figures",
    "plot_intensity": "figures",
    "plot_curves": "figures",
    "plot_trajectories": "figures",
    "plot_comparison": "figures",
    "plot_transitions": "figures.sequence",
    "plot_tokens": "figures.sequence",
    "plot_retrieval": "figures.retrieval",
    "plot_cmc": "figures.retrieval",
    "plot_embedding": "figures.embedding",
    "plot_attribution": "figures.attribution",
    "gallery": "widgets.sheet",
    "workbench": "widgets",
    "explore": "widgets.explorer",
    "run_control": "widgets.run_control",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(_import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
