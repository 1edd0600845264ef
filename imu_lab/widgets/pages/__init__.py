"""Panels as files: one page each that needs no kernel, no network and no installation."""
