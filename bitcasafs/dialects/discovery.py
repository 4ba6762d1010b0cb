"""What a portal says it can do: `GET /.well-known/bitcasa-portal` (portal protocol, part 2).

404, 401, 403, 405, a redirect, or anything that is not JSON means a historical portal: the client then uses part 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitcasafs.dialects.fields import JsonObject, as_object, integer, mapping, optional_integer, parse_object, text
from bitcasafs.dialects.refusals import decode_error

PATH = "/.well-known/bitcasa-portal"
MIN_OPERATIONS = 1000
MIN_BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Most operations and most body bytes of one batch, and the largest content of one put."""

    operations: int = MIN_OPERATIONS
    bytes: int = MIN_BATCH_BYTES
    content: int = MIN_BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Extensions:
    """What is advertised. `file_bytes`: the largest file, None when not said. `others`: names that we do not know."""

    portal: str = "BitcasaFS"
    version: str = ""
    versions: bool = False
    attributes: bool = False
    batch: BatchLimits | None = None
    quota: bool = False
    file_bytes: int | None = None
    others: frozenset[str] = frozenset()

    @property
    def any(self) -> bool:
        """Whether items carry `node` and `revision`."""
        return bool(self.versions or self.attributes or self.batch or self.quota or self.others)


def encode_discovery(extensions: Extensions) -> dict[str, Any]:
    """The JSON object of the answer."""
    advertised: dict[str, Any] = {name: {} for name in sorted(extensions.others)}
    if extensions.versions:
        advertised["versions"] = {}
    if extensions.attributes:
        advertised["attributes"] = {}
    if extensions.batch is not None:
        limits = extensions.batch
        advertised["batch"] = {"operations": limits.operations, "bytes": limits.bytes, "content": limits.content}
    if extensions.quota:
        advertised["quota"] = {}
    answer = {"portal": extensions.portal, "version": extensions.version, "extensions": advertised}
    if extensions.file_bytes is not None:
        answer["limits"] = {"file_bytes": extensions.file_bytes}
    return answer


def decode_discovery(
    status: int, content_type: str | None, body: bytes, headers: Mapping[str, str] | None = None
) -> Extensions | None:
    """What is advertised; None: a historical portal. Raises Busy and the like for an answer that says nothing of what
    the portal is (429, 5xx), ProtocolError for JSON that is not ours: guessing would quietly lose the extensions."""
    if status == 429 or status == 408 or status >= 500:
        raise decode_error(status, body, headers or {})
    media = (content_type or "").partition(";")[0].strip().lower()
    if status != 200 or not (media == "application/json" or media.endswith("+json")):
        return None
    fields = parse_object(body, "discovery")
    advertised = mapping(fields, "extensions", "discovery")
    known = {"versions", "attributes", "batch", "quota"}
    return Extensions(
        portal=text(fields, "portal", "discovery", ""),
        version=text(fields, "version", "discovery", ""),
        versions=_limits(advertised, "versions") is not None,
        attributes=_limits(advertised, "attributes") is not None,
        batch=_batch(_limits(advertised, "batch")),
        quota=_limits(advertised, "quota") is not None,
        file_bytes=optional_integer(mapping(fields, "limits", "discovery", {}), "file_bytes", "discovery", minimum=0),
        others=frozenset(name for name in advertised if name not in known and advertised[name] is not None),
    )


def _limits(advertised: JsonObject, name: str) -> JsonObject | None:
    value = advertised.get(name)
    return None if value is None else as_object(value, f"discovery: extension {name!r}")


def _batch(limits: JsonObject | None) -> BatchLimits | None:
    if limits is None:
        return None
    what = "discovery: batch"
    size = integer(limits, "bytes", what, MIN_BATCH_BYTES, minimum=1)
    return BatchLimits(
        operations=integer(limits, "operations", what, MIN_OPERATIONS, minimum=1),
        bytes=size,
        content=integer(limits, "content", what, size, minimum=0),
    )
