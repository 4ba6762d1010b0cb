"""What the portal says of itself and of its user: discovery and profile."""

from __future__ import annotations

from bitcasafs.dialects.discovery import encode_discovery
from bitcasafs.dialects.profile import encode_profile
from bitcasafs.errors import NotFound
from bitcasafs.server.answers import Answer, json_answer
from bitcasafs.server.call import Call


async def discovery(call: Call) -> Answer:
    """`GET /.well-known/bitcasa-portal`, without a session."""
    if call.portal.extensions is None:
        raise NotFound("this portal has no extensions")
    return json_answer(encode_discovery(call.portal.extensions))


async def profile(call: Call) -> Answer:
    """`GET /profile`."""
    portal = call.portal
    found = await portal.threads.read(portal.metadata.profile, call.user)
    return json_answer(encode_profile(found, extensions=portal.extended))
