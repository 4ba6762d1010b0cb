"""What a mount is told, as one frozen value: argv, environment and defaults, parsed once.

Who uses: `cli.mount` makes it, `compose` builds from it. Precedence in one place (`pick`): default < environment <
flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitcasafs.errors import ConfigError
from bitcasafs.logs import Secret
from bitcasafs.mount.folders import Folders
from bitcasafs.options import BY_NAME, ParsedOptions, Value, split_globs
from bitcasafs.remote.portal.endpoint import parse_endpoint


@dataclass(frozen=True, slots=True)
class PortalLogin:
    """A portal that somebody else keeps. `url` as `remote.portal.endpoint` has it: no user, no path, no slash
    behind."""

    url: str
    user: str
    password: Secret
    ca_file: Path | None = None
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class MountConfig:
    """`portal` None: the drive is kept on this machine, in `drive`. `account`: the folder with the outbox and staged
    content. All paths are absolute."""

    mountpoint: Path
    folders: Folders
    account: Path
    drive: Path
    portal: PortalLogin | None = None
    ttl_seconds: float = 10.0
    timeout_seconds: float = 15.0
    uploads: int = 4
    settle_seconds: float = 1.0
    fsync_remote: bool = False
    """fsync waits for the portal."""
    close_remote: bool = False
    strict: bool = False
    """Names that others must not take meanwhile are taken on the portal first."""
    local: tuple[str, ...] = ()
    """Patterns of names that are never sent."""
    linger_seconds: float | None = None
    """How long an unmounted drive is sent; None: until all is."""
    keep_free_bytes: int | None = None
    """Of the disk; None: as `disk` has it."""
    cache_bytes: int | None = None
    """Of what was read, to be kept on this disk; None: as `mount.blocks` has it."""
    all_roots: bool = False
    read_only: bool = False
    allow_other: bool = False
    extended_attributes: bool = True
    kernel_flags: frozenset[str] = frozenset({"nosuid", "nodev"})
    debug: bool = False

    @property
    def blocks(self) -> Path:
        """The folder of the account's block store."""
        return self.folders.cache / self.account.name / "blocks"

    @property
    def staged(self) -> Path:
        """The folder of content that is not on the portal yet."""
        return self.account / "staged"

    @property
    def source(self) -> str:
        """What mount(8) and df show."""
        return self.portal.url if self.portal is not None else f"bitcasafs:{self.drive}"

    @property
    def own_folders(self) -> dict[str, Path]:
        """What the mountpoint must not cover."""
        return {
            "state": self.account,
            "drive's": self.drive,
            "cache": self.folders.cache,
            "runtime": self.folders.runtime,
        }


@dataclass(frozen=True, slots=True)
class Choices:
    """The value of each option after precedence, typed."""

    ttl_seconds: float
    timeout_seconds: float
    uploads: int
    settle_seconds: float
    fsync_remote: bool
    close_remote: bool
    strict: bool
    local: tuple[str, ...]
    linger_seconds: float | None
    keep_free_bytes: int | None
    cache_bytes: int | None
    all_roots: bool
    drive: Path | None
    state: Path | None
    user: str | None
    password_command: str | None
    ca_file: Path | None
    allow_http: bool
    read_only: bool
    allow_other: bool
    extended_attributes: bool


def pick(options: ParsedOptions, environment: Mapping[str, Value]) -> Choices:
    """Default < environment < flag. ConfigError: values that cannot stand."""
    chosen = {name: option.default for name, option in BY_NAME.items()} | dict(environment) | dict(options.values)
    if not float(chosen["timeout"] or 0) >= 1:
        raise ConfigError("-o timeout: a request needs at least 1s")
    return Choices(
        ttl_seconds=float(chosen["ttl"] or 0),
        timeout_seconds=float(chosen["timeout"] or 0),
        uploads=int(chosen["uploads"] or 0),
        settle_seconds=float(chosen["settle"] or 0),
        fsync_remote=chosen["fsync"] == "remote",
        close_remote=chosen["close"] == "remote",
        strict=chosen["coherence"] == "strict",
        local=() if chosen["local"] is None else split_globs(str(chosen["local"])),
        linger_seconds=None if chosen["linger"] is None else float(chosen["linger"]),
        keep_free_bytes=_size(chosen["keep_free"]),
        cache_bytes=_size(chosen["cache_size"]),
        all_roots=chosen["root"] == "all",
        drive=_path(chosen["data"]),
        state=_path(chosen["state"]),
        user=_text(chosen["user"]),
        password_command=_text(chosen["password_command"]),
        ca_file=_path(chosen["ca_file"]),
        allow_http=bool(chosen["allow_http"]),
        read_only=bool(chosen["ro"]),
        allow_other=bool(chosen["allow_other"]),
        extended_attributes=not chosen["noxattr"],
    )


def parse_portal(text: str, *, allow_http: bool = False) -> str:
    """A portal's address in its plain form; `portal.example.org` means https. ConfigError.

    A password in an address would be in the process list and in every log, so it is refused.
    """
    has_scheme = "://" in text or text.startswith("unix:")
    return str(parse_endpoint(text if has_scheme else f"https://{text}", allow_http=allow_http))


def _size(value: Value) -> int | None:
    return None if value is None else int(value)


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _path(value: Value) -> Path | None:
    return None if value is None else Path(str(value)).expanduser().absolute()
