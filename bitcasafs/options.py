"""The words after `-o`: one table that parsing, `--help` and docs/options.md are made from. Pure.

Who uses: `cli.mount` parses argv with it, `mount.config` takes the values; a test compares docs/options.md with
`to_markdown`. What mount(8) and fstab pass along (`rw`, `nofail`, `x-systemd.automount`...) is understood or accepted,
never an error.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bitcasafs.errors import ConfigError
from bitcasafs.units import format_duration, parse_duration, parse_size

Value = str | int | float | bool | None


class OptionType(enum.Enum):
    """How a value is written. A FLAG has none: naming it turns it on. A CHOICE is one of its sample's words."""

    FLAG = "flag"
    TEXT = "text"
    CHOICE = "choice"
    GLOBS = "globs"
    PATH = "path"
    COUNT = "count"
    DURATION = "duration"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Option:
    """One word. `environment` names the variable that sets it when `-o` does not."""

    name: str
    type: OptionType
    default: Value
    help: str
    sample: str = ""

    @property
    def environment(self) -> str:
        return f"BITCASAFS_{self.name.upper()}"


OPTIONS: tuple[Option, ...] = (
    Option("ttl", OptionType.DURATION, 10.0, "How long a folder's listing counts as fresh.", "10s"),
    Option("timeout", OptionType.DURATION, 15.0, "After how long a request that needs the network fails.", "15s"),
    Option("uploads", OptionType.COUNT, 4, "How many files are sent at a time.", "4"),
    Option(
        "settle", OptionType.DURATION, 1.0,
        "How long a file that was sent within the last minute waits for a further save before it is sent again: many "
        "quick saves are then few uploads. `0s` sends each.",
        "1s",
    ),
    Option(
        "fsync", OptionType.CHOICE, "local",
        "What fsync(2) waits for. `local`: the content is durable on this disk; `remote`: the portal has it, too.",
        "local|remote",
    ),
    Option(
        "close", OptionType.CHOICE, "local",
        "What close(2) of a written file waits for. `local`: the content is safe in the state folder and is sent "
        "afterwards; `remote`: the portal has it, and an error of the upload is close's.",
        "local|remote",
    ),
    Option(
        "coherence", OptionType.CHOICE, "relaxed",
        "`relaxed`: names are taken at once, and what another machine took meanwhile is settled when it is sent; "
        "`strict`: creating with O_EXCL, mkdir and renaming over a name ask the portal first, so that lock files work "
        "between machines.",
        "relaxed|strict",
    ),
    Option(
        "local", OptionType.GLOBS, None,
        "Names of files and folders that stay on this machine and are never sent, with `*`, `?` and `[...]`; `:` "
        "between several, for example `.~lock.*#:.Trash-*:._*:.*.sw?`.",
        "GLOB",
    ),
    Option(
        "linger", OptionType.DURATION, None,
        "How long the process goes on sending after `umount`, `fusermount3 -u` or a logout; what is left then is sent "
        "by the next mount. `0s` ends at once. Default: until everything is sent. umount.bitcasafs waits in any case.",
        "10m",
    ),
    Option(
        "keep_free", OptionType.SIZE, None,
        "How much of the disk stays free for others. Near it writing slows down towards the speed of the uploads, at "
        "it a write fails with ENOSPC, and less is kept of what was read. Default: the smaller of 1 GiB and 5 %.",
        "1G",
    ),
    Option(
        "cache_size", OptionType.SIZE, None,
        "How much of what was read is kept on this disk, for the next time; `0` keeps nothing. Default: 10G, and 0 for "
        "a drive on this machine. What `keep_free` says stays free in any case.",
        "10G",
    ),
    Option(
        "root", OptionType.CHOICE, "drive",
        "`drive`: the mountpoint shows the drive's content; `all`: the portal's roots, read-only mirrors among them.",
        "drive|all",
    ),
    Option(
        "data", OptionType.PATH, None,
        "Without a portal: the folder that keeps the drive on this machine. Default: $XDG_DATA_HOME/bitcasafs/drive.",
        "DIR",
    ),
    Option(
        "state", OptionType.PATH, None,
        "Where changes wait until they are on the portal: a folder of a local disk, no network file system. Default: "
        "$XDG_STATE_HOME/bitcasafs.",
        "DIR",
    ),
    Option("user", OptionType.TEXT, None, "The name to log in to the portal with.", "NAME"),
    Option(
        "password_command", OptionType.TEXT, None,
        "A command whose first line of output is the password, for example `pass show bitcasa`. In fstab, write a "
        "comma inside it as `\\,`.",
        "COMMAND",
    ),
    Option(
        "ca_file", OptionType.PATH, None,
        "Trust the authorities in this PEM file instead of the system's. A certificate is always checked.",
        "FILE",
    ),
    Option(
        "allow_http", OptionType.FLAG, False,
        "Talk to a portal at `http://` on another machine, too: everybody on the way can read the password and the "
        "files. Without it only addresses of this machine may do without https.",
    ),
    Option(
        "noxattr", OptionType.FLAG, False,
        "Do without extended attributes: they are refused with EOPNOTSUPP. The kernel then no longer asks for them, "
        "which it does twice a file for `ls -l` and once a write: both are several times faster.",
    ),
    Option("ro", OptionType.FLAG, False, "Mount read-only: every change is refused with EROFS."),
    Option(
        "allow_other", OptionType.FLAG, False,
        "Let other users in, within the files' modes. Needs `user_allow_other` in /etc/fuse.conf unless root mounts.",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Option] = MappingProxyType({option.name: option for option in OPTIONS})

KERNEL_FLAGS = frozenset(
    {"nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "nodiratime", "sync", "async", "dirsync"}
)
"""Handed on to the kernel."""

_DEFAULT_KERNEL_FLAGS = frozenset({"nosuid", "nodev"})
_OPPOSITES = {"suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime", "async": "sync"}

_ACCEPTED = frozenset(
    {
        "rw", "defaults", "auto", "noauto", "nofail", "fail", "_netdev", "user", "nouser", "users", "owner", "group",
        "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "diratime", "iversion",
        "noiversion", "mand", "nomand", "silent", "loud", "default_permissions",
    }
)  # fmt: skip
_ACCEPTED_WITH_VALUE = ("helper", "uhelper", "comment", "fsname", "subtype")
_ACCEPTED_PREFIXES = ("x-", "X-")


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """`values` holds only what was named. `unknown`: words that nobody knows (an error unless `-s` was given)."""

    values: Mapping[str, Value]
    kernel_flags: frozenset[str]
    unknown: tuple[str, ...] = ()


def split_words(text: str) -> list[str]:
    """The words of one `-o`: at commas, but `\\,` is a comma and `\\\\` a backslash inside a word."""
    words, current, escaped = [], "", False
    for character in text:
        if escaped:
            current += character if character in ",\\" else "\\" + character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            words.append(current)
            current = ""
        else:
            current += character
    words.append(current + ("\\" if escaped else ""))
    return [word for word in words if word]


def parse_options(texts: list[str]) -> ParsedOptions:
    """All `-o` together; the last of a repeated word wins. ConfigError: a value that cannot be used, one that is
    missing."""
    values: dict[str, Value] = {}
    flags = set(_DEFAULT_KERNEL_FLAGS)
    unknown = []
    for word in (word for text in texts for word in split_words(text)):
        name, equals, value = word.partition("=")
        # `user` is mount(8)'s word for "any user may mount", and with a value our own.
        if name in BY_NAME and (equals or BY_NAME[name].type is OptionType.FLAG):
            values[name] = parse_value(BY_NAME[name], value if equals else None)
        elif name in KERNEL_FLAGS and not equals:
            _set_flag(flags, name)
        elif word == "rw":
            values["ro"] = False
        elif not _is_accepted(name, equals):
            if name in BY_NAME:
                raise ConfigError(f"-o {name} needs a value: -o {name}={BY_NAME[name].sample}")
            unknown.append(word)
    return ParsedOptions(MappingProxyType(values), frozenset(flags), tuple(unknown))


def parse_environment(environment: Mapping[str, str]) -> Mapping[str, Value]:
    """The options that `BITCASAFS_NAME` variables set; empty ones count as not set. ConfigError."""
    values: dict[str, Value] = {}
    for option in OPTIONS:
        text = environment.get(option.environment, "")
        if text:
            try:
                values[option.name] = _parse(option, text)
            except ConfigError as error:
                raise ConfigError(f"${option.environment}: {error}") from None
    return values


def parse_value(option: Option, text: str | None) -> Value:
    """The value of `-o NAME=text`, or of `-o NAME` (None). ConfigError names the option."""
    if option.type is OptionType.FLAG and text is None:
        return True
    try:
        return _parse(option, text or "")
    except ConfigError as error:
        raise ConfigError(f"-o {option.name}: {error}") from None


def _parse(option: Option, text: str) -> Value:
    if option.type is OptionType.CHOICE:
        return _choice(text, option.sample.split("|"))
    return _PARSERS[option.type](text)


def split_globs(text: str) -> tuple[str, ...]:
    """The patterns of a value of type GLOBS. ConfigError: one of them can match no name, or matches every one."""
    found = tuple(text.split(":"))
    for glob in found:
        if not glob:
            raise ConfigError(f"{text!r}: a pattern between two `:` is empty")
        if "/" in glob:
            raise ConfigError(f"{glob!r}: a pattern is for names, it has no `/`")
        if not glob.strip("*"):
            raise ConfigError(f"{glob!r} would keep every file on this machine")
    return found


def to_markdown() -> str:
    """docs/options.md's table."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for option in OPTIONS:
        written = option.name if option.type is OptionType.FLAG else f"{option.name}={option.sample}"
        cell = written.replace("|", "\\|")
        lines.append(f"| `{cell}` | {_default_text(option) or '-'} | {option.help} |")
    return "\n".join(lines) + "\n"


def to_help() -> str:
    """The same for a terminal, at most 100 columns."""
    lines = []
    for option in OPTIONS:
        written = option.name if option.type is OptionType.FLAG else f"{option.name}={option.sample}"
        default = _default_text(option)
        lines.append(f"  {written:<26}{option.help}{f' [{default}]' if default else ''}".replace("`", ""))
    return "\n".join(lines)


def _default_text(option: Option) -> str:
    if option.type is OptionType.DURATION and isinstance(option.default, float):
        return format_duration(option.default)
    if option.default is None or option.default is False:
        return ""
    return str(option.default)


def _is_accepted(name: str, equals: str) -> bool:
    if name.startswith(_ACCEPTED_PREFIXES):
        return True
    return name in (_ACCEPTED_WITH_VALUE if equals else _ACCEPTED)


def _set_flag(flags: set[str], name: str) -> None:
    """A flag and its opposite: the later one wins; the kernel is told only what differs from its default."""
    if name in _OPPOSITES:
        flags.discard(_OPPOSITES[name])
    else:
        flags.add(name)


def _flag(text: str) -> Value:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ConfigError(f"{text!r} is neither yes nor no")
    return words[text.lower()]


def _text(text: str) -> Value:
    if not text:
        raise ConfigError("it needs a value")
    return text


def _choice(text: str, choices: list[str]) -> Value:
    if text not in choices:
        raise ConfigError(f"{text!r} is not {' or '.join(f'`{choice}`' for choice in choices)}")
    return text


def _globs(text: str) -> Value:
    split_globs(text)
    return text


def _count(text: str) -> Value:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 64):
        raise ConfigError(f"{text!r} is not a number from 1 to 64")
    return int(text)


_PARSERS: Mapping[OptionType, Callable[[str], Value]] = {
    OptionType.FLAG: _flag,
    OptionType.TEXT: _text,
    OptionType.GLOBS: _globs,
    OptionType.PATH: _text,
    OptionType.COUNT: _count,
    OptionType.DURATION: parse_duration,
    OptionType.SIZE: parse_size,
}
