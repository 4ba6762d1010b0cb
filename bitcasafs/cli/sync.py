"""`bitcasafs sync [PATH]`: waits until the changes that exist now are on the portal."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bitcasafs.cli.exits import Exit
from bitcasafs.cli.place import mount_of
from bitcasafs.cli.problems import problem_lines
from bitcasafs.cli.progress import Progress
from bitcasafs.cli.speaking import complain
from bitcasafs.control.client import replies
from bitcasafs.control.messages import Ask, ReplyKind, Request
from bitcasafs.control.registry import Registered, Registry
from bitcasafs.errors import Refused
from bitcasafs.mount.folders import from_environment


def add_parser(subparsers: Any) -> None:  # argparse names no type for what add_subparsers returns
    parser = subparsers.add_parser("sync", help="wait until everything is on the portal")
    parser.add_argument("path", nargs="?", metavar="PATH", help="the mount of this file or folder; else all mounts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    registry = Registry(*from_environment(os.environ).control)
    entries = registry.all_mounts() if arguments.path is None else [mount_of(Path(arguments.path), registry)]
    return max((_sync(entry) for entry in entries), default=Exit.OK)


def _sync(entry: Registered) -> int:
    progress = Progress(sys.stderr)
    for reply in replies(entry.socket, Request(Ask.SYNC)):
        if reply.kind is ReplyKind.REFUSED:
            raise Refused(reply.message)
        assert reply.status is not None
        if reply.kind is ReplyKind.DONE:
            progress.clear()
            if not reply.status.problem_count:
                return Exit.OK
            for line in problem_lines(reply.status):
                complain("bitcasafs", line)
            return Exit.SOME
        progress.show(reply.status)
    return Exit.FAILED
