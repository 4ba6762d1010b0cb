"""`bitcasafs outbox list|retry|export|discard`: changes that could not be sent, and what becomes of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bitcasafs.cli.columns import in_columns, plain
from bitcasafs.cli.exits import Exit
from bitcasafs.cli.export import export
from bitcasafs.cli.place import chosen_mount
from bitcasafs.cli.speaking import Parser, complain
from bitcasafs.control.changes import ChangeStatus
from bitcasafs.control.client import ask_changes
from bitcasafs.control.messages import Ask, Request
from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import ConfigError
from bitcasafs.mount.folders import from_environment
from bitcasafs.units import format_size

_PROGRAM = "bitcasafs"
_MOST = 1000
"""Numbers of one call: the request is one line of 64 KiB."""
_LOST = {
    "content": "what was written is lost",
    "mkdir": "the folder is not made",
    "symlink": "the link is not made",
    "move": "it keeps its name in the drive",
    "delete": "it stays in the drive",
    "attributes": "those in the drive stay",
}
"""What discarding a change means, by kind."""


class _AnyOrder(Parser):
    """Options, which are all flags here, may stand anywhere between the other words."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # argparse overloads it
        words = sorted(args or (), key=lambda word: not word.startswith("-"))
        return super().parse_known_args(words, namespace)


def add_parser(subparsers: Any) -> None:  # argparse names no type for what add_subparsers returns
    parser = subparsers.add_parser("outbox", help="changes that could not be sent: list, retry, export, discard")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_AnyOrder)
    listing = commands.add_parser("list", help="what could not be sent, and why")
    listing.add_argument("mountpoint", nargs="?", metavar="MOUNTPOINT")
    listing.add_argument("--all", action="store_true", help="also what is still to be sent")
    listing.add_argument("--json", action="store_true", help="for machines; an array, one object a change")
    listing.set_defaults(run=run_list)
    retry = commands.add_parser("retry", help="send it again, now", usage="%(prog)s (ID... | --all) [MOUNTPOINT]")
    retry.add_argument("words", nargs="*", metavar="ID... [MOUNTPOINT]")
    retry.add_argument("--all", action="store_true", help="all that could not be sent")
    retry.set_defaults(run=run_retry)
    exporting = commands.add_parser("export", help="copy what was written out of the outbox; it stays there as well")
    exporting.add_argument("id", type=int, metavar="ID")
    exporting.add_argument("destination", metavar="DEST", help="a new file, or a folder to put it into")
    exporting.add_argument("mountpoint", nargs="?", metavar="MOUNTPOINT")
    exporting.set_defaults(run=run_export)
    usage = "%(prog)s ID... [--recursive] [--yes] [MOUNTPOINT]"
    discard = commands.add_parser("discard", help="give it up, with what was written", usage=usage)
    discard.add_argument("words", nargs="+", metavar="ID... [MOUNTPOINT]")
    discard.add_argument("--recursive", action="store_true", help="of a new folder: also what waits to be put into it")
    discard.add_argument("--yes", action="store_true", help="do not ask")
    discard.set_defaults(run=run_discard)


# --- list -------------------------------------------------------------------------------------------------------------


def run_list(arguments: argparse.Namespace) -> int:
    entry = _mount(arguments.mountpoint)
    changes = ask_changes(entry.socket, Request(Ask.OUTBOX, everything=arguments.all))
    if arguments.json:
        print(json.dumps([change.to_json() for change in changes], indent=2))
    elif not sys.stdout.isatty():
        for change in changes:
            size = "" if change.size_bytes is None else str(change.size_bytes)
            since = _since(change, timespec="seconds")
            row = (str(change.id), change.state, change.path, change.what, size, since, change.reason or "")
            print("\t".join(map(plain, row)))
    elif changes:
        print("\n".join(_table(changes, states=arguments.all)))
    else:
        print("nothing waits" if arguments.all else "nothing waits for a decision")
    return Exit.OK


def _table(changes: Sequence[ChangeStatus], *, states: bool) -> list[str]:
    rows = [("ID", "STATE", "PATH", "CHANGE", "SIZE", "SINCE", "REASON")]
    for change in changes:
        since = _since(change, timespec="minutes")[:16].replace("T", " ")
        row = (str(change.id), change.state, change.path, change.what, _size(change), since, change.reason or "")
        rows.append(tuple(map(plain, row)))  # type: ignore[arg-type]  # as long as the row is
    return in_columns(rows if states else [(row[0], *row[2:]) for row in rows])


def _size(change: ChangeStatus) -> str:
    return "" if change.size_bytes is None else format_size(change.size_bytes)


def _since(change: ChangeStatus, *, timespec: str) -> str:
    """In local time, with its offset; empty when it is not known."""
    if not change.made_ns:
        return ""
    return datetime.fromtimestamp(change.made_ns // 1_000_000_000, UTC).astimezone().isoformat(timespec=timespec)


# --- retry ------------------------------------------------------------------------------------------------------------


def run_retry(arguments: argparse.Namespace) -> int:
    numbers, mountpoint = _numbers_and_place(arguments.words)
    if bool(numbers) == arguments.all:
        raise ConfigError("say which changes (bitcasafs outbox list has their numbers), or --all")
    told = ask_changes(_mount(mountpoint).socket, Request(Ask.RETRY, changes=numbers))
    left = [change for change in told if change.state == "problem"]
    for change in left:
        complain(_PROGRAM, f"#{change.id} {plain(change.path)} cannot be sent: {change.reason}")
    print(f"{_count(len(told) - len(left))} sent again" if told else "nothing waits for a decision")
    return Exit.SOME if left else Exit.OK


# --- export -----------------------------------------------------------------------------------------------------------


def run_export(arguments: argparse.Namespace) -> int:
    for line in export(_mount(arguments.mountpoint).socket, arguments.id, arguments.destination):
        print(line)
    return Exit.OK


# --- discard ----------------------------------------------------------------------------------------------------------


def run_discard(arguments: argparse.Namespace) -> int:
    numbers, mountpoint = _numbers_and_place(arguments.words)
    if not numbers:
        raise ConfigError("say which changes; bitcasafs outbox list has their numbers")
    if not arguments.yes and not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on; --yes discards without asking")
    socket = _mount(mountpoint).socket
    plan = ask_changes(socket, Request(Ask.PLAN_DISCARD, changes=numbers, recursive=arguments.recursive))
    if not arguments.yes and not _is_wanted(plan):
        complain(_PROGRAM, "nothing was discarded")
        return Exit.INTERRUPTED
    # Exactly what was shown: what came since is not lost unseen.
    shown = tuple(change.id for change in plan)
    if len(shown) > _MOST:
        told = ask_changes(socket, Request(Ask.DISCARD, changes=numbers, recursive=arguments.recursive))
    else:
        told = ask_changes(socket, Request(Ask.DISCARD, changes=shown))
    print(f"{_count(len(told))} discarded")
    return Exit.OK


def _is_wanted(plan: Sequence[ChangeStatus]) -> bool:
    """Show what would be lost, and ask."""
    for change in plan:
        size = f", {_size(change)}" if change.size_bytes is not None else ""
        lost = _LOST.get(change.kind, "the change is lost")
        print(f"  #{change.id} {plain(change.path)}: {plain(change.what)}{size}; {lost}", file=sys.stderr)
    print(
        f"Discard {'this change' if len(plan) == 1 else f'these {len(plan)} changes'}? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# --- words ------------------------------------------------------------------------------------------------------------


def _mount(path: str | None) -> Registered:
    return chosen_mount(path, Registry(*from_environment(os.environ).control))


def _numbers_and_place(words: Sequence[str]) -> tuple[tuple[int, ...], str | None]:
    """`7 9 ~/bitcasa`: numbers of changes, and a mountpoint at the end, which is no number (`./7` is none)."""
    *before, last = words or [""]
    mountpoint = last if last and not _is_number(last) else None
    numbers = before if mountpoint is not None or not last else words
    for word in numbers:
        if not _is_number(word):
            raise ConfigError(f"{word} is no number of a change")
    if len(numbers) > _MOST:
        raise ConfigError(f"at most {_MOST} changes at once")
    return tuple(int(word) for word in numbers), mountpoint


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _count(number: int) -> str:
    return "1 change is" if number == 1 else f"{number} changes are"
