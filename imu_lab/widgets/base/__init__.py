"""The parts that panels share."""
