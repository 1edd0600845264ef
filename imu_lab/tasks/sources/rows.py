"""Rows with a question and an answer as somebody hands them over: lists, frames and JSON-lines files, each row with its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from ...core.messages import kind_of, shown
from ...core.storage import path_of


class Row(NamedTuple):
    """One object of a file or a list, and where it stands, in words."""

    where: str
    values: Mapping[str, Any]


def rows_of(given: Any, part: str) -> list[Row]:
    """What a user hands over, row by row.

    Args:
        given: rows, a frame, or the path of a file of such rows.
        part: what to call them in a message.

    Raises:
        FileNotFoundError, ValueError: see :func:`lines`.
        TypeError: it is neither rows nor a path.
    """
    if isinstance(given, (str, Path)):
        return list(lines(path_of(given)))
    if hasattr(given, "to_dict") and hasattr(given, "columns"):  # a frame
        given = [_told(row) for row in given.to_dict("records")]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise TypeError(
            f"{part} is rows with a question and an answer, such as a list of dicts or a frame, or the path of a JSON-lines "
            f"file; got {kind_of(given)}"
        )
    rows = [Row(f"row {at} of {part}", values) for at, values in enumerate(given)]
    for row in rows:
        _check_mapping(row)
    return rows


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a frame without what is missing in it, which pandas writes as NaN, and then whole numbers with a point."""
    known = {key: value for key, value in row.items() if not (isinstance(value, float) and isnan(value))}
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in known.items()
    }


def lines(path: Path) -> Iterator[Row]:
    """The objects of a JSON-lines file, one a line; empty lines do not count.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no JSON object, named by its number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; a file of pairs holds one JSON object a line")
    with path.open(encoding="utf-8-sig", errors="strict", newline="\n") as file:
        for number, line in enumerate(_decoded(file, path), 1):
            if not line.strip():
                continue
            try:
                row = Row(f"line {number} of {path.name}", json.loads(line, object_pairs_hook=each_once))
            except json.JSONDecodeError as error:
                whole = (
                    "the file is one JSON document over several lines: " if number == 1 and _is_document(path) else ""
                )
                raise ValueError(
                    f"line {number} of {path} is no JSON ({error.msg} at character {error.pos + 1}): "
                    f"{shown(line[:60].strip(), 80)}; {whole}each line has to hold one object with a question and an answer"
                ) from None
            except ValueError as error:
                raise ValueError(f"line {number} of {path} {error}; which is meant cannot be told") from None
            _check_mapping(row)
            yield row


def each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object, as ``object_pairs_hook``: of two with one name Python takes the later without a word.

    Raises:
        ValueError: two of one name with other values.
    """
    made: dict[str, Any] = {}
    for name, value in members:
        if name in made and made[name] != value:
            raise ValueError(f"names {name!r} twice, with other values")
        made[name] = value
    return made


def _is_document(path: Path) -> bool:
    """Whether a file is JSON as a whole, which no file of several lines of it is."""
    try:
        json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:
        return False
    return True


def _decoded(file: Any, path: Path) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not written in UTF-8 ({error.reason}); save it so") from None


def _check_mapping(row: Row) -> None:
    if not isinstance(row.values, Mapping):
        raise ValueError(
            f"{row.where} is {shown(row.values, 60)}, not an object with a question and an answer, such as "
            '{"question": "...", "answer": "..."}; a file of pairs holds one a line'
        )
