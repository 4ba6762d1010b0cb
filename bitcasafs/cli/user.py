"""`bitcasafs user add NAME`: make an account, with an empty drive, in a server's data folder."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from bitcasafs.cli.exits import Exit
from bitcasafs.clock import SystemClock
from bitcasafs.errors import ConfigError, Exists, NameInvalid
from bitcasafs.server.accounts import add_user
from bitcasafs.server.serve import data_folder
from bitcasafs.units import parse_size


def add_parser(subparsers: Any) -> None:  # argparse names no type for what add_subparsers returns
    parser = subparsers.add_parser("user", help="accounts of a portal server")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser("add", help="make an account with an empty drive")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--data", required=True, metavar="DIR", help="the server's data folder")
    add.add_argument("--email", default="", metavar="ADDRESS")
    add.add_argument("--quota", default=None, metavar="SIZE", help="such as 100G; without it there is no limit")
    add.add_argument(
        "--password-stdin", action="store_true", help="read the password from the first line of standard input"
    )
    add.add_argument("--keep-existing", action="store_true", help="leave an account of that name as it is, and succeed")
    add.set_defaults(run=add_account)


def add_account(arguments: argparse.Namespace) -> int:
    """ConfigError: the name is taken or no name, the passwords differ. The password is never an argument: arguments
    are visible to everybody on this machine."""
    password = _password_from_stdin() if arguments.password_stdin else _password_from_terminal(arguments.name)
    quota_bytes = None if arguments.quota is None else parse_size(arguments.quota)
    try:
        add_user(
            data_folder(arguments.data),
            arguments.name,
            password,
            email=arguments.email,
            quota_bytes=quota_bytes,
            clock=SystemClock(),
        )
    except (Exists, NameInvalid) as error:
        if isinstance(error, Exists) and arguments.keep_existing:
            return Exit.OK
        raise ConfigError(str(error)) from error
    return Exit.OK


def _password_from_stdin() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _password_from_terminal(name: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on: use --password-stdin")
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("The same again: ") != password:
        raise ConfigError("the two passwords differ")
    return password
