"""What can be forgotten: each task is one file that follows the protocol."""

from .checkpoints import train as train
from .classification import Classification as Classification
from .evaluation import averages as averages
from .language import Language as Language
from .protocol import Abilities as Abilities
from .protocol import Batch as Batch
from .protocol import Examples as Examples
from .protocol import Task as Task
from .reid import ReID as ReID
from .sequence import Sequence as Sequence
from .toy import Toy as Toy
from .training import Recipe as Recipe
from .variants.augmented import Augmented as Augmented
from .variants.planted import Planted as Planted
