"""`bitcasafs serve`: run a portal server in the foreground."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from bitcasafs.cli.exits import Exit
from bitcasafs.logs import Foreground, configure
from bitcasafs.server.config import DEFAULT_LINGER_SECONDS, ServerConfig, parse_listen
from bitcasafs.server.serve import data_folder, run
from bitcasafs.units import parse_duration


def add_parser(subparsers: Any) -> None:  # argparse names no type for what add_subparsers returns
    parser = subparsers.add_parser(
        "serve",
        help="run a portal server",
        description="Run a portal server that keeps its drives in a folder. It prints one line when it is ready.",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="the folder for everything it keeps (0700)")
    parser.add_argument(
        "--listen",
        required=True,
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT, [IPV6]:PORT or unix:/PATH; may be given several times; port 0 is any free one",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM; with --tls-key")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument("--historical", action="store_true", help="offer the historical protocol alone")
    parser.add_argument(
        "--keep-session-id",
        action="store_true",
        help="do not change the session id at login, for one old client that reads it before (less safe)",
    )
    parser.add_argument(
        "--embedded",
        action="store_true",
        help="end when no mount has held a connection to lease.sock, beside the unix socket, for --linger",
    )
    parser.add_argument("--linger", metavar="DURATION", default=None, help="with --embedded: how long (60s)")
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT. ConfigError; Locked when another server has the data folder."""
    configure(Foreground(), level=logging.INFO)
    # uvicorn tells of each start and stop at INFO; we say `listening on` ourselves.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    linger = DEFAULT_LINGER_SECONDS if arguments.linger is None else parse_duration(arguments.linger)
    config = ServerConfig(
        data=data_folder(arguments.data),
        listen=tuple(parse_listen(text) for text in arguments.listen),
        tls_cert=data_folder(arguments.tls_cert) if arguments.tls_cert else None,
        tls_key=data_folder(arguments.tls_key) if arguments.tls_key else None,
        historical=arguments.historical,
        keep_session_id=arguments.keep_session_id,
        lease_linger_seconds=linger if arguments.embedded else None,
    )
    run(config, lambda addresses: print(f"listening on {addresses}", flush=True))
    return Exit.OK
