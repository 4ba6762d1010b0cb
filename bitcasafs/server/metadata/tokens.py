"""Random names for nodes and versions, and the 64-byte `id` of a file made from its version.

An `id` is the version's 16 random bytes and 48 bytes of signature: it needs no column and no index, an invented one is
told from one that was valid and has expired, and it is as hard to guess as the version.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass, field

from bitcasafs.values.items import NodeId, Version

TOKEN_BYTES = 16
ID_BYTES = 64
ID_CHARACTERS = 88


@dataclass(frozen=True, slots=True)
class Tokens:
    """`secret` is the database's own: its ids mean nothing elsewhere."""

    secret: bytes = field(repr=False)

    def file_id(self, version: Version) -> str:
        """88 characters of base64url that end in `==`."""
        raw = base64.urlsafe_b64decode(version + "==")
        return base64.urlsafe_b64encode(raw + hmac.digest(self.secret, raw, "sha384")).decode("ascii")

    def version_of(self, file_id: str) -> Version | None:
        """The version whose id this is; None when this database never made such an id."""
        if len(file_id) != ID_CHARACTERS or not file_id.isascii():
            return None
        try:
            raw = base64.b64decode(file_id, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        token, signature = raw[:TOKEN_BYTES], raw[TOKEN_BYTES:]
        if len(raw) != ID_BYTES or not hmac.compare_digest(signature, hmac.digest(self.secret, token, "sha384")):
            return None
        version = _text(token)
        # One text an id: base64 has several spellings for the last bits.
        return Version(version) if self.file_id(Version(version)) == file_id else None


def new_node() -> NodeId:
    return NodeId(_text(secrets.token_bytes(TOKEN_BYTES)))


def new_version() -> Version:
    return Version(_text(secrets.token_bytes(TOKEN_BYTES)))


def new_drive() -> str:
    """64 hex digits."""
    return secrets.token_hex(32)


def _text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode("ascii").rstrip("=")
