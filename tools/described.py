"""What a stored picture shows, in words: its alternative text on the site and on slides."""

from __future__ import annotations

import re
from html import unescape

from nbformat import NotebookNode

FIGURE = "application/vnd.plotly.v1+json"


def described(cell: NotebookNode, output: NotebookNode) -> str:
    """A figure's own title, or the call that made the picture; nothing for an output without a picture."""
    data = output.get("data", {})
    if "image/png" not in data:
        return ""
    title = data.get(FIGURE, {}).get("layout", {}).get("title", {}).get("text", "")
    words = unescape(re.sub(r"<[^>]*>", "", re.sub(r"(?<=[.?!:,])<br ?/?>", " ", title).replace("<br>", ". ")))
    last = next((line.strip() for line in reversed(cell.source.splitlines()) if line.strip()), "")
    return " ".join((words or f"What this shows: {last}").split())
