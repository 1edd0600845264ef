"""What can be measured of a model, without a new run, beside the task's own metrics."""

from . import distance, ensemble, language, transitions  # noqa: F401  (the metrics register)
from .reference import Reference as Reference
