"""What may stand for a portal's address."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitcasafs.errors import ConfigError
from bitcasafs.remote.portal.endpoint import Endpoint, parse_endpoint, tls_context


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://portal.example", Endpoint("https://portal.example")),
        ("https://portal.example/", Endpoint("https://portal.example")),
        ("http://127.0.0.1:8080", Endpoint("http://127.0.0.1:8080")),
        ("https://[::1]:8443", Endpoint("https://[::1]:8443")),
        ("unix:/run/user/1000/portal", Endpoint("http://localhost", "/run/user/1000/portal")),
    ],
)
def test_addresses_of_portals(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1:8080", "[::1]:8080"])
def test_on_this_machine_http_is_good_enough(host: str) -> None:
    assert parse_endpoint(f"http://{host}") == Endpoint(f"http://{host}")


@pytest.mark.parametrize(
    "host", ["portal.example", "192.168.1.7", "128.0.0.1", "0.0.0.0", "localhost.example", "[fe80::1]"]
)
def test_http_to_another_machine_is_refused_until_it_is_allowed(host: str) -> None:
    with pytest.raises(ConfigError, match=r"https://.*allow_http"):
        parse_endpoint(f"http://{host}")
    assert parse_endpoint(f"http://{host}", allow_http=True) == Endpoint(f"http://{host}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "portal.example",
        "ftp://portal",
        "https://",
        "https://host/path",
        "https://host?x=1",
        "unix:relative",
        "https://ann:secret@host",
        "https://host:port",
        "https://host:99999",
        "https://[::1",
    ],
)
def test_anything_else_is_refused_without_telling_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)
    assert "secret" not in str(caught.value)


def test_certificates_that_cannot_be_read_are_an_error_of_the_configuration(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    for path in (tmp_path / "absent.pem", empty):
        with pytest.raises(ConfigError, match=path.name):
            tls_context(path)
