from __future__ import annotations

import copy
import logging
import os
import pickle
import socket
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.logs import Foreground, Journal, LogFile, RedactingFormatter, Secret, configure

PASSWORD = "correct horse battery"
log = logging.getLogger("bitcasafs.test_logs")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = tuple(root.handlers), root.level
    yield
    for handler in tuple(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
    logging.captureWarnings(False)


def formatted(message: str, *args: object, secrets: tuple[Secret, ...] = ()) -> str:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
    return RedactingFormatter(secrets).format(record)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(PASSWORD)
    for shown in (str(secret), repr(secret), f"{secret}", f"{[secret]!r}", formatted("login with %s", secret)):
        assert PASSWORD not in shown
        assert "***" in shown
    assert secret.reveal() == PASSWORD


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy])
def test_a_secret_is_not_carried_away(send: object) -> None:
    assert callable(send)
    with pytest.raises(TypeError):
        send(Secret(PASSWORD))


def test_a_known_secret_is_taken_out_of_messages_and_tracebacks() -> None:
    try:
        raise ValueError(f"no such user: {PASSWORD}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, f"tried {PASSWORD}", (), sys.exc_info())
    text = RedactingFormatter([Secret(PASSWORD)]).format(record)
    assert PASSWORD not in text
    assert "ValueError: no such user: ***" in text


def test_a_secret_of_a_few_letters_does_not_riddle_the_log() -> None:
    assert formatted("a cat sat", secrets=(Secret("a"), Secret(""))) == "a cat sat"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("POST user=me&password=hunter22&code=1", "POST user=me&password=***&code=1"),
        ("{'user': 'me', 'password': 'hunter22, or so'}", "{'user': 'me', 'password': ***}"),
        ("Cookie: sessionid=hunter22; theme=dark", "Cookie: ***"),
        ("Authorization: Bearer hunter22", "Authorization: ***"),
        ("{'set-cookie': 'sessionid=hunter22; Path=/'}", "{'set-cookie': '***'}"),
        ("sessionid=hunter22; Path=/", "sessionid=***; Path=/"),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(said: str, kept: str) -> None:
    assert formatted("%s", said) == kept


def test_records_go_to_standard_error_in_the_foreground(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Foreground())
    log.info("mounted %s", "here")
    log.debug("not this")
    assert capsys.readouterr().err.endswith("INFO bitcasafs.test_logs: mounted here\n")


def test_configuring_again_leaves_the_earlier_destination(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configure(Foreground())
    configure(LogFile(tmp_path / "log"))
    log.info("once")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "log").read_text().count("once") == 1


def test_a_log_file_is_private_and_rotated(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    old = os.umask(0)
    try:
        configure(LogFile(tmp_path / "logs" / "mount.log", size_bytes=2000, kept=2))
        for number in range(100):
            log.info("record number %d \udcff", number)
    finally:
        os.umask(old)
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["mount.log", "mount.log.1", "mount.log.2"]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_size <= 2000
    assert "record number 99" in files[0].read_text()


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    configure(LogFile(tmp_path / "log"))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_log_file_in_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((OSError, ConfigError)):
        configure(LogFile(tmp_path / "file" / "log"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "journal"))
        listening.setblocking(False)
        yield listening


def test_the_journal_gets_each_record_with_its_priority(journal: socket.socket) -> None:
    configure(Journal("mount.bitcasafs", journal.getsockname()))
    log.info("two\nPRIORITY=0\nlines")
    message = b"bitcasafs.test_logs: two\nPRIORITY=0\nlines"
    assert journal.recv(65536) == (
        b"PRIORITY=6\nSYSLOG_IDENTIFIER=mount.bitcasafs\nMESSAGE\n"
        + len(message).to_bytes(8, "little")
        + message
        + b"\n"
    )


@pytest.mark.allow_log("^(x+|loud)$")
def test_the_journal_is_never_waited_for_and_never_overrun(
    journal: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(Journal("mount.bitcasafs", journal.getsockname()))
    for _ in range(2000):
        log.error("x" * 100_000)
    assert len(journal.recv(1 << 20)) < 40_000
    assert capsys.readouterr().err == ""


def test_no_journal_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        configure(Journal("mount.bitcasafs", str(tmp_path / "none")))


def test_the_http_client_does_not_print_its_requests(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Foreground(), level=logging.DEBUG)
    logging.getLogger("httpx").info("HTTP Request: GET /directory")
    logging.getLogger("httpcore.http11").debug("send_request_headers")
    logging.getLogger("uvicorn.access").info("GET /login")
    assert capsys.readouterr().err == ""


def test_warnings_of_python_are_logged_like_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(Foreground())
        warnings.warn("old habit", RuntimeWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "old habit" in capsys.readouterr().err
