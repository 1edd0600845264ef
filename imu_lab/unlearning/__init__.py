"""The methods, and what drives them."""

from .curvature import CurvatureAscent as CurvatureAscent
from .dampening import SelectiveDampening as SelectiveDampening
from .driver import drive as drive
from .fine_tuning import SparseFineTune as SparseFineTune
from .imu import InfluenceGuided as InfluenceGuided
from .imu_minibatch import MiniBatchInfluence as MiniBatchInfluence
from .joint import JointAscent as JointAscent
from .one_shot import InfluenceStep as InfluenceStep
from .one_shot import NewtonStep as NewtonStep
from .random_label import RandomLabel as RandomLabel
from .request import Request as Request
from .request import Update as Update
from .retain_based import Retrain as Retrain
from .retain_free import GradientAscent as GradientAscent
from .salun import SaliencyUnlearning as SaliencyUnlearning
from .teachers import Scrub as Scrub
