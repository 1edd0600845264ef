"""Widgets: they arrange controls, figures and tables, and forward; they compute nothing."""
