"""Names and paths as the wire has them: what a name may be, how a path is quoted, split and addressed.

Source: portal protocol 1.4 (paths), 2.1 (`/.node/ID`), 2.7 (names). Who uses: whoever makes or parses a URL or
invents a name (`numbered`, `upload_name`). Errors: NameNotUtf8, NameInvalid, NotFound.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from bitcasafs.errors import NameInvalid, NameNotUtf8, NotFound
from bitcasafs.values.items import Address, NodeId

NAME_BYTES = 255
NODE_CHARACTERS = 64
PATH_BYTES = 2048
"""Longer paths must be sent as `/.node/ID/name` (protocol 2.1); many servers and proxies cut longer request lines."""

NODE_FOLDER = ".node"
_DRIVE_ID = re.compile(r"[0-9a-fA-F]{64}")
_UPLOAD_NAME = re.compile(r"\..+\.[0-9a-f]{16}\.upload", re.DOTALL)
_EXTENSION_BYTES = 32
"""A longer "extension" is part of the stem: it is a sentence with a dot, and would leave the number no room."""


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """`/.node/ID`, or `/.node/ID/name`: the entry `name` in the folder ID."""

    node: NodeId
    name: str | None = None


@dataclass(frozen=True, slots=True)
class PathTarget:
    """`/DRIVE/name/name`; `drive` is None for `/`, the parent of the roots. The drive id is in lower case."""

    drive: str | None
    names: tuple[str, ...] = ()


def check_name(raw: str | bytes) -> str:
    """The name as text. NameNotUtf8, or NameInvalid: 1..255 bytes, no `/`, no NUL, not `.` or `..`."""
    try:
        encoded = raw.encode("utf-8") if isinstance(raw, str) else bytes(raw)
        name = encoded.decode("utf-8")
    except UnicodeError:
        raise NameNotUtf8(f"the name {raw!r} is not UTF-8") from None
    if not 1 <= len(encoded) <= NAME_BYTES:
        raise NameInvalid(f"a name has 1 to {NAME_BYTES} bytes, this one {len(encoded)}")
    if "/" in name or "\0" in name or name in (".", ".."):
        raise NameInvalid(f"the name {name!r} is not allowed")
    return name


def check_node(raw: str) -> NodeId:
    """A node id that can stand in a path: 1..64 characters, no `/` and no control characters; else NotFound."""
    if not 1 <= len(raw) <= NODE_CHARACTERS or "/" in raw or not raw.isprintable() or raw in (".", ".."):
        raise NotFound(f"no node is called {raw[:NODE_CHARACTERS]!r}")
    return NodeId(raw)


def split_path(path: str) -> tuple[str, ...]:
    """The names of a plain path; doubled and trailing slashes do not count. NameInvalid, NameNotUtf8."""
    return tuple(check_name(part) for part in path.split("/") if part)


def join_path(*names: str) -> str:
    """`/` + the names with `/` between them; `/` alone without names."""
    return "/" + "/".join(names)


def quote_path(path: str) -> str:
    """A plain path for a URL: UTF-8, percent-encoded but for unreserved characters and `/`. NameNotUtf8."""
    try:
        return quote(path, safe="/", errors="strict")
    except UnicodeError:
        raise NameNotUtf8(f"the path {path!r} is not UTF-8") from None


def unquote_path(raw: bytes | str) -> str:
    """The plain path of a request line; raw UTF-8 bytes in it are tolerated. NameNotUtf8.

    `%2F` becomes a separator: no name holds a slash, and some old clients quote a whole path with its slashes.
    """
    try:
        encoded = raw if isinstance(raw, bytes) else raw.encode("utf-8")
        return unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeError:
        raise NameNotUtf8(f"the path {raw!r} is not UTF-8") from None


def node_path(node: NodeId, name: str | None = None) -> str:
    """`/.node/ID` or `/.node/ID/name`, plain."""
    return join_path(NODE_FOLDER, node) if name is None else join_path(NODE_FOLDER, node, name)


def parse_target(path: str) -> NodeTarget | PathTarget:
    """What a plain path of a request names. NotFound (neither form), NameInvalid, NameNotUtf8."""
    first, *rest = [part for part in path.split("/") if part] or [""]
    if first == "":
        return PathTarget(None)
    if first == NODE_FOLDER:
        if not 1 <= len(rest) <= 2:
            raise NotFound("a node is named /.node/ID or /.node/ID/name")
        return NodeTarget(check_node(rest[0]), check_name(rest[1]) if len(rest) == 2 else None)
    if _DRIVE_ID.fullmatch(first) is None:
        raise NotFound(f"no drive is called {first[:NODE_CHARACTERS]!r}")
    return PathTarget(first.lower(), tuple(check_name(part) for part in rest))


def address_path(address: Address) -> str:
    """The plain path to put on the wire: by identity where it is known, else by name."""
    return address.path if address.node is None else node_path(address.node)


def upload_name(name: str, version: str) -> str:
    """`.NAME.HASH.upload`: where a replacement waits on a portal that cannot overwrite; the same for equal input."""
    tag = hashlib.sha256(version.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    ending = f".{tag}.upload"
    return f".{shorten(name, NAME_BYTES - 1 - len(ending))}{ending}"


def is_upload_name(name: str) -> bool:
    """Whether every mount hides this name (see `upload_name`)."""
    return _UPLOAD_NAME.fullmatch(name) is not None


def numbered(name: str, number: int) -> str:
    """`name (1).ext`, the stem shortened so that the whole fits 255 bytes."""
    return with_suffix(name, f" ({number})")


def with_suffix(name: str, suffix: str) -> str:
    """`name` with `suffix` before its extension, the stem shortened so that the whole fits 255 bytes."""
    stem, extension = split_extension(name)
    room = NAME_BYTES - len((suffix + extension).encode("utf-8"))
    return shorten(stem, room) + suffix + extension


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension with its dot. A name that begins with its only dot has none (`.profile`)."""
    stem, dot, extension = name.rpartition(".")
    if not stem.strip(".") or not extension or len(extension.encode("utf-8", "surrogatepass")) > _EXTENSION_BYTES:
        return name, ""
    return stem, dot + extension


def shorten(text: str, limit_bytes: int) -> str:
    """The longest beginning of `text` of at most `limit_bytes` of UTF-8 that cuts no character in two."""
    return text.encode("utf-8", "surrogatepass")[: max(limit_bytes, 0)].decode("utf-8", "ignore")
