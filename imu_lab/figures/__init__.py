"""Figures: a record in, a plotly Figure out. Nothing is computed here that a record could hold, nothing is changed.

``plot_x(record)`` draws; ``update_x(figure, record)`` shows another record in a figure that ``plot_x`` made.
"""

# ruff: noqa: I001  (in the order of the pipeline)
from .influence import plot_fit as plot_fit
from .influence import plot_influence as plot_influence
from .influence import update_influence as update_influence
from .proponents import plot_proponents as plot_proponents
from .proponents import update_proponents as update_proponents
from .intensity import plot_intensity as plot_intensity
from .intensity import plot_pressure as plot_pressure
from .intensity import update_intensity as update_intensity
from .curves import plot_curves as plot_curves
from .curves import update_curves as update_curves
from .trajectories import plot_trajectories as plot_trajectories
from .trajectories import update_trajectories as update_trajectories
from .comparison import plot_comparison as plot_comparison
from .comparison import plot_trial as plot_trial
from .comparison import update_comparison as update_comparison
from .forgetting_damage import plot_forgetting_damage as plot_forgetting_damage
from .forgetting_damage import plot_quality_utility as plot_quality_utility
from .head_only import plot_head_only as plot_head_only
from .audit import plot_audit as plot_audit
from .audit import plot_membership as plot_membership
from .pareto import plot_pareto as plot_pareto
from .side_by_side import plot_side_by_side as plot_side_by_side
from .agreement import plot_agreement as plot_agreement
from .agreement import plot_damping as plot_damping
from .agreement import plot_disagreements as plot_disagreements
from .agreement import plot_stability as plot_stability
from .first_order import plot_collateral as plot_collateral
from .first_order import plot_damage as plot_damage
from .first_order import plot_damage_by_sample as plot_damage_by_sample
from .first_order import plot_one_step as plot_one_step

from .resistance import plot_dependence as plot_dependence
from .resistance import plot_reasons as plot_reasons
from .resistance import plot_resistance as plot_resistance
from .spectrum import plot_spectrum as plot_spectrum
from .retrieval import plot_cmc as plot_cmc
from .retrieval import plot_retrieval as plot_retrieval
from .embedding import plot_embedding as plot_embedding
from .attribution import plot_attribution as plot_attribution
from .sequence import plot_tokens as plot_tokens
from .sequence import plot_transitions as plot_transitions
from .truth_ratio import plot_truth_ratio as plot_truth_ratio
from .leakage import plot_leakage as plot_leakage
from .comeback import plot_comeback as plot_comeback
from .theme import colour as colour
from .theme import dash as dash
from .theme import symbol as symbol
