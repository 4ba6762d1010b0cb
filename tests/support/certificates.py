"""A private authority and a certificate of it for this machine, made with the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files. `authority` is what a client may trust, `certificate` and `key` are a server's."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, *, name: str = "DNS:localhost,IP:127.0.0.1") -> Certificates:
    """Valid for a day, for the subject alternative names `name`."""
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority_key, request, extensions = folder / "authority.key", folder / "request.pem", folder / "extensions"
    extensions.write_text(f"subjectAltName={name}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=Private authority"),
        *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", str(authority_key), "-out", str(made.authority)),
    )
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server"),
        *("-keyout", str(made.key), "-out", str(request)),
    )
    _openssl(
        *("x509", "-req", "-days", "1", "-in", str(request), "-out", str(made.certificate)),
        *("-CA", str(made.authority), "-CAkey", str(authority_key), "-CAcreateserial", "-extfile", str(extensions)),
    )
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
