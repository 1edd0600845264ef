"""The estimators: each says how much pressing one sample moves the target's loss. Negative means ascend."""

from . import curvature, exact, fisher, gradient, hessian, kfac, published, robust, tracin  # noqa: F401  (they register)
