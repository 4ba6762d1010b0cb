"""A certificate is always checked: by the system's authorities, or by those of `ca_file`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitcasafs.backoff import Backoff
from bitcasafs.errors import Unreachable
from bitcasafs.logs import Secret
from bitcasafs.remote.open import RemoteConfig, open_remote
from bitcasafs.remote.retry import RetryPolicy
from tests.support.certificates import Certificates, make_certificates
from tests.support.contents import fetched, random_bytes, stored
from tests.support.server import RunningServer, serving

ONCE = RetryPolicy(Backoff(attempts=1))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RunningServer]:
    options = ("--tls-cert", str(certificates.certificate), "--tls-key", str(certificates.key))
    with serving(tmp_path_factory.mktemp("tls"), options=options) as started:
        yield started


def config(server: RunningServer, ca_file: Path | None, host: str = "127.0.0.1") -> RemoteConfig:
    secret = Secret(server.password)
    port = str(server.endpoint).rpartition(":")[2]
    return RemoteConfig(f"https://{host}:{port}", server.user, lambda: secret, ca_file=ca_file, retry=ONCE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_authority_is_trusted_when_it_is_named(
    tls_server: RunningServer, certificates: Certificates, host: str
) -> None:
    remote = open_remote(config(tls_server, certificates.authority, host))
    home = (await remote.roots()).items[0].address
    data = random_bytes(3_000_000)
    assert await fetched(remote, await stored(remote, home, f"over TLS to {host}", data)) == data
    await remote.aclose()


async def test_a_private_authority_is_not_trusted_by_itself(tls_server: RunningServer) -> None:
    remote = open_remote(config(tls_server, None))
    with pytest.raises(Unreachable, match="certificate is not trusted") as caught:
        await remote.roots()
    assert caught.value.applied is False
    await remote.aclose()


async def test_another_authority_is_not_trusted(tls_server: RunningServer, tmp_path: Path) -> None:
    remote = open_remote(config(tls_server, make_certificates(tmp_path).authority))
    with pytest.raises(Unreachable, match="certificate is not trusted"):
        await remote.roots()
    await remote.aclose()


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    made = make_certificates(tmp_path, name="DNS:portal.example")
    with serving(tmp_path, options=("--tls-cert", str(made.certificate), "--tls-key", str(made.key))) as server:
        remote = open_remote(config(server, made.authority))
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            await remote.roots()
        await remote.aclose()
