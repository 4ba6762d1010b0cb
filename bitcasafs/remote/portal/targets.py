"""Request targets of the portal's resources: percent-encoded paths with their queries (portal protocol 1.4 to 1.9)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from bitcasafs.dialects.names import address_path, quote_path
from bitcasafs.values.items import Address

ROOTS = "/directory/"
RENAME = "/rename/"
DELETE = "/delete"


def directory(folder: Address) -> str:
    """A folder's listing; by identity where the folder has one."""
    return "/directory" + quote_path(address_path(folder))


def new_folder(parent: Address, name: str) -> str:
    return "/directory" + quote_path(address_path(parent).rstrip("/") + "/" + name)


def file(content_id: str, query: Mapping[str, str]) -> str:
    return with_query("/file/" + quote(content_id, safe=""), query)


def files(parent: Address, query: Mapping[str, str]) -> str:
    return with_query("/files", {"path": address_path(parent), **query})


def with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
