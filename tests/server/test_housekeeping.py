"""Housekeeping goes on whatever happens to one round of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bitcasafs.server import housekeeping
from bitcasafs.server.compose import open_portal
from bitcasafs.server.config import ServerConfig, UnixAddress
from bitcasafs.server.portal import Portal


@pytest.mark.allow_log("housekeeping failed")
def test_a_sweep_that_fails_in_an_unforeseen_way_is_logged_and_expiry_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(portal: Portal) -> int:
        raise ValueError("nobody foresaw this")

    async def scenario() -> None:
        loop, expired = asyncio.get_running_loop(), asyncio.Event()

        def expire(portal: Portal) -> int:
            loop.call_soon_threadsafe(expired.set)
            return 0

        monkeypatch.setattr(housekeeping, "sweep", broken)
        monkeypatch.setattr(housekeeping, "expire", expire)
        with open_portal(ServerConfig(tmp_path / "data", (UnixAddress(tmp_path / "s"),))) as portal:
            house = asyncio.create_task(housekeeping.keep_house(portal))
            async with asyncio.timeout(10):
                await expired.wait()
            house.cancel()

    asyncio.run(scenario())
    assert "nobody foresaw this" in caplog.text
