"""The methods, and what drives them."""

from . import (  # noqa: F401  (they register)
    adaptive_ascent,
    boundary,
    curvature,
    dampening,
    fine_tuning,
    imu,
    joint,
    misdirection,
    one_shot,
    preference,
    published,
    random_label,
    retain_based,
    retain_free,
    salun,
    self_distillation,
    task_vector,
    teachers,
)
from .request import Request as Request
from .request import Update as Update
