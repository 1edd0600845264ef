"""Whether the libraries that language models need are there."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

NEEDED = ("transformers", "tokenizers", "rouge_score")


def check_installed(who: str = "imu.tasks.Language needs", names: Iterable[str] = NEEDED) -> None:
    """Make sure that these libraries can be imported.

    Args:
        who: the beginning of the message: who needs them.

    Raises:
        ImportError: they cannot; the message says what to install.
    """
    missing = [name for name in names if not _found(name)]
    if missing:
        raise ImportError(
            f"{who} {', '.join(missing)}, which cannot be imported here; install what language models "
            'need with: pip install "imu_lab[llm]"'
        )


def _found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # somebody blocks it
        return False
