"""What can be measured of a model, without a new run, beside the task's own metrics."""

from .distance import Agreement as Agreement
from .distance import JSRetrained as JSRetrained
from .distance import KLRetrained as KLRetrained
from .ensemble import References as References
from .ensemble import references as references
from .language import pair_table as pair_table
from .reference import Reference as Reference
from .transitions import Transitions as Transitions
