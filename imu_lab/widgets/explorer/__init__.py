"""The explorer: every sample of a run, in linked views."""
