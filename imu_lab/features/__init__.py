"""A task seen from its readout: what reaches it, its gradients and its curvature."""

from .cache import view as view
