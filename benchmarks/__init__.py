"""What the toolkit must reach, measured in one run and printed as ratios: ``make bench``.

Each module has ``rows()``, a generator of :class:`benchmarks.measure.Row`.
"""
