"""JSON and its fields, taken out by type: strict about types, silent about fields that nobody asked for.

Every function raises ProtocolError with the message and field that was wrong; `refusing` turns that into Malformed
where the text came from a client. Nothing else escapes, whatever the bytes: deep nesting, huge numbers, NaN, halves of
surrogate pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, NoReturn, TypeVar

from bitcasafs.errors import Malformed, ProtocolError

JsonObject = Mapping[str, Any]
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


class _Required(Enum):
    """The default that says: there is none."""

    REQUIRED = "required"


REQUIRED: Final = _Required.REQUIRED


@contextmanager
def refusing() -> Iterator[None]:
    """Inside, what is not the protocol is the client's fault: ProtocolError becomes Malformed."""
    try:
        yield
    except ProtocolError as error:
        raise Malformed(str(error)) from None


# Made once: `json.dumps` makes one a call, a tenth of the CPU of a listing.
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def json_bytes(value: object) -> bytes:
    """Compact UTF-8 JSON without a line feed in it. Only for values that were checked: text with half a surrogate
    pair is written with an escape rather than raising."""
    try:
        return _encode(value).encode("utf-8")
    except UnicodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse_json(data: bytes, what: str) -> Any:
    """Any JSON value. ProtocolError."""

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=constant)
    except (ValueError, RecursionError):
        # UnicodeDecodeError, JSONDecodeError and int's limit on digits are all ValueErrors.
        raise ProtocolError(f"{what} is not JSON", data[:200]) from None


def parse_object(data: bytes, what: str) -> JsonObject:
    """A JSON object. ProtocolError."""
    return as_object(parse_json(data, what), what)


def as_object(value: object, what: str) -> JsonObject:
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not an object", value)
    return value


def as_text(value: object, what: str) -> str:
    """Text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise ProtocolError(f"{what} is not text", value)
    try:
        value.encode("utf-8")
    except UnicodeError:
        raise ProtocolError(f"{what} is not text that UTF-8 can hold", value) from None
    return value


def as_integer(value: object, what: str, minimum: int = INT64_MIN, maximum: int = INT64_MAX) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProtocolError(f"{what} is not an integer", value)
    if not minimum <= value <= maximum:
        raise ProtocolError(f"{what} is out of bounds", value if abs(value) < 2**128 else "a huge number")
    return value


def _field(obj: JsonObject, key: str, what: str, default: T | _Required, convert: Callable[[object, str], T]) -> T:
    value = obj.get(key)
    if value is None:
        if isinstance(default, _Required):
            raise ProtocolError(f"{what}: {key!r} is missing", list(obj)[:12])
        return default
    return convert(value, f"{what}: {key!r}")


def text(obj: JsonObject, key: str, what: str, default: str | _Required = REQUIRED) -> str:
    """A string. A field that is absent or null is the default, or missing."""
    value = obj.get(key)
    if type(value) is str and value.isascii():  # nearly all: a listing of 100,000 items has two million fields
        return value
    return _field(obj, key, what, default, as_text)


def optional_text(obj: JsonObject, key: str, what: str) -> str | None:
    return None if obj.get(key) is None else text(obj, key, what)


def integer(
    obj: JsonObject,
    key: str,
    what: str,
    default: int | _Required = REQUIRED,
    *,
    minimum: int = INT64_MIN,
    maximum: int = INT64_MAX,
) -> int:
    """An integer in [minimum, maximum]; neither 5.0 nor true is one."""
    value = obj.get(key)
    if type(value) is int and minimum <= value <= maximum:
        return value
    return _field(obj, key, what, default, lambda value, where: as_integer(value, where, minimum, maximum))


def optional_integer(
    obj: JsonObject, key: str, what: str, *, minimum: int = INT64_MIN, maximum: int = INT64_MAX
) -> int | None:
    if obj.get(key) is None:
        return None
    return integer(obj, key, what, minimum=minimum, maximum=maximum)


def number(obj: JsonObject, key: str, what: str, default: float | _Required = REQUIRED) -> float:
    """A finite number; an integer stays one, so that no digit is lost."""
    present = obj.get(key)
    if type(present) is int and INT64_MIN <= present <= INT64_MAX:
        return present

    def convert(value: object, where: str) -> float:
        if isinstance(value, float) and math.isfinite(value):
            return value
        return as_integer(value, where)

    return _field(obj, key, what, default, convert)


def boolean(obj: JsonObject, key: str, what: str, default: bool | _Required = REQUIRED) -> bool:
    present = obj.get(key)
    if present is True or present is False:
        return bool(present)

    def convert(value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise ProtocolError(f"{where} is not true or false", value)
        return value

    return _field(obj, key, what, default, convert)


def mapping(obj: JsonObject, key: str, what: str, default: JsonObject | _Required = REQUIRED) -> JsonObject:
    value = obj.get(key)
    if type(value) is dict:
        return value
    if value is None and not isinstance(default, _Required):
        return default
    return _field(obj, key, what, default, as_object)


def sequence(obj: JsonObject, key: str, what: str, default: Sequence[Any] | _Required = REQUIRED) -> Sequence[Any]:
    def convert(value: object, where: str) -> Sequence[Any]:
        if not isinstance(value, list):
            raise ProtocolError(f"{where} is not an array", value)
        return value

    return _field(obj, key, what, default, convert)


def choice(obj: JsonObject, key: str, what: str, kind: type[E], default: E | _Required = REQUIRED) -> E:
    """A member of an enum of strings, by its value."""

    def convert(value: object, where: str) -> E:
        for member in kind:
            if member.value == value:
                return member
        raise ProtocolError(f"{where} is not one of {[member.value for member in kind]}", value)

    return _field(obj, key, what, default, convert)
