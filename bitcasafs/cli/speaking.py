"""How the commands speak: one or two lines on standard error that say what to do, tracebacks only with --debug."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from bitcasafs.cli.exits import Exit
from bitcasafs.errors import BitcasaError, ConfigError


class Parser(argparse.ArgumentParser):
    """argparse, with mount(8)'s code for usage (1) and our way to say it."""

    def error(self, message: str) -> NoReturn:
        complain(self.prog, f"{message}\n{self.prog} --help tells more")
        self.exit(Exit.USAGE)


def complain(program: str, message: str) -> None:
    """`message` may have several lines."""
    print(f"{program}: {message}", file=sys.stderr)


def guarded(program: str, body: Callable[[], int], *, debug: bool = False) -> int:
    """The exit code of `body`; what it raises becomes a line and the code that fits. SystemExit passes."""
    try:
        return body()
    except KeyboardInterrupt:
        complain(program, "interrupted")
        return Exit.INTERRUPTED
    except (BitcasaError, OSError) as error:
        if debug:
            traceback.print_exc()
        complain(program, describe(error))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours is said in a line, too
        if debug:
            traceback.print_exc()
        complain(program, f"an internal error: {type(error).__name__}: {error} (--debug shows where)")
        return Exit.INTERNAL


def describe(error: BaseException) -> str:
    """What happened, for a person."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def exit_code(error: BaseException) -> Exit:
    """mount(8)'s code for what kept a command from doing its work."""
    if isinstance(error, ConfigError):
        return Exit.USAGE
    if isinstance(error, BitcasaError):
        return Exit.FAILED
    return Exit.SYSTEM if isinstance(error, OSError) else Exit.INTERNAL
