"""What a portal says it can do, asked once, as the rest of this adapter uses it."""

from __future__ import annotations

from bitcasafs.dialects.discovery import PATH, Extensions, decode_discovery
from bitcasafs.remote.interface import Capabilities
from bitcasafs.remote.portal.transport import Transport


async def discover(transport: Transport) -> Extensions | None:
    """None: a historical portal. Unavailable, ProtocolError (an answer that is nearly ours: nothing is guessed)."""
    answer = await transport.call("GET", PATH, headers={"Accept": "application/json"})
    extensions = decode_discovery(answer.status, answer.headers.get("Content-Type"), answer.body, answer.headers)
    # Every change of ours goes through `batch`; a portal with other extensions alone is used as history has it.
    return extensions if extensions is not None and extensions.batch is not None and extensions.versions else None


def capabilities_of(extensions: Extensions | None) -> Capabilities:
    if extensions is None or extensions.batch is None:
        return Capabilities()
    return Capabilities(
        versions=extensions.versions,
        attributes=extensions.attributes,
        batch=True,
        quota=extensions.quota,
        batch_operations=extensions.batch.operations,
        batch_bytes=min(extensions.batch.bytes, extensions.batch.content),
        file_bytes=extensions.file_bytes,
    )
