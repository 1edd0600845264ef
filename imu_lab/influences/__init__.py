"""The estimators: each says how much pressing one sample moves the target's loss. Negative means ascend."""

from .curvature import CurvatureInfluence as CurvatureInfluence
from .exact import GaussNewton as GaussNewton
from .fisher import FisherDiagonal as FisherDiagonal
from .fisher import MiniBatchFisher as MiniBatchFisher
from .fisher import SelfInfluence as SelfInfluence
from .gradient import ErrorNorm as ErrorNorm
from .gradient import GradientCosine as GradientCosine
from .gradient import GradientDot as GradientDot
from .gradient import GradientNorm as GradientNorm
from .gradient import Random as Random
from .hessian import ArnoldiHessian as ArnoldiHessian
from .hessian import NaiveHessian as NaiveHessian
from .kfac import KroneckerFisher as KroneckerFisher
from .published import PublishedInfluence as PublishedInfluence
from .robust import LeverageCapped as LeverageCapped
from .robust import MedianOfMeans as MedianOfMeans
from .robust import SelfNormalised as SelfNormalised
from .robust import Trimmed as Trimmed
from .tracin import TracIn as TracIn
from .tracin import checkpoints as checkpoints
