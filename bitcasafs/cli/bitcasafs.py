"""bitcasafs: what is asked of running mounts, and the server. Each subcommand is a module with `add_parser`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import bitcasafs
from bitcasafs.cli import outbox, serve, status, sync, user
from bitcasafs.cli.speaking import Parser, guarded

PROGRAM = "bitcasafs"
_DESCRIPTION = """\
A Bitcasa drive as an ordinary folder, and the portal server behind it.

Mount with mount.bitcasafs, unmount with umount.bitcasafs; this command tells what mounts do, and runs the server.
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"BitcasaFS {bitcasafs.__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (status, sync, outbox, serve, user):
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    return guarded(PROGRAM, lambda: int(arguments.run(arguments) or 0), debug=arguments.debug)


if __name__ == "__main__":
    sys.exit(main())
