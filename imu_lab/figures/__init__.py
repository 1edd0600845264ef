"""Figures: a record in, a plotly Figure out. Nothing is computed here that a record could hold, nothing is changed.

``plot_x(record)`` draws; ``update_x(figure, record)`` shows another record in a figure that ``plot_x`` made.
"""

# ruff: noqa: F401, I001  (what is offered, in the order of the pipeline)
from .influence import plot_fit, plot_influence, update_influence
from .proponents import plot_proponents, update_proponents
from .intensity import plot_intensity, plot_pressure, update_intensity
from .curves import plot_curves, update_curves
from .trajectories import plot_trajectories, update_trajectories
from .comparison import plot_comparison, plot_trial, update_comparison
from .forgetting_damage import plot_forgetting_damage, plot_quality_utility
from .head_only import plot_head_only
from .audit import plot_audit, plot_membership
from .pareto import plot_pareto
from .side_by_side import plot_side_by_side
from .agreement import plot_agreement, plot_damping, plot_disagreements, plot_stability
from .first_order import plot_collateral, plot_damage, plot_damage_by_sample, plot_one_step
from .resistance import plot_dependence, plot_reasons, plot_resistance
from .spectrum import plot_spectrum
from .retrieval import plot_cmc, plot_retrieval
from .embedding import plot_embedding
from .attribution import plot_attribution
from .sequence import plot_tokens, plot_transitions
from .truth_ratio import plot_truth_ratio
from .leakage import plot_leakage
from .comeback import plot_comeback
from .theme import colour, dash, symbol
