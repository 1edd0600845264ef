"""Reads what a page holds, as its JavaScript does."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np


def held(html: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The words and the arrays of a page."""
    block = re.search(r'id="imu-data">([^<]*)<', html)[1]
    data = zlib.decompress(base64.b64decode(block))
    length = int.from_bytes(data[:4], "little")
    words = json.loads(data[4 : 4 + length])
    arrays = {}
    for name, about in words["arrays"].items():
        values = np.frombuffer(data, about["kind"], offset=4 + length + about["at"], count=int(np.prod(about["shape"])))
        arrays[name] = values.reshape(about["shape"])
    return words, arrays
