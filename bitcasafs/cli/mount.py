"""mount.bitcasafs: argv -> a frozen MountConfig -> a mount, in the background or here.

Called by people and, as /sbin/mount.bitcasafs, by mount(8): `mount.bitcasafs SOURCE DIR [-sfnv] [-N NS] [-o OPTIONS]`.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bitcasafs
from bitcasafs import logs
from bitcasafs.cli.exits import Exit
from bitcasafs.cli.speaking import Parser, complain, describe, exit_code, guarded
from bitcasafs.errors import BitcasaError, ConfigError
from bitcasafs.logs import Secret
from bitcasafs.mount.config import Choices, MountConfig, PortalLogin, parse_portal, pick
from bitcasafs.mount.daemon import Outcome, Report, run_in_background
from bitcasafs.mount.folders import (
    Folders,
    account_name,
    check_mountpoint,
    check_state_folder,
    clear_dead_mount,
    from_environment,
)
from bitcasafs.mount.run import run
from bitcasafs.options import parse_environment, parse_options, to_help

_log = logging.getLogger("bitcasafs.cli.mount")

PROGRAM = "mount.bitcasafs"
_JOURNAL = Path("/run/systemd/journal/socket")
_PASSWORD_COMMAND_SECONDS = 120.0
_NO_PORTAL = frozenset({"", "none", "bitcasafs", "embedded"})
"""What may stand in fstab's first field when the drive is kept on this machine."""

_DESCRIPTION = """\
Mount a Bitcasa drive as an ordinary folder.

  mount.bitcasafs ~/bitcasa                               the drive is kept on this machine
  mount.bitcasafs https://portal.example.org ~/bitcasa -o user=me     a portal's drive
  umount.bitcasafs ~/bitcasa                              unmount, when everything is sent

Files can be used as soon as they are written; they are sent to the portal in the background. `bitcasafs status` tells
what is still to be sent, and umount.bitcasafs waits for it.
"""

_EPILOG = """\
options (after -o, separated by commas; BITCASAFS_NAME in the environment sets one as well):
{options}

  nosuid, nodev, noexec, noatime and their opposites go to the kernel; what mount(8) and fstab add
  (rw, nofail, _netdev, user, x-...) is accepted.

exit codes: 0 mounted, 1 usage, 2 system, 4 a fault of BitcasaFS, 8 interrupted, 32 not mounted
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The command line, before it is looked at."""

    portal: str | None
    mountpoint: str
    options: tuple[str, ...]
    foreground: bool
    fake: bool
    sloppy: bool
    verbose: bool
    debug: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of mount(8); argparse's own errors leave with 1 as well."""
    invocation = parse(sys.argv[1:] if argv is None else argv)
    return guarded(PROGRAM, lambda: _mount(invocation), debug=invocation.debug)


def parse(argv: Sequence[str]) -> Invocation:
    """SystemExit: 0 after --help and --version, 1 for what cannot be understood."""
    parser = Parser(
        prog=PROGRAM, usage="%(prog)s [PORTAL] MOUNTPOINT [-o OPTIONS] [--foreground]",
        description=_DESCRIPTION, epilog=_EPILOG.format(options=to_help()),
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("places", nargs="+", metavar="[PORTAL] MOUNTPOINT", help=argparse.SUPPRESS)
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPTIONS", help="see below")
    parser.add_argument(
        "--foreground", action="store_true", help="stay in this terminal and log to it; Ctrl-C unmounts"
    )
    parser.add_argument("-f", "--fake", action="store_true", help="check everything, mount nothing")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="ignore options that are not known")
    parser.add_argument("-n", dest="no_mtab", action="store_true", help="accepted for mount(8)")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    parser.add_argument("-N", dest="namespace", metavar="NS", help=argparse.SUPPRESS)
    parser.add_argument("-t", dest="type", metavar="TYPE", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
    parser.add_argument("--version", action="version", version=f"BitcasaFS {bitcasafs.__version__}")
    told = parser.parse_intermixed_args(argv)
    if len(told.places) > 2:
        parser.error("give a mountpoint, or a portal and a mountpoint")
    *portal, mountpoint = told.places
    return Invocation(
        portal=portal[0] if portal and not _names_no_portal(portal[0]) else None,
        mountpoint=mountpoint,
        options=tuple(told.options),
        foreground=told.foreground,
        fake=told.fake,
        sloppy=told.sloppy,
        verbose=told.verbose,
        debug=told.debug,
    )


def _names_no_portal(source: str) -> bool:
    """mount(8) makes an absolute path of a word that could be one: `none` comes as `/home/me/none`."""
    return (os.path.basename(source) if source.startswith("/") else source).lower() in _NO_PORTAL


def configure(invocation: Invocation, environment: Mapping[str, str]) -> MountConfig:
    """The whole configuration, the password included (which may be asked for). ConfigError."""
    options = parse_options(list(invocation.options))
    if options.unknown and not invocation.sloppy:
        raise ConfigError(f"-o {options.unknown[0]} is not known; {PROGRAM} --help lists the options")
    choices = pick(options, parse_environment(environment))
    folders = from_environment(environment)
    if choices.state is not None:
        folders = replace(folders, state=choices.state)
    portal = None if invocation.portal is None else parse_portal(invocation.portal, allow_http=choices.allow_http)
    if portal is not None and choices.drive is not None:
        raise ConfigError("-o data= is for a drive on this machine; with a portal it has no meaning")
    if portal is not None and choices.user is None:
        raise ConfigError("a portal needs a user: -o user=NAME")
    drive = choices.drive or folders.default_drive
    config = MountConfig(
        mountpoint=Path(invocation.mountpoint),
        folders=folders,
        account=folders.account(portal, choices.user, drive),
        drive=drive,
        ttl_seconds=choices.ttl_seconds,
        timeout_seconds=choices.timeout_seconds,
        uploads=choices.uploads,
        settle_seconds=choices.settle_seconds,
        fsync_remote=choices.fsync_remote,
        close_remote=choices.close_remote,
        strict=choices.strict,
        local=choices.local,
        linger_seconds=choices.linger_seconds,
        keep_free_bytes=choices.keep_free_bytes,
        cache_bytes=choices.cache_bytes,
        all_roots=choices.all_roots,
        read_only=choices.read_only,
        allow_other=choices.allow_other,
        extended_attributes=choices.extended_attributes,
        kernel_flags=options.kernel_flags,
        debug=invocation.debug,
    )
    check_state_folder(config.account)
    clear_dead_mount(config.mountpoint)
    config = replace(config, mountpoint=check_mountpoint(config.mountpoint, config.own_folders))
    return config if portal is None else replace(config, portal=_login(portal, choices))


def _login(portal: str, choices: Choices) -> PortalLogin:
    assert choices.user is not None
    if choices.password_command is not None:
        password = _password_from(choices.password_command)
    elif sys.stdin is not None and sys.stdin.isatty():
        password = Secret(getpass.getpass(f"Password of {choices.user} at {portal}: "))
    else:
        raise ConfigError("there is no terminal to ask for the password; use -o password_command=COMMAND")
    if not password:
        raise ConfigError("the password is empty")
    return PortalLogin(portal, choices.user, password, choices.ca_file, choices.allow_http)


def _password_from(command: str) -> Secret:
    """The first line that the command prints. Through the shell: people write pipes and quotes into it."""
    try:
        done = subprocess.run(  # noqa: S602 - the user's own command, from the user's own options
            command, shell=True, check=False, stdout=subprocess.PIPE, timeout=_PASSWORD_COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ConfigError("the password command does not end") from None
    if done.returncode != 0:
        raise ConfigError(f"the password command failed (exit {done.returncode})")
    return Secret(done.stdout.decode("utf-8", "replace").split("\n", 1)[0].rstrip("\r"))


def _mount(invocation: Invocation) -> int:
    config = configure(invocation, os.environ)
    if invocation.fake:
        return Exit.OK
    if invocation.foreground:
        return _in_foreground(config)
    log = _destination(config.folders, config)
    where = f"; the log is {log.path}" if isinstance(log, logs.LogFile) else "; see journalctl -t mount.bitcasafs"
    outcome = run_in_background(
        lambda report: _in_background(config, log, report),
        died=Outcome(Exit.FAILED, f"the mount process ended without a word{where}"),
        interrupted=Outcome(Exit.INTERRUPTED, "interrupted"),
    )
    if outcome.message:
        complain(PROGRAM, outcome.message)
    elif invocation.verbose:
        print(f"{config.source} is mounted at {config.mountpoint}{where}")
    return outcome.exit_code


def _in_foreground(config: MountConfig) -> int:
    logs.configure(logs.Foreground(), level=_level(config), secrets=_secrets(config))
    run(config, lambda outcome: None)
    return Exit.OK


def _in_background(config: MountConfig, log: logs.Destination, report: Report) -> int:
    logs.configure(log, level=_level(config), secrets=_secrets(config))
    try:
        run(config, report)
    except Exception as error:  # noqa: BLE001 - the command that waits is told, whatever it is
        foreseen = isinstance(error, (BitcasaError, OSError)) and not config.debug
        _log.error("The mount has ended: %s", describe(error), exc_info=None if foreseen else error)
        report(Outcome(exit_code(error), describe(error)))
        return exit_code(error)
    return Exit.OK


def _destination(folders: Folders, config: MountConfig) -> logs.Destination:
    """The journal where there is one, else a file."""
    if _JOURNAL.is_socket():
        return logs.Journal(PROGRAM)
    user = config.portal.user if config.portal is not None else None
    name = account_name(config.portal.url if config.portal is not None else None, user, config.drive)
    return logs.LogFile(folders.state / "log" / f"{name}.log")


def _level(config: MountConfig) -> int:
    return logging.DEBUG if config.debug else logging.INFO


def _secrets(config: MountConfig) -> list[Secret]:
    return [] if config.portal is None else [config.portal.password]


if __name__ == "__main__":
    sys.exit(main())
