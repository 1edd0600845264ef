"""Widgets: they arrange controls, figures and tables, and forward; they compute nothing."""

from .shared_bundle import FigureWidget as FigureWidget
from .workbench import Workbench as Workbench
from .workbench import workbench as workbench
