"""A server's beginning and end as a process: addresses, the lock, signals, leases, TLS, accounts."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.server.config import TcpAddress, UnixAddress, parse_listen
from tests.support.endpoints import Unix
from tests.support.portal_session import Drive, connected
from tests.support.processes import ROOT, running, says
from tests.support.server import PASSWORD, serving

COMMAND = [sys.executable, "-m", "bitcasafs.cli.bitcasafs"]


def run_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("unix:/run/x", UnixAddress(Path("/run/x"))),
    ],
)
def test_addresses_are_parsed(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "80", ":80", "host:", "host:65536", "::1:80", "unix:", "unix:x", "unix:/"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_listen(text)


def test_a_second_server_of_a_data_folder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        second = run_command("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
        assert second.returncode == 32
        assert f"pid {server.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr


def test_an_address_in_use_is_said_in_a_line(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as server:
        data = str(tmp_path / "two")
        second = run_command("serve", "--data", data, "--listen", server.url.removeprefix("http://"))
        assert second.returncode == 1
        assert "cannot listen on" in second.stderr


def test_a_unix_socket_is_private_goes_with_its_server_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "portal"
    with serving(tmp_path, listen=Unix(str(path))) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        server.process.kill()
        assert path.exists()
    with serving(tmp_path, listen=Unix(str(path))) as server, connected(server) as client:
        assert client.get("/login").status_code == 200
        other = run_command("serve", "--data", str(tmp_path / "other"), "--listen", f"unix:{path}")
        assert other.returncode == 1
        assert "another server" in other.stderr
        assert client.get("/login").status_code == 200
    assert not path.exists()


def test_a_unix_socket_may_lie_deeper_than_a_sockets_address_reaches(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    argv = [*COMMAND, "serve", "--data", str(tmp_path / "data"), "--listen", f"unix:{deep / 'portal'}"]
    with running(argv, ready=says("^listening on ")):
        assert (deep / "portal").is_socket()
    assert not (deep / "portal").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_what_was_answered_kept(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server, Drive.of(server) as drive:
        drive.upload("kept", b"content")
        os.kill(server.process.pid, number)
        assert server.process.popen.wait(10) == 0
    with serving(tmp_path) as server, Drive.of(server) as drive:
        assert drive.download(drive.rows()["kept"]).content == b"content"


def test_a_download_in_progress_may_end_before_the_server_does(tmp_path: Path) -> None:
    with serving(tmp_path) as server, Drive.of(server) as drive:
        item = drive.upload("large", bytes(5_000_000))
        with drive.client.stream("GET", f"/file/{item['id']}") as answer:
            pieces = answer.iter_raw()
            received = len(next(pieces))
            os.kill(server.process.pid, signal.SIGTERM)
            received += sum(len(piece) for piece in pieces)
        assert received == 5_000_000
        assert server.process.popen.wait(10) == 0


def test_an_embedded_server_lives_as_long_as_a_lease_is_held(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    listen = Unix(str(folder / "portal"))
    with serving(tmp_path, listen=listen, options=["--embedded", "--linger", "500ms"]) as server:
        leases = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for lease in leases:
            lease.connect(str(folder / "lease.sock"))
        with connected(server) as client:
            leases[0].close()
            # Longer than it lingers: one lease is enough to keep it.
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.popen.wait(1.2)
            assert client.get("/login").status_code == 200
        leases[1].close()
        assert server.process.popen.wait(10) == 0
    assert not (folder / "lease.sock").exists()


def test_an_embedded_server_that_nobody_wants_ends(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    options = ["--embedded", "--linger", "300ms"]
    with serving(tmp_path, listen=Unix(str(folder / "portal")), options=options) as server:
        assert server.process.popen.wait(10) == 0


def test_tls_is_spoken_with_the_given_certificate_and_cookies_are_secure(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    options = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with serving(tmp_path, options=options) as server:
        assert server.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=trusting, base_url=server.url) as client:
            answer = client.get("/login")
            assert "; Secure" in answer.headers["set-cookie"]
            assert "max-age" in answer.headers["strict-transport-security"]
    wrong = run_command("serve", "--data", str(tmp_path / "w"), "--listen", "127.0.0.1:0", "--tls-cert", str(key))
    assert wrong.returncode == 1
    swapped = ["--tls-cert", str(key), "--tls-key", str(certificate)]
    assert run_command("serve", "--data", str(tmp_path / "w"), "--listen", "127.0.0.1:0", *swapped).returncode == 1


def test_an_account_is_made_with_a_password_from_standard_input_that_nobody_sees(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    made = run_command("user", "add", "ann", "--data", data, "--password-stdin", stdin=PASSWORD + "\n")
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    taken = run_command("user", "add", "ann", "--data", data, "--password-stdin", stdin="other\n")
    assert taken.returncode == 1
    assert "ann" in taken.stderr
    empty = run_command("user", "add", "eve", "--data", data, "--password-stdin", stdin="\n")
    assert empty.returncode == 1
    no_terminal = run_command("user", "add", "eve", "--data", data)
    assert no_terminal.returncode == 1
    assert "--password-stdin" in no_terminal.stderr
    with serving(tmp_path, users=()) as server, Drive.of(server, "ann") as drive:
        assert drive.rows() == {}


def test_accounts_are_made_while_the_server_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        made = run_command("user", "add", "new", "--data", str(server.data), "--password-stdin", stdin=PASSWORD)
        assert made.returncode == 0
        with Drive.of(server, "new") as drive:
            assert drive.rows() == {}


def test_many_connections_at_once_are_served(tmp_path: Path) -> None:
    with serving(tmp_path, unix=True) as server, Drive.of(server) as drive:
        item = drive.upload("shared", bytes(100_000))
        cookie = {"Cookie": f"sessionid={drive.client.cookies['sessionid']}"}
        sizes: list[int] = []

        def fetch() -> None:
            with connected(server) as client:
                sizes.append(len(client.get(f"/file/{item['id']}", headers=cookie).content))

        threads = [threading.Thread(target=fetch) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sizes == [100_000] * 64
