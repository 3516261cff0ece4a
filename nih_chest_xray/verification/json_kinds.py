"""JSON kinds: functions that check the values of a JSON file, and that can be combined.

A kind takes a value and its place in the file, and raises `SchemaError` if the value is not of the kind.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from nih_chest_xray.errors import SchemaError, line, shown

_MAX_WHOLE = 2**63 - 1
_MAX_DEPTH = 20

Kind = Callable[[Any, str], None]


def parse_json(content: bytes) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Raises:
      SchemaError: The content is not JSON in UTF-8, is not an object, is nested too deeply, has a key twice, or holds
        NaN or Infinity.
    """
    try:
        found = json.loads(content.decode(), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except RecursionError:
        raise SchemaError("is nested too deeply") from None
    except SchemaError:
        raise
    except ValueError as error:
        raise SchemaError(f"is not JSON ({line(str(error))})") from error
    if not isinstance(found, dict):
        raise SchemaError(f"is {shown(found)}; expected an object")
    level: list[Any] = [found]
    for _ in range(_MAX_DEPTH):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    if level:
        raise SchemaError("is nested too deeply")
    return found


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise SchemaError(f"has the key {shown(next(key for key in keys if keys.count(key) > 1))} twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise SchemaError(f"holds {name}, which is not JSON")


def one_of(*choices: Any) -> Kind:
    """One of a few values."""

    def check(value: Any, place: str) -> None:
        # Compare the types too: in Python 1 == True.
        good = any(type(value) is type(choice) and value == choice for choice in choices)
        _require(good, value, place, " or ".join(map(repr, choices)))

    return check


def grammar(pattern: re.Pattern[str], expected: str) -> Kind:
    """A text that fully matches a pattern."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, str) and bool(pattern.fullmatch(value)), value, place, expected)

    return check


def text(limit: int, lines: bool = False) -> Kind:
    """A text of limited length, on one line or several, without characters that control a terminal or the direction."""

    def check(value: Any, place: str) -> None:
        good = isinstance(value, str) and len(value) <= limit
        good = good and (lines or "\n" not in value) and not any(map(_steers, value))
        count = "" if lines else " on one line"
        _require(good, value, place, f"a text of up to {limit:,} characters{count}, without control characters")

    return check


def _steers(character: str) -> bool:
    turns = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    breaks = character in "\u2028\u2029"
    return turns or breaks or (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t")


def whole(low: int = 0, high: int = _MAX_WHOLE) -> Kind:
    """A whole number."""

    def check(value: Any, place: str) -> None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        _require(good, value, place, f"a whole number from {low} to {high}")

    return check


def digits(low: int = 0, high: int = _MAX_WHOLE) -> Kind:
    """A whole number as a text, as Protobuf writes 64-bit numbers."""

    def check(value: Any, place: str) -> None:
        good = isinstance(value, str) and bool(re.fullmatch(r"-?[0-9]{1,19}", value)) and low <= int(value) <= high
        _require(good, value, place, f"a text with a whole number from {low} to {high}")

    return check


def number(value: Any, place: str) -> None:
    """A finite number."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    _require(good and abs(value) <= _MAX_WHOLE and math.isfinite(value), value, place, "a number")


def flag(value: Any, place: str) -> None:
    """True or false."""
    _require(isinstance(value, bool), value, place, "true or false")


def nullable(kind: Kind) -> Kind:
    """A kind, or null."""
    return lambda value, place: None if value is None else kind(value, place)


def either(*kinds: Kind) -> Kind:
    """One of several kinds. If none fits, the error is that of the last."""

    def check(value: Any, place: str) -> None:
        for kind in kinds[:-1]:
            try:
                return kind(value, place)
            except SchemaError:
                pass
        return kinds[-1](value, place)

    return check


def listed(kind: Kind, limit: int) -> Kind:
    """A list of at most `limit` values of a kind."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, list) and len(value) <= limit, value, place, f"a list of up to {limit:,}")
        for position, item in enumerate(value):
            kind(item, f"{place}[{position}]")

    return check


def mapping(key: Kind, kind: Kind, limit: int) -> Kind:
    """An object with at most `limit` keys of one kind, and values of another."""

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict) and len(value) <= limit, value, place, f"an object of up to {limit:,} keys")
        for name, item in value.items():
            key(name, f"a key of {place or 'the file'}")
            kind(item, f"{place}.{name}".lstrip("."))

    return check


def record(required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> Kind:
    """An object with known keys, some of which may be absent."""
    kinds = {**required, **(optional or {})}

    def check(value: Any, place: str) -> None:
        _require(isinstance(value, dict), value, place, "an object")
        where = place or "it"
        for name in value:
            if name not in kinds:
                raise SchemaError(f"{where} has a key {shown(name)}, which the package does not write")
        for name in required:
            if name not in value:
                raise SchemaError(f"{where} has no key {name!r}")
        for name, item in value.items():
            kinds[name](item, f"{place}.{name}".lstrip("."))

    return check


def _require(good: bool, value: Any, place: str, expected: str) -> None:
    if not good:
        raise SchemaError(f"{place or 'it'} is {shown(value)}; expected {expected}")
