"""The networks that tasks train from fresh weights."""
