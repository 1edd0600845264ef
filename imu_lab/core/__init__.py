"""The ground floor: it knows no model and no task."""
