"""What every request works with: the parts of one server, built once by `compose`."""

from __future__ import annotations

from dataclasses import dataclass

from bitcasafs.dialects.discovery import Extensions
from bitcasafs.server.config import Limits
from bitcasafs.server.content.claims import Claims
from bitcasafs.server.content.interface import ContentStore
from bitcasafs.server.metadata import Metadata
from bitcasafs.server.passwords import Passwords
from bitcasafs.server.sessions import Sessions
from bitcasafs.server.shared_commits import SharedCommits
from bitcasafs.server.threads import Threads
from bitcasafs.server.turns import Turns


@dataclass(frozen=True, slots=True)
class Portal:
    """`names`, `addresses`: those whose login is being looked at. `extensions` None: a historical portal. `is_secure`:
    cookies are for TLS alone."""

    metadata: Metadata
    commits: SharedCommits
    contents: ContentStore
    claims: Claims
    threads: Threads
    passwords: Passwords
    names: Turns
    addresses: Turns
    sessions: Sessions
    limits: Limits
    extensions: Extensions | None
    is_secure: bool
    keep_session_id: bool

    @property
    def extended(self) -> bool:
        """Whether part 2 is spoken."""
        return self.extensions is not None
