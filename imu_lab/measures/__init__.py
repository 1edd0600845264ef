"""What can be measured of a model beside the task's own metrics; each is registered."""

from ..influences.tokens import token_scores as token_scores
from .distance import Agreement as Agreement
from .distance import JSRetrained as JSRetrained
from .distance import KLRetrained as KLRetrained
from .reference import Reference as Reference
from .transitions import Transitions as Transitions
