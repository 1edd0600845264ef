"""A slow import of what comes later, in a thread beside the first computation of a notebook."""

from __future__ import annotations

import contextlib
import sys
import threading
from importlib import import_module

# Live figures need it, by way of plotly and nbformat, and it compiles grammars for two seconds when it is imported. It
# imports nothing of plotly's, so no two threads can wait for each other's imports.
SLOW = "jsonschema"


def in_a_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def prepare_figures(module: str = SLOW) -> None:
    """Begin the import in the background, in a notebook's kernel; called where something that takes a while begins."""
    if module not in sys.modules and in_a_kernel():
        threading.Thread(target=_imported, args=(module,), name="imu_lab import", daemon=True).start()


def _imported(module: str) -> None:
    with contextlib.suppress(ImportError):  # then nobody needs it
        import_module(module)
