"""`bitcasafs status [--json] [MOUNTPOINT]`: what the mounts of this user are doing."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from bitcasafs.cli.exits import Exit
from bitcasafs.cli.place import mount_of
from bitcasafs.control.client import ask_status
from bitcasafs.control.registry import Registry
from bitcasafs.mount.folders import from_environment
from bitcasafs.status import Status


def add_parser(subparsers: Any) -> None:  # argparse names no type for what add_subparsers returns
    parser = subparsers.add_parser("status", help="what the mounts are doing")
    parser.add_argument("mountpoint", nargs="?", metavar="MOUNTPOINT", help="only this mount, or that of this file")
    parser.add_argument("--json", action="store_true", help="for machines; an array, one object a mount")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    registry = Registry(*from_environment(os.environ).control)
    if arguments.mountpoint is None:
        entries = registry.all_mounts()
    else:
        entries = [mount_of(Path(arguments.mountpoint), registry)]
    found: list[Status] = [ask_status(entry.socket) for entry in entries]
    if arguments.json:
        print(json.dumps([status.to_json() for status in found], indent=2))
    else:
        print("\n".join(status.to_text() for status in found) or "no drive is mounted")
    return Exit.OK
