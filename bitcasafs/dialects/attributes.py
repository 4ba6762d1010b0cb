"""Attributes and their changes on the wire (portal protocol 2.4).

JSON: one object with the field names of `values.items.Attributes`; a field that nobody set is left out. Extended
attributes are `"xattrs": {name: value}`, each value base64 with padding, since a value is bytes and JSON is text. A
change is the same object, where null removes; `"xattrs": {name: null}` removes one of them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from bitcasafs.dialects.fields import INT64_MAX, INT64_MIN, as_integer, as_object, as_text, mapping
from bitcasafs.errors import NameInvalid, ProtocolError, TooLarge
from bitcasafs.values.items import AttributeChange, Attributes

XATTR_NAME_BYTES = 255
XATTR_VALUE_BYTES = 65_536
XATTR_TOTAL_BYTES = 65_536
SYMLINK_BYTES = 4_095

_BOUNDS: Mapping[str, tuple[int, int]] = {
    "mode": (0, 0o7777),
    "uid": (0, 2**32 - 1),
    "gid": (0, 2**32 - 1),
    "mtime_ns": (INT64_MIN, INT64_MAX),
    "atime_ns": (INT64_MIN, INT64_MAX),
    "ctime_ns": (INT64_MIN, INT64_MAX),
    "btime_ns": (INT64_MIN, INT64_MAX),
}
_SPECIALS = ("fifo", "socket")
FIELDS: tuple[str, ...] = (*_BOUNDS, "symlink", "special")
"""Every field but `xattrs`, in the order of the wire."""


def encode_attributes(attributes: Attributes) -> dict[str, Any]:
    """What is set; `{}` when nothing is."""
    fields = {key: getattr(attributes, key) for key in FIELDS if getattr(attributes, key) is not None}
    if attributes.xattrs:
        fields["xattrs"] = {name: _to_base64(value) for name, value in attributes.xattrs.items()}
    return fields


def decode_attributes(obj: object, what: str = "attributes") -> Attributes:
    """ProtocolError where a field has the wrong type or is out of its bounds."""
    change = decode_change(obj, what)
    return Attributes(
        **change.values,  # type: ignore[arg-type]  # decode_change admits the declared names and types alone
        xattrs={name: value for name, value in change.xattrs.items() if value is not None},
    )


def encode_change(change: AttributeChange) -> dict[str, Any]:
    """Values to set, null for what goes; `{}` for a change that changes nothing."""
    fields: dict[str, Any] = {key: change.values[key] for key in FIELDS if key in change.values}
    fields.update({key: None for key in FIELDS if key in change.removed})
    if change.xattrs:
        fields["xattrs"] = {name: None if value is None else _to_base64(value) for name, value in change.xattrs.items()}
    return fields


def decode_change(obj: object, what: str = "attributes") -> AttributeChange:
    """ProtocolError, also for one xattr that is too large; the sum is for `check_xattrs`, after the merge."""
    fields = as_object(obj, what)
    values: dict[str, int | str] = {}
    removed = set()
    for key in FIELDS:
        if key not in fields:
            continue
        if fields[key] is None:
            removed.add(key)
        else:
            values[key] = _value(key, fields[key], what)
    xattrs = {
        _xattr_name(name, what): _from_base64(value, f"{what}: xattr {name[:XATTR_NAME_BYTES]!r}")
        for name, value in mapping(fields, "xattrs", what, {}).items()
    }
    return AttributeChange(values, frozenset(removed), xattrs)


def merge(attributes: Attributes, change: AttributeChange) -> Attributes:
    """What is kept after the change: a key present replaces, removed removes, absent leaves (xattrs by name).

    TooLarge when the extended attributes of the result pass 64 KiB.
    """
    kept: dict[str, Any] = {
        key: change.values.get(key, None if key in change.removed else getattr(attributes, key)) for key in FIELDS
    }
    xattrs = dict(attributes.xattrs)
    for name, value in change.xattrs.items():
        if value is None:
            xattrs.pop(name, None)
        else:
            xattrs[name] = value
    check_xattrs(xattrs)
    return Attributes(**kept, xattrs=xattrs)


def check_xattrs(xattrs: Mapping[str, bytes]) -> None:
    """NameInvalid or TooLarge when an item cannot keep these: names 1..255 bytes, names and values 64 KiB in all."""
    total = 0
    for name, value in xattrs.items():
        size = len(name.encode("utf-8", "surrogatepass"))
        if not 1 <= size <= XATTR_NAME_BYTES:
            raise NameInvalid(f"the name of an extended attribute has 1 to {XATTR_NAME_BYTES} bytes, not {size}")
        total += size + len(value)
    if total > XATTR_TOTAL_BYTES:
        raise TooLarge(f"the extended attributes of an item have at most {XATTR_TOTAL_BYTES} bytes, not {total}")


def check_symlink(target: str, what: str = "symlink") -> str:
    """The text of a link: 1 to 4,095 bytes of UTF-8 without NUL. ProtocolError."""
    if "\0" in target or not 1 <= len(target.encode("utf-8", "surrogatepass")) <= SYMLINK_BYTES:
        raise ProtocolError(f"{what} is not 1 to {SYMLINK_BYTES} bytes without NUL", target)
    return target


def _value(key: str, value: object, where: str) -> int | str:
    bounds = _BOUNDS.get(key)
    if bounds is not None and type(value) is int and bounds[0] <= value <= bounds[1]:
        return value
    what = f"{where}: {key!r}"
    if bounds is not None:
        return as_integer(value, what, *bounds)
    if key == "symlink":
        return check_symlink(as_text(value, what), what)
    if value not in _SPECIALS:
        raise ProtocolError(f"{what} is not one of {_SPECIALS}", value)
    return str(value)


def _xattr_name(name: str, what: str) -> str:
    if not 1 <= len(as_text(name, f"{what}: a name of xattrs").encode("utf-8")) <= XATTR_NAME_BYTES or "\0" in name:
        raise ProtocolError(f"{what}: the name of an xattr is not 1 to {XATTR_NAME_BYTES} bytes", name)
    return name


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _from_base64(value: object, what: str) -> bytes | None:
    if value is None:
        return None
    try:
        decoded = base64.b64decode(as_text(value, what), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(f"{what} is not base64", value) from None
    if len(decoded) > XATTR_VALUE_BYTES:
        raise ProtocolError(f"{what} has more than {XATTR_VALUE_BYTES} bytes", len(decoded))
    return decoded
