"""What a function gives back, as its docstring says it.

The reader of Google's style takes what stands before a colon for a type, and so cuts sentences in two.
"""

from __future__ import annotations

HEADING = "Returns:"


def as_field(lines: list[str]) -> list[str]:
    """A docstring's lines with the section of what is returned as a field."""
    if HEADING not in lines:
        return lines
    start = lines.index(HEADING)
    end = next((at for at in range(start + 1, len(lines)) if lines[at] and not lines[at][0].isspace()), len(lines))
    words = " ".join(line.strip() for line in lines[start + 1 : end] if line.strip())
    return [*lines[:start], f":returns: {words}", "", *lines[end:]]


def setup(app) -> dict[str, bool]:
    """Registered under the name that Sphinx looks for; before napoleon, which has the usual priority of 500."""

    def replaced(_, __, ___, ____, _____, lines: list[str]) -> None:
        lines[:] = as_field(lines)

    app.connect("autodoc-process-docstring", replaced, priority=400)
    return {"parallel_read_safe": True}
