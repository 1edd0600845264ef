"""One self-contained HTML file: words and places for views, what they show, and the JavaScript that draws it.

Numbers and pictures travel as one compressed block, plotly as another, once. The browser is told to load nothing and to
run no script but the two of this file, so nothing that a label or a card says can become one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import storage
from ...core.knobs import check_flag
from ...core.messages import kind_of
from ..base.histogram import DRAWING
from ..base.theme import STYLE_SHEET

HERE = Path(__file__).parent
LARGEST = 8_000_000  # bytes of a file, so that it can be sent by mail
SHELL = 1_600_000  # bytes that plotly and the page's own code take, compressed
ALIGNED = 8  # bytes: where JavaScript can read any kind of number


class Data(NamedTuple):
    """What a page shows: ``words`` goes through JSON, ``arrays`` hold numbers (and files, as bytes) under their names."""

    words: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def whole(title: str, body: str, data: Data, script: str, *, plotly: bool = True) -> str:
    """The page as one string of HTML.

    Args:
        title: in words; escaped here.
        body: HTML, already safe to show.
        data: what it shows.
        script: the name of the file beside this one that draws it.
        plotly: whether figures of plotly are among it.
    """
    code = "\n".join([DRAWING, *((HERE / name).read_text(encoding="utf-8") for name in ("page.js", script))])
    library = plotly_js() if plotly else ""
    allowed = " ".join(f"'sha256-{_digest(each)}'" for each in (code, library) if each)
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"
    styles = STYLE_SHEET + (HERE / "page.css").read_text(encoding="utf-8")
    blocks = {"imu-data": packed(data)} | ({"imu-plotly": _squeezed(library.encode())} if plotly else {})
    held = "".join(f'<script type="text/plain" id="{name}">{block}</script>' for name, block in blocks.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{styles}</style></head>"
        f'<body><main class="imu-panel imu-page">{body}</main>{held}<script>{code}</script></body></html>'
    )


def filled(name: str, places: Mapping[str, str]) -> str:
    """The body in the file of this name beside this one, with HTML put into its {{PLACES}}."""
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: places[found[1]], (HERE / name).read_text(encoding="utf-8"))


def write(path: str | os.PathLike, html: str, overwrite: bool) -> Path:
    """Write a page; its path comes back.

    Raises:
        FileExistsError: the path is taken and ``overwrite`` is False.
    """
    storage.write_whole(where := storage.path_of(path), html.encode(), overwrite)
    return where


def check_path(path: Any, overwrite: bool) -> Path:
    """The path, looked at before there is work to lose.

    Raises:
        TypeError: it is no path.
        FileExistsError: it is taken and ``overwrite`` is False.
        IsADirectoryError: it is a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"a page is written to a path, such as 'page.html'; got {kind_of(path)}")
    path, overwrite = storage.path_of(path), check_flag("a page", "overwrite", overwrite)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it, such as {path / 'page.html'}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; give another path, or overwrite=True to replace it")
    return path


def plotly_js() -> str:
    """plotly's JavaScript, the one of the installed package."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def packed(data: Data) -> str:
    """Base64 of a compressed block: how long the JSON is (four bytes), the JSON, and the arrays one after another.

    The JSON tells of each array where it begins and ends, its kind and its shape.
    """
    parts, places, at = [], {}, 0
    for name, values in data.arrays.items():
        values = np.ascontiguousarray(values)
        places[name] = {"at": at, "kind": values.dtype.name, "shape": list(values.shape), "bytes": values.nbytes}
        parts.append(values.astype(values.dtype.newbyteorder("<")).tobytes() + bytes(-values.nbytes % ALIGNED))
        at += len(parts[-1])
    words = json.dumps({**data.words, "arrays": places}, allow_nan=False).encode()
    words += b" " * (-(len(words) + 4) % ALIGNED)
    return _squeezed(len(words).to_bytes(4, "little") + words + b"".join(parts))


def _squeezed(block: bytes) -> str:
    return base64.b64encode(zlib.compress(block, 9)).decode()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
