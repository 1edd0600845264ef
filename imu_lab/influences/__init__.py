"""The estimators: each says how much pressing one sample moves the target's loss. Negative means ascend."""

from .checkpoints import checkpoints as checkpoints
from .el2n import ErrorNorm as ErrorNorm
from .exact import GaussNewton as GaussNewton
from .fisher import FisherDiagonal as FisherDiagonal
from .fisher import MiniBatchFisher as MiniBatchFisher
from .fisher import SelfInfluence as SelfInfluence
from .gradient_cosine import GradientCosine as GradientCosine
from .gradient_dot import GradientDot as GradientDot
from .gradient_norm import GradientNorm as GradientNorm
from .kfac import KroneckerFisher as KroneckerFisher
from .random import Random as Random
from .robust import LeverageCapped as LeverageCapped
from .robust import MedianOfMeans as MedianOfMeans
from .robust import SelfNormalised as SelfNormalised
from .robust import Trimmed as Trimmed
from .second_order import ArnoldiHessian as ArnoldiHessian
from .second_order import NaiveHessian as NaiveHessian
from .tracin import TracIn as TracIn
