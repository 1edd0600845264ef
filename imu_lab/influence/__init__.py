"""The estimators: each says how much pressing one sample moves the target's loss. Negative means ascend."""

from .fisher_diagonal import FisherDiagonal as FisherDiagonal
from .gradient_dot import GradientDot as GradientDot
