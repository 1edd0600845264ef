"""Figures: a record in, a plotly Figure out. Nothing is computed here that a record could hold, nothing is changed."""

from . import theme as theme
from .compare import plot_comparison as plot_comparison
from .compare import update_comparison as update_comparison
from .curves import plot_curves as plot_curves
from .curves import update_curves as update_curves
from .influence import plot_influence as plot_influence
from .influence import update_influence as update_influence
from .intensity import plot_intensity as plot_intensity
from .intensity import update_intensity as update_intensity
from .theme import colour as colour
from .theme import dash as dash
from .theme import symbol as symbol
from .trajectories import plot_trajectories as plot_trajectories
from .trajectories import update_trajectories as update_trajectories
